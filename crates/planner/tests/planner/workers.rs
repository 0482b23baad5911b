//! Workers.

use ring_types::{
    Condition, DeploymentSpec, DeploymentStatus, Goal, InstanceState, NodeStatus, OnNodeLoss, Outcome, Span, StartFailure,
    UnknownExit,
};

use crate::world::{World, creates, worker};

#[test]
fn replicas_are_made_and_kept() {
    let mut world = World::with_nodes(3);
    let id = world.create(worker("w", 3));
    world.settle();
    world.run_all(id);
    assert_eq!(world.deployment(id).status, DeploymentStatus::Running);
    let mut nodes: Vec<_> = world.live(id).iter().map(|i| i.node).collect();
    nodes.dedup();
    assert_eq!(nodes.len(), 3, "spread over nodes");
}

#[test]
fn scaling_down_takes_what_does_not_run_first_then_the_highest() {
    let mut world = World::with_nodes(2);
    let id = world.create(worker("w", 4));
    world.settle();
    for instance in world.live(id).iter().filter(|i| i.slot != 1) {
        world.run(instance.id);
    }
    world.settle();
    world.create(worker("w", 2));
    world.settle();
    let kept: Vec<_> = world.live(id).iter().filter(|i| i.goal == Goal::Run).map(|i| i.slot).collect();
    assert_eq!(kept, [0, 2]);
    world.create(worker("w", 3));
    world.settle();
    assert_eq!(world.live(id).iter().filter(|i| i.goal == Goal::Run).count(), 2, "slot 1 is still ending");
    let ending = world.live(id).iter().find(|i| i.slot == 1).unwrap().id;
    world.end(ending, Outcome::NotStarted { cause: StartFailure::Cancelled, message: String::new() });
    world.settle();
    let mut kept: Vec<_> = world.live(id).iter().filter(|i| i.goal == Goal::Run).map(|i| i.slot).collect();
    kept.sort_unstable();
    assert_eq!(kept, [0, 1, 2]);
    assert_eq!(world.deployment(id).restart_count, 0);
}

#[test]
fn no_replicas_is_fine() {
    let mut world = World::with_nodes(1);
    let id = world.create(worker("w", 0));
    assert_eq!(creates(&world.settle()), 0);
    assert_eq!(world.deployment(id).status, DeploymentStatus::Running);
}

/// Runs a worker of one replica and crashes it again and again; gives the pauses before each restart.
fn crash(world: &mut World, id: ring_types::DeploymentId, times: usize, outcome: &Outcome) -> Vec<u64> {
    let mut pauses = Vec::new();
    for _ in 0..times {
        world.settle();
        let Some(instance) = world.live(id).first().map(|i| i.id) else { break };
        world.run(instance);
        world.settle();
        world.end(instance, outcome.clone());
        let plan = world.settle();
        let Some(wake) = plan.wake_at else { break };
        pauses.push(wake.since(world.now).0);
        world.now = wake;
        let gone: Vec<_> = world.instances(id).iter().filter(|i| i.goal == Goal::Remove).map(|i| i.id).collect();
        gone.into_iter().for_each(|id| world.removed(id));
    }
    pauses
}

#[test]
fn a_crashing_worker_restarts_with_growing_pauses_then_is_given_up() {
    let mut world = World::with_nodes(1);
    let id = world.create(worker("w", 1));
    let pauses = crash(&mut world, id, 10, &Outcome::Code(1));
    assert_eq!(pauses, [1000, 2000, 4000, 8000, 16000]);
    let shown = world.deployment(id);
    assert_eq!((shown.status, shown.reason.as_str(), shown.restart_count), (DeploymentStatus::CrashLoopBackOff, "exit_code", 5));
    world.pass(Span::seconds(100_000));
    world.settle();
    assert!(world.live(id).is_empty());
    assert!(world.instances(id).iter().filter(|i| i.goal == Goal::Run).count() == 1, "the last one is kept for its logs");
}

#[test]
fn a_command_that_is_not_there_burns_no_restarts() {
    for code in [126, 127] {
        let mut world = World::with_nodes(1);
        let id = world.create(worker("w", 1));
        assert!(crash(&mut world, id, 3, &Outcome::Code(code)).is_empty());
        assert_eq!(world.deployment(id).status, DeploymentStatus::CrashLoopBackOff);
        assert_eq!(world.deployment(id).restart_count, 0);
    }
}

