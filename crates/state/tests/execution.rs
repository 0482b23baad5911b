//! At most one execution, and no exit status lost or invented, as far as the state can guarantee it.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{World, deployment_id, instance_id, job, worker};
use ring_state::{Action, Command, EventKind, InstanceReport, NodeChange, NodeUpdate, RefusalCode, Reply};
use ring_types::{Epoch, ExitStatus, Goal, InstanceState, NodeStatus, Outcome, Span, StartFailure, Timestamp, UnknownExit};

#[test]
fn a_claim_needs_the_right_node_and_the_current_epoch() {
    let mut world = World::new();
    let (a, b) = (world.node(1), world.node(2));
    let (id, _) = world.apply(1, job("j"));
    assert_eq!(world.create(1, id, a), 0);
    assert!(!world.claim(b, 1, 1), "bound to another node");
    assert!(!world.claim(a, 0, 1), "an older registration");
    assert!(world.claim(a, 1, 1));
    assert!(world.claim(a, 1, 1), "asking twice is harmless");
    assert_eq!(world.register(a, 2).0, 2);
    assert!(!world.claim(a, 1, 1), "the agent was started again since");
    assert!(world.claim(a, 2, 1), "the new run of the agent takes its own claim up again");
}

#[test]
fn nobody_claims_what_is_to_be_stopped() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, job("j"));
    world.create(1, id, node);
    world.plan(vec![Action::SetGoal { instance: instance_id(1), goal: Goal::Stop, cause: None }]);
    assert!(!world.claim(node, 1, 1));
}

#[test]
fn a_job_is_not_started_again_once_it_may_have_run() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, job("j"));
    assert_eq!(world.create(1, id, node), 0);
    assert_eq!(world.create(2, id, node), 1, "a second one beside the first");
    world.claim(node, 1, 1);
    world.report(node, 1, InstanceState::Running, None);
    world.report(node, 1, InstanceState::Exited, Some(Outcome::Code(7)));
    assert_eq!(world.create(2, id, node), 1, "after an execution");
}

#[test]
fn a_job_that_certainly_never_started_may_be_bound_again() {
    let mut world = World::new();
    let (a, b) = (world.node(1), world.node(2));
    let (id, _) = world.apply(1, job("j"));
    world.create(1, id, a);
    world.lose_node(a, 1);
    assert_eq!(world.plan(vec![Action::LoseInstance { instance: instance_id(1) }]), 0);
    let exit = world.instance(1).exit.clone().unwrap();
    assert!(matches!(exit.outcome, Outcome::NotStarted { cause: StartFailure::NodeGone, .. }));
    assert_eq!(world.create(2, id, b), 0);
    assert!(!world.claim(a, 1, 1), "the lost node's claim comes too late");
}

#[test]
fn a_lost_job_is_corrected_when_the_truth_arrives() {
    let mut world = World::new();
    let (a, b) = (world.node(1), world.node(2));
    let (id, _) = world.apply(1, job("j"));
    world.create(1, id, a);
    world.claim(a, 1, 1);
    world.report(a, 1, InstanceState::Running, None);
    world.lose_node(a, 1);
    world.plan(vec![Action::LoseInstance { instance: instance_id(1) }]);
    assert_eq!(world.instance(1).exit.as_ref().unwrap().outcome, Outcome::Unknown(UnknownExit::NodeLost));
    assert_eq!(world.create(2, id, b), 1, "it may have run: never again");
    world.register(a, 1);
    world.report(a, 1, InstanceState::Running, None);
    assert_eq!(world.instance(1).state, InstanceState::Lost, "a state never goes back");
    world.report(a, 1, InstanceState::Exited, Some(Outcome::Code(3)));
    assert_eq!(world.instance(1).exit.as_ref().unwrap().outcome, Outcome::Code(3));
    assert!(world.state.events(id).any(|e| e.kind == EventKind::ExitCorrected));
    world.report(a, 1, InstanceState::Exited, Some(Outcome::Code(0)));
    assert_eq!(world.instance(1).exit.as_ref().unwrap().outcome, Outcome::Code(3), "the truth is told once");
}

#[test]
fn a_report_of_another_node_or_without_a_claim_is_dropped() {
    let mut world = World::new();
    let (a, b) = (world.node(1), world.node(2));
    let (id, _) = world.apply(1, job("j"));
    world.create(1, id, a);
    world.report(a, 1, InstanceState::Exited, Some(Outcome::Code(0)));
    assert_eq!(world.instance(1).state, InstanceState::Assigned, "nobody claimed it, so nobody ran it");
    world.claim(a, 1, 1);
    world.report(b, 1, InstanceState::Exited, Some(Outcome::Code(0)));
    assert_eq!(world.instance(1).state, InstanceState::Claimed);
    world.report(a, 1, InstanceState::Exited, None);
    assert_eq!(world.instance(1).state, InstanceState::Claimed, "an end has to say how");
}

