//! Random rolling updates: whatever versions are applied, called off, restarted or fail, and however late a plan is done, as
//! many instances serve as are wanted while those that serve do not fail by themselves, and there is never more than one too
//! many.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ring_planner::Plan;
use ring_state::{Command, Deployment, Instance, may_run};
use ring_types::{
    DeploymentId, DeploymentSpec, Goal, InstanceId, InstanceState, Name, Outcome, Port, Protocol, Span, StartFailure,
};

use crate::world::{DEADLINE, World, gated, name};

#[derive(Clone, Debug)]
enum Step {
    Apply(u8),
    Rollback,
    Restart,
    DeleteUpdate,
    Run(u8),
    Ready(u8),
    /// One that is not ready ends by itself.
    Crash(u8, bool),
    FailStart(u8),
    /// One that is told to end does.
    End(u8),
    Removed(u8),
    Pass(u32),
    Plan,
    /// A leader plans, and its plan is done when others have planned since.
    Hold,
    Late,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0u8..3).prop_map(Step::Apply),
        1 => Just(Step::Rollback),
        1 => Just(Step::Restart),
        1 => Just(Step::DeleteUpdate),
        8 => any::<u8>().prop_map(Step::Run),
        8 => any::<u8>().prop_map(Step::Ready),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(n, hopeless)| Step::Crash(n, hopeless)),
        1 => any::<u8>().prop_map(Step::FailStart),
        8 => any::<u8>().prop_map(Step::End),
        3 => any::<u8>().prop_map(Step::Removed),
        3 => (0u32..60_000).prop_map(Step::Pass),
        1 => Just(Step::Pass(150_000)),
        10 => Just(Step::Plan),
        2 => Just(Step::Hold),
        2 => Just(Step::Late),
    ];
    prop::collection::vec(step, 1..150)
}

fn version(replicas: u32, image: &str, port: Option<u32>) -> DeploymentSpec {
    let published = Port { published: 80, target: 80, host_ip: "0.0.0.0".to_owned(), protocol: Protocol::Tcp };
    DeploymentSpec { ports: port.iter().map(|_| published.clone()).collect(), ..gated("w", replicas, image) }
}

struct Rolling {
    world: World,
    replicas: u32,
    /// Published, on as many hosts as there are replicas and so many more.
    port: Option<u32>,
    held: Option<Plan>,
    /// An update that was called off had its time.
    late: bool,
    namespace: Name,
    name: Name,
}

impl Rolling {
    fn begin(replicas: u32, port: Option<u32>) -> Self {
        let mut world = World::with_nodes(port.map_or(3, |spare| replicas + spare));
        let id = world.create(version(replicas, "v0", port));
        world.settle();
        world.run_all(id);
        world.live(id).iter().for_each(|i| world.health(i.id, true, &[]));
        world.settle();
        Self { world, replicas, port, held: None, late: false, namespace: name("ns"), name: name("w") }
    }

    fn all(&self) -> Vec<std::sync::Arc<Deployment>> {
        self.world.state.deployments_named(&self.namespace, &self.name).cloned().collect()
    }

    fn standing(&self) -> DeploymentId {
        self.world.state.deployment_named(&self.namespace, &self.name).unwrap().id
    }

    fn pick(&self, n: u8, wanted: impl Fn(&Instance) -> bool) -> Option<InstanceId> {
        let found: Vec<_> = self.world.state.instances().filter(|i| wanted(i)).map(|i| i.id).collect();
        (!found.is_empty()).then(|| found[usize::from(n) % found.len()])
    }

    fn unready(&self, n: u8) -> Option<InstanceId> {
        self.pick(n, |i| i.goal == Goal::Run && i.state == InstanceState::Running && i.ready_at.is_none())
    }

    /// It is of a version that is being rolled out: what comes back of the version before is taken to be well.
    fn is_new(&self, instance: &Instance) -> bool {
        self.world.state.deployment(instance.deployment).is_some_and(|d| d.is_rolling_out())
    }