#[test]
fn a_healthy_window_forgives() {
    let mut world = World::with_nodes(1);
    let id = world.create(worker("w", 1));
    crash(&mut world, id, 3, &Outcome::Code(1));
    world.settle();
    world.run_all(id);
    assert_eq!(world.deployment(id).restart_count, 3);
    let wake = world.settle().wake_at.unwrap();
    assert_eq!(wake.since(world.now), Span::seconds(60));
    world.now = wake;
    assert_eq!(world.settle().wake_at, None);
    assert_eq!(world.deployment(id).restart_count, 0);
}

#[test]
fn a_worker_that_waits_for_its_restart_says_so() {
    let mut world = World::with_nodes(1);
    let id = world.create(worker("w", 1));
    world.settle();
    world.run_all(id);
    let instance = world.live(id)[0].id;
    world.end(instance, Outcome::Code(3));
    world.settle();
    let shown = world.deployment(id);
    assert_eq!((shown.status, &shown.conditions[..]), (DeploymentStatus::Creating, &[Condition::BackingOff][..]));
    assert_eq!(shown.message, "exited with code 3; restart 1 of 5 after 1s");
}

#[test]
fn the_hosts_doing_is_no_crash() {
    let mut world = World::with_nodes(1);
    let id = world.create(worker("w", 1));
    world.settle();
    world.run_all(id);
    let instance = world.live(id)[0].id;
    world.end(instance, Outcome::Unknown(UnknownExit::HostRestarted));
    world.settle();
    assert_eq!(world.live(id).len(), 1);
    assert_eq!(world.deployment(id).restart_count, 0);
}

#[test]
fn a_lost_nodes_instances_are_made_elsewhere_and_taken_away_when_it_returns() {
    let mut world = World::with_nodes(2);
    let id = world.create(worker("w", 2));
    world.settle();
    world.run_all(id);
    let first = world.live(id)[0].clone();
    world.set_node(first.node, NodeStatus::Lost);
    world.settle();
    assert_eq!(world.live(id).len(), 2);
    assert!(world.live(id).iter().all(|i| i.node != first.node));
    assert_eq!(world.deployment(id).restart_count, 0);
    world.register(first.node, 4000, 8000);
    world.settle();
    let lost = world.state.instance(first.id).unwrap();
    assert_eq!((lost.state, lost.goal), (InstanceState::Lost, Goal::Remove));
    world.end(first.id, Outcome::Code(0));
    world.settle();
    world.removed(first.id);
    world.settle();
    assert!(world.state.instance(first.id).is_none());
}

#[test]
fn losing_a_node_can_be_waited_for_or_be_a_failure() {
    for (policy, status) in [(OnNodeLoss::Wait, DeploymentStatus::Running), (OnNodeLoss::Fail, DeploymentStatus::Failed)] {
        let mut world = World::with_nodes(2);
        let id = world.create(DeploymentSpec { on_node_loss: policy, ..worker("w", 1) });
        world.settle();
        world.run_all(id);
        let first = world.live(id)[0].clone();
        world.set_node(first.node, NodeStatus::Lost);
        world.settle();
        assert_eq!(world.deployment(id).status, status);
        assert_eq!(world.instances(id).len(), 1);
        world.register(first.node, 4000, 8000);
        world.settle();
        assert_eq!(world.deployment(id).status, status);
        assert_eq!(world.instances(id).len(), 1);
    }
}

#[test]
fn a_replacement_starts_when_the_old_one_has_stopped() {
    let mut world = World::with_nodes(1);
    let old = world.create(worker("w", 2));
    world.settle();
    world.run_all(old);
    let new = world.create(DeploymentSpec { image: "other".to_owned(), ..worker("w", 2) });
    assert_ne!(old, new);
    world.settle();
    assert!(world.live(new).is_empty());
    for instance in world.live(old) {
        world.end(instance.id, Outcome::Code(0));
    }
    world.settle();
    assert_eq!(world.live(new).len(), 2);
}

#[test]
fn a_plan_has_a_limit_and_says_what_is_left() {
    let mut world = World::with_nodes(1);
    let large = world.create(worker("large", 3000));
    let small = world.create(worker("small", 1));
    let plan = world.step();
    assert!(plan.actions.len() <= ring_state::limits::ACTIONS_PER_PLAN);
    assert!(plan.remaining.contains(&large) && plan.remaining.contains(&small));
    world.settle();
    assert_eq!((world.live(large).len(), world.live(small).len()), (3000, 1));
}