#[test]
fn what_may_have_run_is_not_removed_before_it_says_how_it_ended() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, job("j"));
    world.create(1, id, node);
    world.claim(node, 1, 1);
    world.report(node, 1, InstanceState::Removed, None);
    assert_eq!(world.instance(1).state, InstanceState::Claimed, "it may have run");
    world.report(node, 1, InstanceState::Running, None);
    world.report(node, 1, InstanceState::Removed, None);
    assert_eq!(world.instance(1).state, InstanceState::Running, "it did run");
    world.report(node, 1, InstanceState::Exited, Some(Outcome::Code(7)));
    world.report(node, 1, InstanceState::Removed, None);
    assert_eq!(world.instance(1).state, InstanceState::Removed, "its end is recorded");
    assert_eq!(world.instance(1).exit.as_ref().unwrap().outcome, Outcome::Code(7));
}

#[test]
fn what_nobody_claimed_may_be_removed_without_a_word() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, job("j"));
    world.create(1, id, node);
    world.report(node, 1, InstanceState::Removed, None);
    assert_eq!(world.instance(1).state, InstanceState::Removed);
    assert_eq!(world.instance(1).exit, None);
}

#[test]
fn a_guess_about_a_lost_instance_does_not_keep_its_end_from_being_told() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, job("j"));
    world.create(1, id, node);
    world.claim(node, 1, 1);
    world.lose_node(node, 1);
    world.plan(vec![Action::LoseInstance { instance: instance_id(1) }]);
    world.register(node, 1);
    for state in [InstanceState::Exited, InstanceState::Removed] {
        world.report(node, 1, state, None);
        assert_eq!(world.instance(1).state, InstanceState::Lost, "{state} without an account of the end");
    }
    world.report(node, 1, InstanceState::Removed, Some(Outcome::Code(3)));
    assert_eq!(world.instance(1).state, InstanceState::Removed);
    assert_eq!(world.instance(1).exit.as_ref().unwrap().outcome, Outcome::Code(3));
}

#[test]
fn a_worker_slot_has_one_live_instance_and_counts_restarts() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, worker("w", 1));
    world.create(1, id, node);
    assert_eq!(world.create(2, id, node), 1);
    world.claim(node, 1, 1);
    world.report(node, 1, InstanceState::Exited, Some(Outcome::Code(1)));
    let again = Action::CreateInstance { id: instance_id(2), deployment: id, slot: 0, attempt: 2, node, restart: true };
    assert_eq!(world.plan(vec![again]), 0);
    assert_eq!(world.state.deployment(id).unwrap().restart_count, 1);
    let outside = Action::CreateInstance { id: instance_id(3), deployment: id, slot: 1, attempt: 1, node, restart: false };
    assert_eq!(world.plan(vec![outside]), 1, "beyond the replicas");
}

#[test]
fn placement_is_checked_again_against_what_is_free() {
    let mut world = World::new();
    let node = world.node(1);
    let mut spec = worker("w", 3);
    spec.resources.requests.memory = Some(ring_types::Memory(5 << 30));
    let (id, _) = world.apply(1, spec);
    let create = |n, slot| Action::CreateInstance { id: instance_id(n), deployment: id, slot, attempt: 1, node, restart: false };
    assert_eq!(world.plan(vec![create(1, 0), create(2, 1)]), 1, "8 GiB hold one of 5 GiB");
    world.claim(node, 1, 1);
    world.report(node, 1, InstanceState::Exited, Some(Outcome::Code(0)));
    assert_eq!(world.plan(vec![create(2, 1)]), 0, "its memory is free again");
}

#[test]
fn a_lost_node_comes_back_by_registering_only() {
    let mut world = World::new();
    let node = world.node(1);
    world.lose_node(node, 1);
    let change =
        ring_state::NodeChange { node, epoch: ring_types::Epoch(2), status: NodeStatus::Ready, held: false, silent_since: None };
    world.run(Command::SetNodeStatus { changes: vec![change] });
    assert_eq!(world.state.node(node).unwrap().status, NodeStatus::Lost);
    assert_eq!(world.register(node, 1).0, 3, "the same run of the agent, but a new epoch");
}

