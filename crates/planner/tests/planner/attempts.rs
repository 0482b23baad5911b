//! Jobs that have a time limit, and jobs that are tried again.

use ring_types::{
    Condition, DeploymentSpec, DeploymentStatus, ExitStatus, Goal, InstanceId, InstanceState, NodeStatus, OnNodeLoss, Outcome,
    Span, StartFailure, StopCause,
};

use crate::world::{World, creates, job};

const TERMINATED: Outcome = Outcome::Signal { signal: 15, oom_killed: false };

fn tried(retries: u32) -> DeploymentSpec {
    DeploymentSpec { retries, ..job("j") }
}

fn timed(seconds: u64) -> DeploymentSpec {
    DeploymentSpec { timeout: Some(Span::seconds(seconds)), ..job("j") }
}

/// The live instance of a job, running.
fn running(world: &mut World, id: ring_types::DeploymentId) -> InstanceId {
    world.settle();
    world.run_all(id);
    world.live(id)[0].id
}

fn shown(world: &World, id: ring_types::DeploymentId) -> (DeploymentStatus, String) {
    let now = world.deployment(id);
    (now.status, now.reason.clone())
}

#[test]
fn a_job_that_runs_too_long_is_ended_and_says_so() {
    let mut world = World::with_nodes(1);
    let id = world.create(timed(2));
    let instance = running(&mut world, id);
    let due = world.settle().wake_at.unwrap();
    assert_eq!(due.since(world.now), Span::seconds(2));
    world.now = due;
    world.settle();
    let told = world.state.instance(instance).unwrap();
    assert_eq!((told.goal, told.stop_cause), (Goal::Stop, Some(StopCause::TimedOut)));
    assert_eq!(shown(&world, id), (DeploymentStatus::Running, "timeout".to_owned()), "until it has ended");
    assert_eq!(world.settle().wake_at, None);
    world.end(instance, TERMINATED);
    world.settle();
    assert_eq!(shown(&world, id), (DeploymentStatus::Failed, "timeout".to_owned()));
    let done = world.deployment(id);
    assert_eq!(done.exit.as_ref().and_then(ExitStatus::code), Some(143), "the real exit status");
    assert!(done.message.contains("longer than its timeout of 2s"), "{}", done.message);
    assert_eq!(world.instances(id)[0].state, InstanceState::Exited, "what it wrote stays readable");
}

#[test]
fn a_timeout_is_counted_by_the_leader_whatever_the_clock_of_the_node_says() {
    let mut world = World::with_nodes(1);
    let id = world.create(timed(10));
    world.settle();
    let instance = world.live(id)[0].id;
    world.claim(instance);
    world.report_running(instance, ring_types::Timestamp(5));
    let due = world.settle().wake_at.unwrap();
    assert_eq!(due.since(world.now), Span::seconds(10));
}

#[test]
fn what_ended_in_time_but_was_heard_of_late_is_what_it_was() {
    for (outcome, status, reason) in
        [(Outcome::Code(0), DeploymentStatus::Completed, ""), (Outcome::Code(4), DeploymentStatus::Failed, "exit_code")]
    {
        let mut world = World::with_nodes(1);
        let id = world.create(timed(10));
        let instance = running(&mut world, id);
        let ended = world.now + Span::seconds(3);
        world.pass(Span::seconds(11));
        world.settle();
        assert_eq!(world.state.instance(instance).unwrap().stop_cause, Some(StopCause::TimedOut));
        world.end_at(instance, outcome, ended);
        world.settle();
        assert_eq!(shown(&world, id), (status, reason.to_owned()));
    }
}

#[test]
fn a_job_on_a_node_out_of_contact_times_out_when_that_is_back() {
    let mut world = World::with_nodes(1);
    let id = world.create(timed(60));
    let instance = running(&mut world, id);
    let node = world.live(id)[0].node;
    world.set_node(node, NodeStatus::Unreachable);
    world.pass(Span::seconds(61));
    world.settle();
    assert_eq!(world.deployment(id).conditions, [Condition::NodeUnreachable]);
    world.set_node(node, NodeStatus::Lost);
    world.settle();
    assert_eq!(shown(&world, id), (DeploymentStatus::Failed, "node_lost".to_owned()), "nobody knows whether it ran so long");
    world.register(node, 4000, 8000);
    world.settle();
    assert_eq!(world.state.instance(instance).unwrap().goal, Goal::Stop);
    world.end(instance, TERMINATED);
    world.settle();
    assert_eq!(shown(&world, id), (DeploymentStatus::Failed, "timeout".to_owned()));
}

#[test]
fn a_lost_job_nobody_heard_to_run_times_out_from_its_loss() {
    let mut world = World::with_nodes(1);
    let id = world.create(timed(60));
    world.settle();
    let first = world.live(id)[0].clone();
    world.claim(first.id);
    world.set_node(first.node, NodeStatus::Lost);
    let due = world.settle().wake_at.unwrap();
    assert_eq!(due.since(world.now), Span::seconds(60));
    world.now = due;
    world.settle();
    assert_eq!(world.state.instance(first.id).unwrap().stop_cause, Some(StopCause::TimedOut));
}