    fn take(&mut self, step: &Step) {
        use InstanceState::{Assigned, Exited, Running};
        match *step {
            Step::Apply(version) => {
                self.world.change(self::version(self.replicas, &format!("v{version}"), self.port), false);
            }
            Step::Rollback => drop(self.world.follow(self.standing(), Command::RollbackDeployment)),
            Step::Restart => drop(self.world.follow(self.standing(), Command::RestartDeployment)),
            Step::DeleteUpdate => {
                let child = self.all().into_iter().find(|d| d.is_rolling_out() || d.has_failed_to_roll_out());
                child.into_iter().for_each(|child| self.world.delete(child.id));
            }
            Step::Run(n) => self.pick(n, |i| i.state < Running && i.goal == Goal::Run).iter().for_each(|id| self.world.run(*id)),
            Step::Ready(n) => self.unready(n).iter().for_each(|id| self.world.health(*id, true, &[])),
            Step::Crash(n, hopeless) => {
                let outcome = Outcome::Code(if hopeless { 127 } else { 1 });
                let unready = self.unready(n).filter(|id| self.is_new(self.world.state.instance(*id).unwrap()));
                unready.iter().for_each(|id| self.world.end(*id, outcome.clone()));
            }
            Step::FailStart(n) => {
                let fresh = self.pick(n, |i| i.state == Assigned && i.goal == Goal::Run && self.is_new(i));
                fresh.iter().for_each(|id| self.world.fail_start(*id, StartFailure::ImagePull));
            }
            Step::End(n) => self.pick(n, |i| i.state.is_live() && i.goal > Goal::Run).iter().for_each(|id| self.end(*id)),
            Step::Removed(n) => {
                let gone = self.pick(n, |i| i.state == Exited && i.goal == Goal::Remove);
                gone.iter().for_each(|id| self.world.removed(*id));
            }
            Step::Pass(ms) => self.world.pass(Span(u64::from(ms))),
            Step::Plan => drop(self.world.step()),
            Step::Hold => self.held = Some(self.world.look()),
            Step::Late => {
                if let Some(plan) = self.held.take() {
                    self.world.apply(Command::Plan { actions: plan.actions });
                }
            }
        }
    }

    fn end(&mut self, id: InstanceId) {
        let claimed = self.world.state.instance(id).unwrap().state > InstanceState::Assigned;
        let cancelled = Outcome::NotStarted { cause: StartFailure::Cancelled, message: String::new() };
        self.world.end(id, if claimed { Outcome::Signal { signal: 15, oom_killed: false } } else { cancelled });
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let all = self.all();
        let serving: u32 = all.iter().map(|d| self.world.state.serving(d)).sum();
        // What was called off serves no longer than an update may take, whether its parent is back or not.
        let over = |d: &Deployment| self.world.now.since(d.updated_at) >= Span(DEADLINE.0 + 20_000);
        self.late |= all.iter().any(|d| d.deleting && d.has_failed_to_roll_out() && over(d));
        self.late &= serving < self.replicas || all.iter().any(|d| d.deleting);
        // Two versions never share a port; where no host has it free, one ends before the other begins.
        let least = self.replicas.saturating_sub(u32::from(self.port.is_some()));
        prop_assert!(serving >= least || self.late, "{serving} of {} serve: {all:#?}", self.replicas);
        let live = all.iter().flat_map(|d| self.world.state.instances_of(d.id)).filter(|i| may_run(i)).count() as u32;
        prop_assert!(live <= self.replicas + 1, "{live} may run, {} are wanted: {all:#?}", self.replicas);
        let standing: Vec<_> = all.iter().filter(|d| !d.deleting && !d.has_failed_to_roll_out()).collect();
        let rolling = standing.iter().filter(|d| d.is_rolling_out()).count();
        prop_assert!(standing.len() == 1 + rolling && rolling <= 1, "{standing:#?}");
        Ok(())
    }

    /// Everything that is made runs and gets ready, everything that is told to end does.
    fn heal(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..60 {
            let plan = self.world.step();
            let all: Vec<_> = self.world.state.instances().cloned().collect();
            for instance in all {
                match (instance.goal, instance.state) {
                    (Goal::Run, state) if state < InstanceState::Running => self.world.run(instance.id),
                    (Goal::Run, InstanceState::Running) if instance.ready_at.is_none() => {
                        self.world.health(instance.id, true, &[]);
                    }
                    (Goal::Run, _) => {}
                    (_, state) if state.is_live() => self.end(instance.id),
                    (Goal::Remove, InstanceState::Exited) => self.world.removed(instance.id),
                    _ => {}
                }
                self.check()?;
            }
            if plan.actions.is_empty() {
                self.world.pass(Span::seconds(5));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, ..ProptestConfig::default() })]

    #[test]
    fn as_many_serve_as_are_wanted_and_it_heals(steps in steps(), replicas in 1u32..5) {
        goes_well(&steps, replicas, None)?;
    }

    #[test]
    fn with_a_published_port_at_most_one_fewer_serves_and_it_heals(steps in steps(), replicas in 1u32..4, spare in 0u32..2) {
        goes_well(&steps, replicas, Some(spare))?;
    }
}

fn goes_well(steps: &[Step], replicas: u32, port: Option<u32>) -> Result<(), TestCaseError> {
    let mut rolling = Rolling::begin(replicas, port);
    for step in steps {
        rolling.take(step);
        rolling.check()?;
    }
    rolling.heal()?;
    let left: Vec<_> = rolling.all();
    let standing: BTreeSet<_> = left.iter().filter(|d| !d.has_failed_to_roll_out()).map(|d| d.id).collect();
    prop_assert!(standing.len() == 1 && left.len() <= 2, "not healed: {left:#?}");
    let stands = rolling.world.deployment(rolling.standing());
    prop_assert_eq!(rolling.world.state.serving(&stands), replicas);
    prop_assert!(stands.conditions.is_empty(), "{:?}", stands.conditions);
    prop_assert!(rolling.world.look().actions.is_empty());
    Ok(())
}