#[test]
fn what_an_earlier_run_of_an_agent_said_is_not_taken_when_it_comes_late() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, worker("w", 1));
    world.create(1, id, node);
    world.claim(node, 1, 1);
    let outcome = Outcome::NotStarted { cause: StartFailure::Create, message: "no such command".to_owned() };
    let exit = ExitStatus { outcome, started_at: None, finished_at: Timestamp(5), node };
    let report = InstanceReport { exit: Some(exit), ..InstanceReport::of(instance_id(1), InstanceState::Exited) };
    let said = |epoch| Command::Report { node, epoch: Some(Epoch(epoch)), reports: vec![report.clone()] };
    // The agent begins anew without its ledger, and starts what it had not been able to start before.
    assert_eq!(world.register(node, 2), Epoch(2));
    world.claim(node, 2, 1);
    let Reply::Refused(refused) = world.run(said(1)) else { panic!("it was taken") };
    assert_eq!(refused.code, RefusalCode::Conflict, "{}", refused.message);
    assert_eq!((world.instance(1).state, world.instance(1).exit.is_none()), (InstanceState::Claimed, true));
    assert_eq!(world.run(said(2)), Reply::Done);
    assert_eq!(world.instance(1).state, InstanceState::Exited);
}

#[test]
fn a_silence_does_not_begin_before_the_node_was_in_contact() {
    let mut world = World::new();
    let node = world.node(1);
    let change = |status, silent_since| NodeChange { node, epoch: Epoch(1), status, held: false, silent_since };
    let mut silence = |change| {
        world.run(Command::SetNodeStatus { changes: vec![change] });
        (world.state.node(node).unwrap().silence(), world.state.clock())
    };
    let early = Some(Timestamp(1));
    let (first, _) = silence(change(NodeStatus::Unreachable, early));
    assert!(first > early, "it registered after that: {first:?}");
    let (none, back) = silence(change(NodeStatus::Ready, None));
    assert_eq!(none, None);
    // Of a leader that has been deposed: the node was heard since.
    let (old, now) = silence(change(NodeStatus::Lost, first));
    assert_eq!(old, Some(back));
    assert!(now > back);
    let mut world = World::new();
    let node = world.node(1);
    let later = world.state.clock() + Span::seconds(100);
    let lost = NodeChange { node, epoch: Epoch(1), status: NodeStatus::Lost, held: false, silent_since: Some(later) };
    world.run(Command::SetNodeStatus { changes: vec![lost] });
    assert_eq!(world.state.node(node).unwrap().silence(), Some(later));
}

#[test]
fn only_a_node_out_of_contact_is_declared_lost() {
    let mut world = World::new();
    let node = world.node(1);
    let lost =
        Command::UpdateNode(NodeUpdate { node, labels: None, schedulable: None, drain: None, lost: true, until_return: false });
    let Reply::Refused(refused) = world.run(lost.clone()) else { panic!("a node in contact was declared lost") };
    assert_eq!(refused.code, RefusalCode::Conflict, "{}", refused.message);
    let silent = NodeChange { node, epoch: Epoch(1), status: NodeStatus::Unreachable, held: true, silent_since: None };
    world.run(Command::SetNodeStatus { changes: vec![silent] });
    assert!(world.state.node(node).unwrap().held);
    world.run(lost.clone());
    let now = world.state.node(node).unwrap().clone();
    assert_eq!((now.status, now.held, now.epoch), (NodeStatus::Lost, false, Epoch(2)));
    world.run(lost);
    assert_eq!(world.state.node(node).unwrap().epoch, Epoch(2), "saying it again changes nothing");
}

#[test]
fn a_deployment_goes_when_its_last_instance_has_gone() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, worker("w", 1));
    world.create(1, id, node);
    world.claim(node, 1, 1);
    assert_eq!(world.run(Command::DeleteDeployments { ids: vec![id] }), Reply::Deleted(vec![id]));
    let forget = || vec![Action::ForgetDeployment { deployment: id }];
    assert_eq!(world.plan(forget()), 1);
    assert_eq!(world.plan(vec![Action::ForgetInstance { instance: instance_id(1) }]), 1, "it has not been removed yet");
    world.plan(vec![Action::SetGoal { instance: instance_id(1), goal: Goal::Remove, cause: None }]);
    world.report(node, 1, InstanceState::Exited, Some(Outcome::Signal { signal: 15, oom_killed: false }));
    world.report(node, 1, InstanceState::Removed, None);
    assert_eq!(world.plan(vec![Action::ForgetInstance { instance: instance_id(1) }]), 0);
    assert_eq!(world.plan(forget()), 0);
    assert!(world.state.deployment(deployment_id(1)).is_none());
    assert_eq!(world.state.events(id).count(), 0);
}