#[test]
fn each_attempt_is_kept_with_its_own_end() {
    let mut world = World::with_nodes(2);
    let id = world.create(tried(3));
    let ends = [Outcome::Code(1), Outcome::Signal { signal: 9, oom_killed: true }, Outcome::Code(3), Outcome::Code(4)];
    for (number, outcome) in (1..).zip(&ends) {
        let instance = running(&mut world, id);
        assert_eq!(world.state.instance(instance).unwrap().attempt, number);
        world.end(instance, outcome.clone());
        let plan = world.settle();
        let now = world.deployment(id);
        if number == 4 {
            break;
        }
        assert_eq!((now.status, &now.conditions[..]), (DeploymentStatus::Running, &[Condition::BackingOff][..]));
        assert!(now.message.contains(&format!("attempt {} of 4 follows after", number + 1)), "{}", now.message);
        assert!(now.message.contains(&format!("attempt {number} of 4: ")), "{}", now.message);
        let wake = plan.wake_at.unwrap();
        assert_eq!(wake.since(world.now), Span(500 << number), "the pause grows");
        world.now = wake;
        world.settle();
        let now = world.deployment(id);
        assert_eq!((now.status, now.conditions.len()), (DeploymentStatus::Running, 0), "also while the next one is made");
    }
    assert_eq!(shown(&world, id), (DeploymentStatus::Failed, "exit_code".to_owned()));
    assert_eq!(world.deployment(id).message, "attempt 4 of 4: exited with code 4");
    world.pass(Span::seconds(1_000_000));
    assert_eq!(world.settle().wake_at, None);
    let kept: Vec<_> = world.instances(id).into_iter().map(|i| (i.attempt, i.goal, i.exit.clone().unwrap().outcome)).collect();
    let wanted: Vec<_> = (1..).zip(ends).map(|(attempt, outcome)| (attempt, Goal::Run, outcome)).collect();
    assert_eq!(kept, wanted);
    let retried = world.state.events(id).filter(|e| e.kind == ring_state::EventKind::Retried);
    assert_eq!(retried.map(|e| e.message.clone()).collect::<Vec<_>>(), ["attempt 2 of 4", "attempt 3 of 4", "attempt 4 of 4"]);
    world.delete(id);
    world.settle();
    world.instances(id).iter().for_each(|i| world.removed(i.id));
    world.settle();
    assert!(world.state.deployment(id).is_none());
}

#[test]
fn an_attempt_that_succeeds_is_the_last() {
    let mut world = World::with_nodes(1);
    let id = world.create(tried(5));
    let first = running(&mut world, id);
    world.end(first, Outcome::Code(1));
    world.now = world.settle().wake_at.unwrap();
    let second = running(&mut world, id);
    let message = world.deployment(id).message.clone();
    assert_eq!(message, "attempt 2 of 6; attempt 1 of 6: exited with code 1");
    world.end(second, Outcome::Code(0));
    world.settle();
    assert_eq!(shown(&world, id), (DeploymentStatus::Completed, String::new()));
    assert_eq!(world.deployment(id).exit.as_ref().and_then(ExitStatus::code), Some(0));
    world.pass(Span::seconds(1000));
    assert_eq!(creates(&world.settle()), 0);
}

#[test]
fn a_command_that_cannot_be_run_is_not_tried_again() {
    for code in [126, 127] {
        let mut world = World::with_nodes(1);
        let id = world.create(tried(5));
        let first = running(&mut world, id);
        world.end(first, Outcome::Code(code));
        world.settle();
        assert_eq!(shown(&world, id), (DeploymentStatus::Failed, "exit_code".to_owned()));
    }
}

#[test]
fn a_timeout_uses_an_attempt() {
    let mut world = World::with_nodes(1);
    let id = world.create(DeploymentSpec { retries: 1, ..timed(2) });
    for number in 1..=2 {
        let instance = running(&mut world, id);
        assert_eq!(world.state.instance(instance).unwrap().attempt, number);
        world.now = world.settle().wake_at.unwrap();
        world.settle();
        assert_eq!(world.live(id).len(), 1, "the next one waits until this one has ended");
        world.end(instance, Outcome::Code(0));
        if let Some(wake) = world.settle().wake_at {
            world.now = wake;
        }
    }
    assert_eq!(shown(&world, id), (DeploymentStatus::Failed, "timeout".to_owned()));
    assert!(world.deployment(id).message.starts_with("attempt 2 of 2: ran longer"), "{}", world.deployment(id).message);
}

