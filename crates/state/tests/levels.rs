//! What every control node has to understand, and the drains that came with the second level.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::World;
use ring_state::{ApplyDeployment, Command, Entry, InstanceReport, LEVEL, NodeChange, NodeUpdate, Row, State};
use ring_types::{
    DeploymentId, Epoch, ExitStatus, InstanceId, InstanceState, Level, NodeId, NodeInfo, NodeStatus, Outcome, RequestId,
    Revision, Span, Timestamp, UnknownExit,
};
use uuid::Uuid;

fn drain(node: NodeId, until_return: bool) -> Command {
    Command::UpdateNode(NodeUpdate { drain: Some(Span::seconds(60)), until_return, ..NodeUpdate::of(node) })
}

fn schedulable(node: NodeId, schedulable: bool) -> Command {
    Command::UpdateNode(NodeUpdate { schedulable: Some(schedulable), ..NodeUpdate::of(node) })
}

/// Whether it takes work, and whether it is drained until its agent is back.
fn of(world: &World, node: NodeId) -> (bool, Option<bool>) {
    let node = world.state.node(node).unwrap();
    (node.schedulable, node.drain.map(|drain| drain.until_return))
}

#[test]
fn a_drain_until_return_ends_with_the_next_run_of_the_agent_and_no_sooner() {
    let mut world = World::new();
    let node = world.node(1);
    world.run(drain(node, true));
    assert_eq!(of(&world, node), (false, Some(true)));
    world.register(node, 1);
    assert_eq!(of(&world, node), (false, Some(true)), "the run that asked for it");
    world.register(node, 2);
    assert_eq!(of(&world, node), (true, None));
}

#[test]
fn what_an_operator_wants_outlasts_the_agent() {
    let mut world = World::new();
    let node = world.node(1);
    world.run(drain(node, false));
    world.run(drain(node, true));
    world.register(node, 2);
    assert_eq!(of(&world, node), (false, Some(false)), "drained before");
    world.run(schedulable(node, true));
    world.run(schedulable(node, false));
    world.run(drain(node, true));
    world.register(node, 3);
    assert_eq!(of(&world, node), (false, Some(false)), "cordoned before");
    world.run(schedulable(node, true));
    world.run(drain(node, true));
    world.run(drain(node, false));
    world.register(node, 4);
    assert_eq!(of(&world, node), (false, Some(false)), "drained after");
}

/// What came with it, and how it is called.
fn second_level() -> [(Command, &'static str); 5] {
    let mut spec = common::worker("w", 1);
    spec.stop_on_disconnect = Some(Span::seconds(30));
    let deployments = vec![ApplyDeployment::new(DeploymentId(Uuid::from_u128(1)), Arc::new(spec))];
    let apply = Command::Apply { namespaces: vec![], configs: vec![], deployments, force: false, rollout_deadline: None };
    let node = NodeId(Uuid::from_u128(1));
    let info = NodeInfo { level: Level(2), ..NodeInfo::default() };
    let (epoch, status, silent_since) = (Epoch(1), NodeStatus::Lost, Some(Timestamp(1)));
    let change = NodeChange { node, epoch, status, held: false, silent_since };
    let report = InstanceReport { cut_off: true, ..InstanceReport::of(InstanceId(Uuid::from_u128(1)), InstanceState::Exited) };
    let outcome = Outcome::Unknown(UnknownExit::VmLost);
    let lost = ExitStatus { outcome, started_at: None, finished_at: Timestamp(1), node };
    [
        (apply, "stop_on_disconnect"),
        (Command::RegisterNode { node, boot: RequestId::NONE, info }, "an agent's level"),
        (Command::SetNodeStatus { changes: vec![change] }, "since when a node is silent"),
        (Command::Report { node, epoch: None, reports: vec![report.clone()] }, "that an agent stopped an instance"),
        (
            Command::Report { node, epoch: None, reports: vec![InstanceReport { cut_off: false, exit: Some(lost), ..report }] },
            "that a virtual machine",
        ),
    ]
}

/// What came with the third.
fn under_a_registration() -> Command {
    let report = InstanceReport::of(InstanceId(Uuid::from_u128(1)), InstanceState::Running);
    Command::Report { node: NodeId(Uuid::from_u128(1)), epoch: Some(Epoch(1)), reports: vec![report] }
}

#[test]
fn a_level_only_rises_and_says_what_is_too_early() {
    let mut state = State::default();
    let raise = |state: &mut State, index, level| {
        let command = Command::RaiseLevel { level: Level(level) };
        state.apply(Revision(index), &Entry { at: Timestamp(1), request: RequestId::NONE, command });
    };
    let rows = |state: &State| state.rows().filter(|row| matches!(row, Row::Level(_))).count();
    let needs = drain(NodeId(Uuid::from_u128(1)), true);
    assert_eq!((state.level(), rows(&state)), (Level::FIRST, 0));
    let early = state.too_early(&needs).unwrap();
    assert!(early.message.contains("needs a cluster at level 2, and this one is at level 1"), "{}", early.message);
    assert_eq!(state.too_early(&drain(NodeId(Uuid::from_u128(1)), false)), None);
    for (command, what) in second_level() {
        let early = state.too_early(&command).unwrap_or_else(|| panic!("{what} is not too early"));
        assert!(early.message.starts_with(what), "{}", early.message);
    }
    raise(&mut state, 1, 2);
    assert!(second_level().iter().all(|(command, _)| state.too_early(command).is_none()));
    assert_eq!((state.level(), rows(&state), state.too_early(&needs)), (Level(2), 1, None));
    raise(&mut state, 2, 1);
    assert_eq!(state.level(), Level(2));
    let early = state.too_early(&under_a_registration()).unwrap();
    assert!(
        early.message.starts_with("under which registration a report was made needs a cluster at level 3"),
        "{}",
        early.message
    );
    raise(&mut state, 3, 3);
    assert_eq!(state.too_early(&under_a_registration()), None);
    let again = State::from_rows(state.revision(), state.rows()).unwrap();
    assert_eq!(again.level(), Level(3), "it is kept with the rows");
    assert_eq!(World::new().state.level(), LEVEL, "a new cluster begins at the level of the release that makes it");
}
