//! What holds between one plan and another: the next one, or one made from the same view.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ring_state::{Action, Command, Reply};
use ring_types::{DeploymentSpec, Goal};

use crate::properties::{steps, take, within_capacity};
use crate::world::{World, creates, job, needs, worker};

/// What is applied of this leads to another plan: other deployments may have waited for what it frees, or for this status,
/// a counted restart makes the pauses of the other slots longer, or is the last one, and once a job has its next attempt the
/// lost one before it is told to end.
fn leads_on(world: &World, action: &Action) -> bool {
    match action {
        Action::CreateInstance { restart, attempt, .. } => *restart || *attempt > 1,
        Action::LoseInstance { .. } | Action::ForgetInstance { .. } => true,
        Action::ForgetDeployment { .. } | Action::NoteRollout { .. } | Action::EndRollout { .. } => true,
        Action::SetGoal { goal, .. } => *goal > Goal::Run,
        Action::SetStatus { deployment, .. } => {
            let deployment = world.deployment(*deployment);
            world.state.dependents_of(&deployment.spec.namespace, &deployment.spec.name).next().is_some()
        }
        _ => false,
    }
}

/// A worker or a job that needs so much. Large ones fill a node of 4 processors and 8000 bytes alone.
fn spec() -> impl Strategy<Value = (bool, u32, u64, u64)> {
    (any::<bool>(), 1u32..6, 0u64..4100, 0u64..8100)
}

fn create(world: &mut World, number: usize, (is_job, replicas, cpu, memory): (bool, u32, u64, u64)) {
    let label = format!("d{number}");
    let spec: DeploymentSpec = if is_job { job(&label) } else { worker(&label, replicas) };
    world.create(needs(spec, cpu, memory));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever came before: what a plan did not decide, the same view of things does not decide a moment later either.
    #[test]
    fn planning_again_gives_nothing_more_to_do(steps in steps()) {
        let mut world = World::with_nodes(2);
        steps.iter().for_each(|step| take(&mut world, step));
        for _ in 0..8 {
            let plan = world.step();
            if !plan.actions.iter().any(|action| leads_on(&world, action)) {
                break;
            }
        }
        prop_assert_eq!(world.look().actions, Vec::new());
    }

    /// Two leaders at once, or one that plans anew before its plan is applied.
    #[test]
    fn two_plans_of_one_view_make_each_instance_once(
        first in prop::collection::vec(spec(), 1..6),
        second in prop::collection::vec(spec(), 1..6),
        together in any::<bool>(),
    ) {
        let mut world = World::with_nodes(3);
        first.iter().enumerate().for_each(|(n, one)| create(&mut world, n, *one));
        if !together {
            world.settle();
        }
        second.iter().enumerate().for_each(|(n, one)| create(&mut world, 100 + n, *one));
        let [one, other] = [world.look(), world.look()];
        let again = creates(&other) as u32;
        prop_assert_eq!(world.apply(Command::Plan { actions: one.actions }), Reply::Planned { skipped: 0 });
        let reply = world.apply(Command::Plan { actions: other.actions });
        let passed_over = matches!(reply, Reply::Planned { skipped } if skipped >= again);
        prop_assert!(passed_over, "{:?} of {} instances made already", reply, again);
        within_capacity(&world)?;
        let mut slots = BTreeSet::new();
        for instance in world.state.instances() {
            prop_assert!(slots.insert((instance.deployment, instance.slot)), "two instances in one slot: {:?}", instance);
        }
        world.settle();
        within_capacity(&world)?;
    }

    /// Each plan is for deployments of its own, so that only the room on the nodes is between them.
    #[test]
    fn plans_for_different_deployments_compete_for_room_only(specs in prop::collection::vec(spec(), 2..10)) {
        let mut world = World::with_nodes(2);
        specs.iter().enumerate().for_each(|(n, one)| create(&mut world, n, *one));
        let all: Vec<_> = world.state.deployments().map(|d| d.id).collect();
        let (left, right) = all.split_at(all.len() / 2);
        let plans: Vec<_> = [left, right].map(|part| world.look_at(&part.iter().copied().collect::<BTreeSet<_>>())).into();
        for plan in plans {
            world.apply(Command::Plan { actions: plan.actions });
            within_capacity(&world)?;
        }
        world.settle();
        within_capacity(&world)?;
    }
}