#[test]
fn a_start_that_fails_uses_no_attempt() {
    let mut world = World::with_nodes(1);
    let id = world.create(tried(1));
    let first = running(&mut world, id);
    world.end(first, Outcome::Code(1));
    world.now = world.settle().wake_at.unwrap();
    for _ in 0..3 {
        world.settle();
        let instance = world.live(id)[0].clone();
        assert_eq!(instance.attempt, 2);
        world.fail_start(instance.id, StartFailure::ImagePull);
        let plan = world.settle();
        let now = world.deployment(id);
        assert_eq!((now.status, now.reason.as_str()), (DeploymentStatus::Running, "image_pull"));
        assert!(now.message.starts_with("attempt 2 of 2 waits: said so"), "{}", now.message);
        world.now = plan.wake_at.unwrap();
        let old: Vec<_> = world.instances(id).into_iter().filter(|i| i.goal == Goal::Remove).map(|i| i.id).collect();
        old.into_iter().for_each(|id| world.removed(id));
    }
    let second = running(&mut world, id);
    assert_eq!(world.state.instance(second).unwrap().attempt, 2);
    world.end(second, Outcome::Code(0));
    world.settle();
    assert_eq!(shown(&world, id).0, DeploymentStatus::Completed);
    let kept: Vec<_> = world.instances(id).into_iter().filter(|i| i.goal == Goal::Run).map(|i| i.attempt).collect();
    assert_eq!(kept, [1, 2]);
}

#[test]
fn an_unknown_end_is_final_unless_the_job_says_otherwise() {
    let mut world = World::with_nodes(2);
    let id = world.create(tried(5));
    let first = running(&mut world, id);
    let node = world.live(id)[0].node;
    world.set_node(node, NodeStatus::Lost);
    world.settle();
    assert_eq!(shown(&world, id), (DeploymentStatus::Failed, "node_lost".to_owned()));
    world.pass(Span::seconds(1000));
    world.register(node, 4000, 8000);
    world.end(first, Outcome::Code(1));
    assert_eq!(creates(&world.settle()), 0, "it was told to be over: the record is corrected, and no more");
    assert_eq!(shown(&world, id), (DeploymentStatus::Failed, "exit_code".to_owned()));
}

/// A job that is executed again where the first execution was lost: at least once, as it asked for.
fn lost_and_followed() -> (World, ring_types::DeploymentId, InstanceId, InstanceId) {
    let mut world = World::with_nodes(2);
    let id = world.create(DeploymentSpec { on_node_loss: OnNodeLoss::Reschedule, ..tried(1) });
    let first = running(&mut world, id);
    let node = world.live(id)[0].node;
    world.set_node(node, NodeStatus::Lost);
    let wake = world.settle().wake_at.unwrap();
    assert_eq!(shown(&world, id).0, DeploymentStatus::Running);
    world.now = wake;
    let second = running(&mut world, id);
    assert_ne!(world.state.instance(second).unwrap().node, node);
    let lost = world.state.instance(first).unwrap();
    assert_eq!((lost.state, lost.goal, lost.stop_cause), (InstanceState::Lost, Goal::Stop, Some(StopCause::Retried)));
    world.register(node, 4000, 8000);
    (world, id, first, second)
}

#[test]
fn the_late_success_of_a_lost_attempt_is_the_end_once_the_one_under_way_has_ended() {
    let (mut world, id, first, second) = lost_and_followed();
    world.end(first, Outcome::Code(0));
    world.settle();
    assert_eq!(shown(&world, id).0, DeploymentStatus::Running, "what runs is left alone");
    assert_eq!(world.state.instance(second).unwrap().goal, Goal::Run);
    world.end(second, Outcome::Code(1));
    world.settle();
    assert_eq!(shown(&world, id), (DeploymentStatus::Completed, String::new()));
    let exit = world.deployment(id).exit.clone().unwrap();
    assert_eq!(exit.node, world.state.instance(first).unwrap().node);
}

#[test]
fn the_late_failure_of_a_lost_attempt_changes_its_own_record_only() {
    let (mut world, id, first, second) = lost_and_followed();
    world.end(second, Outcome::Code(0));
    world.settle();
    world.end(first, TERMINATED);
    world.settle();
    assert_eq!(shown(&world, id), (DeploymentStatus::Completed, String::new()));
    assert_eq!(world.state.instance(first).unwrap().exit.as_ref().unwrap().outcome, TERMINATED);
}

#[test]
fn a_late_success_corrects_a_job_that_failed() {
    let (mut world, id, first, second) = lost_and_followed();
    world.end(second, Outcome::Code(1));
    world.settle();
    assert_eq!(shown(&world, id).0, DeploymentStatus::Failed);
    world.end(first, Outcome::Code(0));
    world.settle();
    assert_eq!(shown(&world, id), (DeploymentStatus::Completed, String::new()));
    world.pass(Span::seconds(1000));
    assert_eq!(creates(&world.settle()), 0);
}
