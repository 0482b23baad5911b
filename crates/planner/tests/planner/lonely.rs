//! Instances that do not run without contact.

use ring_state::{Command, LEVEL, NodeChange, UnplacedReason};
use ring_types::{
    DeploymentId, DeploymentSpec, DeploymentStatus, InstanceId, InstanceState, NodeId, NodeInfo, NodeStatus, OnNodeLoss, Outcome,
    RequestId, Span, StopCause, Timestamp, UnknownExit,
};

use crate::world::{World, job, worker};

/// Time without contact, grace, and margin: from the last contact to the time nothing runs any more.
const CERTAIN: Span = Span::seconds(30 + 5 + 15);

fn alone(mut spec: DeploymentSpec) -> DeploymentSpec {
    (spec.stop_on_disconnect, spec.stop_grace) = (Some(Span::seconds(30)), Span::seconds(5));
    spec
}

/// So many nodes whose agents know of it.
fn world(nodes: u32) -> World {
    let mut world = World::with_nodes(nodes);
    world.apply(Command::RaiseLevel { level: LEVEL });
    let all: Vec<_> = world.state.nodes().cloned().collect();
    for node in all {
        let info = NodeInfo { level: LEVEL, ..node.info.clone() };
        world.apply(Command::RegisterNode { node: node.id, boot: node.boot, info });
    }
    world
}

fn lose(world: &mut World, node: NodeId, silent_since: Timestamp) {
    let epoch = world.state.node(node).unwrap().epoch;
    let silent_since = Some(silent_since);
    let change = NodeChange { node, epoch, status: NodeStatus::Lost, held: false, silent_since };
    world.apply(Command::SetNodeStatus { changes: vec![change] });
}

/// One that runs, where, and since when nothing is heard of it.
fn cut_off(world: &mut World, spec: DeploymentSpec) -> (DeploymentId, InstanceId, NodeId, Timestamp) {
    let id = world.create(alone(spec));
    world.settle();
    world.run_all(id);
    let instance = world.live(id)[0].clone();
    let silent = world.now;
    world.pass(Span::seconds(20));
    lose(world, instance.node, silent);
    (id, instance.id, instance.node, silent)
}

fn state_of(world: &World, instance: InstanceId) -> InstanceState {
    world.state.instance(instance).unwrap().state
}

#[test]
fn it_is_given_up_only_when_its_agent_has_certainly_stopped_it() {
    for spec in [worker("w", 1), job("j")] {
        let mut world = world(2);
        let (id, first, _, silent) = cut_off(&mut world, spec);
        let plan = world.settle();
        assert_eq!(plan.wakes.get(&id), Some(&(silent + CERTAIN)));
        world.now = silent + Span(CERTAIN.0 - 1);
        world.settle();
        assert_eq!((state_of(&world, first), world.instances(id).len()), (InstanceState::Running, 1));
        world.now = silent + CERTAIN;
        world.settle();
        assert_eq!(
            world.instances(id).iter().find(|i| i.id == first).map_or(InstanceState::Removed, |i| i.state),
            InstanceState::Lost
        );
    }
}

#[test]
fn another_takes_the_place_of_a_worker_then_and_never_before() {
    let mut world = world(2);
    let (id, _, node, silent) = cut_off(&mut world, worker("w", 1));
    world.now = silent + CERTAIN;
    world.settle();
    let live = world.live(id);
    assert_eq!(live.len(), 1);
    assert_ne!(live[0].node, node);
}

/// What a leader before said of silence was by another clock.
#[test]
fn a_new_leader_gives_it_the_whole_time_again() {
    let mut world = world(2);
    let (id, first, _, silent) = cut_off(&mut world, worker("w", 1));
    world.pass(Span::seconds(10));
    world.leading_since = world.now;
    world.now = silent + CERTAIN;
    let plan = world.settle();
    assert_eq!(state_of(&world, first), InstanceState::Running);
    assert_eq!(plan.wakes.get(&id), Some(&(world.leading_since + CERTAIN)));
}

