//! The cost of one change, beside more and more deployments that have nothing to do with it.

use std::time::{Duration, Instant};

use ring_planner::{Waiting, affected};
use ring_state::{Action, ApplyDeployment, Command, Deployment, DeploymentOutcome, Outcome, Reply, RowKey};
use ring_types::DeploymentId;

use crate::stats::Times;
use crate::table::Table;
use crate::world::{World, apply, scatter};

/// What one change takes, part by part.
#[derive(Clone, Copy, Default)]
struct Parts {
    applied: Duration,
    found: Duration,
    planned: Duration,
    bound: Duration,
}

impl Parts {
    fn all(&self) -> Duration {
        self.applied + self.found + self.planned + self.bound
    }
}

/// One more replica for a deployment, once for one at random and once always for the same one, whose rows are in the
/// processor's caches then. The clusters are measured in turns, so that what else the machine does meets all of them.
pub(crate) fn measure(worlds: &mut [World], times: usize) -> Table {
    let mut table =
        Table::new(&["one change", "deployments", "apply", "affected", "plan", "apply the plan", "all", "to the first"]);
    for (what, random) in [("of a deployment at random", true), ("of the same deployment", false)] {
        let mut measured: Vec<Vec<Parts>> = vec![Vec::new(); worlds.len()];
        let mut contexts: Vec<_> = worlds.iter().map(|world| (ids(world), Waiting::of(&world.state))).collect();
        for turn in 0..times {
            for (n, world) in worlds.iter_mut().enumerate() {
                let (ids, waiting) = &mut contexts[n];
                let place = if random { scatter(turn as u64) as usize % ids.len() } else { 0 };
                measured[n].push(change(world, ids[place], waiting));
            }
        }
        let median = |n: usize, part: fn(&Parts) -> Duration| Times::new(measured[n].iter().map(part).collect()).median();
        let first = median(0, Parts::all);
        for (n, (ids, _)) in contexts.iter().enumerate() {
            let all = median(n, Parts::all);
            table.row([
                what.to_owned(),
                ids.len().to_string(),
                us(median(n, |parts| parts.applied)),
                us(median(n, |parts| parts.found)),
                us(median(n, |parts| parts.planned)),
                us(median(n, |parts| parts.bound)),
                us(all),
                format!("{:.2} times", all.as_secs_f64() / first.as_secs_f64()),
            ]);
        }
    }
    table
}

fn ids(world: &World) -> Vec<DeploymentId> {
    world.state.deployments().map(|deployment| deployment.id).collect()
}

/// Microseconds.
pub(crate) fn us(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

/// A change from its entry until its plan is applied, as the leader does it: whoever reads keeps the state of before. The
/// cluster itself stays as it is.
fn change(base: &World, id: DeploymentId, waiting: &mut Waiting) -> Parts {
    let mut world = base.clone();
    let entry = scaled(&mut world, id);
    let mut parts = Parts::default();
    let before = world.state.clone();
    let begin = Instant::now();
    let applied = world.state.apply(before.revision().next(), &entry);
    parts.applied = begin.elapsed();
    let scaled = DeploymentOutcome { id, outcome: Outcome::Scaled };
    assert_eq!(applied.reply, Reply::Deployments(vec![scaled]));
    let keys: Vec<RowKey> = applied.rows.into_iter().map(|row| row.key).collect();
    let begin = Instant::now();
    let found = affected(&before, &keys, &world.state, waiting);
    parts.found = begin.elapsed();
    let begin = Instant::now();
    let plan = world.plan(&found);
    parts.planned = begin.elapsed();
    assert!(matches!(plan.actions[..], [Action::CreateInstance { .. }]), "{:?}", plan.actions);
    let entry = world.entry(Command::Plan { actions: plan.actions });
    let _view = world.state.clone();
    let begin = Instant::now();
    let applied = world.state.apply(world.state.revision().next(), &entry);
    parts.bound = begin.elapsed();
    assert_eq!(applied.reply, Reply::Planned { skipped: 0 });
    parts
}

fn scaled(world: &mut World, id: DeploymentId) -> ring_state::Entry {
    let current: &Deployment = world.state.deployment(id).unwrap();
    let mut spec = (*current.spec).clone();
    spec.replicas += 1;
    let deployments = vec![ApplyDeployment::new(DeploymentId(uuid::Uuid::from_u128(1)), spec.into())];
    world.entry(apply(deployments))
}