#[test]
fn a_deleted_one_is_forgotten_only_then_and_one_that_was_never_claimed_at_once() {
    let mut world = world(2);
    let (id, first, _, silent) = cut_off(&mut world, worker("w", 1));
    world.delete(id);
    world.settle();
    assert_eq!(state_of(&world, first), InstanceState::Running);
    world.now = silent + CERTAIN;
    world.settle();
    assert!(world.state.deployment(id).is_none());

    let fresh = world.create(alone(worker("fresh", 1)));
    world.settle();
    let node = world.live(fresh)[0].node;
    let now = world.now;
    lose(&mut world, node, now);
    world.settle();
    assert!(world.live(fresh).iter().all(|i| i.node != node), "it runs nowhere");
}

#[test]
fn a_node_that_was_removed_does_not_run_it() {
    let mut world = world(2);
    let (_, first, node, _) = cut_off(&mut world, worker("w", 1));
    world.apply(Command::RemoveNode { node });
    world.settle();
    assert!(world.state.instance(first).is_none_or(|i| !i.state.is_live()));
}

/// It was told to end by nobody, and ended in contact again before it was given up.
fn back_in_time(spec: DeploymentSpec) -> (World, DeploymentId, InstanceId) {
    let mut world = world(2);
    let (id, first, node, _) = cut_off(&mut world, spec);
    world.register(node, 4000, 8000);
    world.end_cut_off(first, Outcome::Signal { signal: 15, oom_killed: false });
    world.settle();
    (world, id, first)
}

#[test]
fn a_worker_that_its_agent_stopped_is_made_anew_and_has_not_crashed() {
    let (mut world, id, first) = back_in_time(worker("w", 1));
    world.settle();
    let ended = world.state.instance(first);
    assert!(ended.is_none_or(|i| i.stop_cause == Some(StopCause::Disconnected)), "{ended:?}");
    assert_eq!((world.live(id).len(), world.deployment(id).restart_count), (1, 0));
    world.run_all(id);
    assert_eq!(world.deployment(id).status, DeploymentStatus::Running);
}

#[test]
fn a_job_that_its_agent_stopped_has_failed_with_what_is_true() {
    let (world, id, _) = back_in_time(job("j"));
    let deployment = world.deployment(id);
    let exit = deployment.exit.as_ref().map(|exit| exit.outcome.clone());
    assert_eq!((deployment.status, exit), (DeploymentStatus::Failed, Some(Outcome::Signal { signal: 15, oom_killed: false })));
    assert_eq!(deployment.reason, "disconnected");
    assert!(deployment.message.contains("stop_on_disconnect"), "{}", deployment.message);
}

/// It was given up, and what its host says later is the truth.
#[test]
fn what_was_given_up_is_corrected() {
    let mut world = world(2);
    let (id, first, node, silent) = cut_off(&mut world, job("j"));
    world.now = silent + CERTAIN;
    world.settle();
    let unknown = world.deployment(id).exit.as_ref().map(|exit| exit.outcome.clone());
    assert_eq!(unknown, Some(Outcome::Unknown(UnknownExit::NodeLost)));
    world.register(node, 4000, 8000);
    world.end_cut_off(first, Outcome::Code(3));
    world.settle();
    assert_eq!(world.deployment(id).exit.as_ref().map(|exit| exit.outcome.clone()), Some(Outcome::Code(3)));
}

#[test]
fn it_waits_for_its_node_when_it_is_to() {
    let mut world = world(2);
    let mut spec = worker("w", 1);
    spec.on_node_loss = OnNodeLoss::Wait;
    let (_, first, ..) = cut_off(&mut world, spec);
    world.pass(Span::seconds(3600));
    world.settle();
    assert_eq!(state_of(&world, first), InstanceState::Running);
}

#[test]
fn an_agent_that_does_not_know_of_it_gets_none() {
    let mut world = World::with_nodes(2);
    world.apply(Command::RaiseLevel { level: LEVEL });
    let id = world.create(alone(worker("w", 1)));
    world.settle();
    let failure = world.deployment(id).placement_failure.clone().unwrap();
    assert_eq!((failure.reasons.len(), &failure.reasons[0].reason), (1, &UnplacedReason::AgentTooOld));
    let node = world.state.nodes().next().unwrap().clone();
    let info = NodeInfo { level: LEVEL, ..node.info.clone() };
    let boot = RequestId(world.fresh());
    world.apply(Command::RegisterNode { node: node.id, boot, info });
    world.settle();
    assert_eq!(world.live(id)[0].node, node.id);
}
