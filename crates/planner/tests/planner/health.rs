//! What health checks do to a worker.

use ring_types::{CheckAction, Condition, DeploymentSpec, DeploymentStatus, Goal, InstanceState, Outcome, Span, StopCause};

use crate::world::{World, check, gated, worker};

fn checked(replicas: u32, actions: &[CheckAction]) -> DeploymentSpec {
    let health_checks = actions.iter().map(|action| check(false, *action)).collect();
    DeploymentSpec { health_checks, ..worker("w", replicas) }
}

fn signal() -> Outcome {
    Outcome::Signal { signal: 15, oom_killed: false }
}

#[test]
fn a_failing_check_does_what_it_says_and_no_other_check_does() {
    use CheckAction::{Alert, Restart, Stop};
    for (actions, failing, expected) in [
        (vec![Restart], vec![0], Some(StopCause::Unhealthy)),
        (vec![Stop], vec![0], Some(StopCause::StoppedByCheck)),
        (vec![Alert], vec![0], None),
        (vec![Restart, Alert], vec![1], None),
        (vec![Alert, Restart], vec![1], Some(StopCause::Unhealthy)),
        (vec![Restart, Stop], vec![0, 1], Some(StopCause::StoppedByCheck)),
        (vec![Alert], vec![7], None),
    ] {
        let mut world = World::with_nodes(1);
        let id = world.create(checked(1, &actions));
        world.settle();
        world.run_all(id);
        let instance = world.live(id)[0].id;
        world.health(instance, true, &failing);
        world.settle();
        let now = world.state.instance(instance).unwrap();
        assert_eq!(now.stop_cause, expected, "{actions:?}, {failing:?} fail");
        assert_eq!(now.goal, if expected.is_some() { Goal::Stop } else { Goal::Run });
        let unhealthy = world.deployment(id).conditions.contains(&Condition::Unhealthy);
        assert_eq!(unhealthy, expected.is_none(), "what is told to end is no condition any more");
    }
}

#[test]
fn an_unhealthy_instance_counts_as_a_crash_whatever_its_exit_says() {
    for outcome in [Outcome::Code(0), Outcome::Code(127), signal()] {
        let mut world = World::with_nodes(1);
        let id = world.create(checked(1, &[CheckAction::Restart]));
        for restart in 1..=5 {
            world.settle();
            world.run_all(id);
            let instance = world.live(id)[0].id;
            world.health(instance, true, &[0]);
            world.settle();
            assert!(world.live(id).len() == 1, "the next starts only when this one has ended");
            world.end(instance, outcome.clone());
            let wake = world.settle().wake_at.unwrap();
            assert_eq!(wake.since(world.now), Span::seconds(1 << (restart - 1)), "the pauses of crashes");
            let shown = world.deployment(id);
            assert_eq!((shown.reason.as_str(), shown.restart_count), ("unhealthy", restart - 1));
            let expected = format!("health check 0 (tcp) failed: refused; restart {restart} of 5 after ");
            assert!(shown.message.starts_with(&expected), "{}", shown.message);
            world.now = wake;
        }
        world.settle();
        world.run_all(id);
        let instance = world.live(id)[0].id;
        world.health(instance, true, &[0]);
        world.settle();
        world.end(instance, outcome.clone());
        world.settle();
        let shown = world.deployment(id);
        assert_eq!((shown.status, shown.reason.as_str()), (DeploymentStatus::CrashLoopBackOff, "unhealthy"));
        assert_eq!(shown.restart_count, 5);
    }
}

#[test]
fn an_instance_stopped_by_its_check_is_not_replaced() {
    let mut world = World::with_nodes(1);
    let id = world.create(checked(2, &[CheckAction::Stop]));
    world.settle();
    world.run_all(id);
    let all = world.live(id);
    world.health(all[0].id, true, &[0]);
    world.settle();
    world.end(all[0].id, signal());
    world.pass(Span::seconds(10_000));
    assert_eq!(world.settle().wake_at, None);
    let shown = world.deployment(id);
    assert_eq!((world.live(id).len(), shown.status, shown.restart_count), (1, DeploymentStatus::Running, 0));
    assert_eq!(shown.reason, "stopped_by_check");
    let kept = world.state.instance(all[0].id).unwrap();
    assert_eq!((kept.goal, kept.state), (Goal::Stop, InstanceState::Exited), "kept for its logs");
    world.health(all[1].id, true, &[0]);
    world.settle();
    world.end(all[1].id, signal());
    world.settle();
    let shown = world.deployment(id);
    assert_eq!((shown.status, shown.reason.as_str()), (DeploymentStatus::Error, "stopped_by_check"));
    let expected = "2 of 2 stopped because health check 0 (tcp) failed: refused; not started again until it is restarted or \
                    applied with --force";
    assert_eq!(shown.message, expected);
    let new = world.change(checked(2, &[CheckAction::Stop]), true).id;
    world.settle();
    assert_eq!(world.live(new).len(), 2, "applied again, it starts again");
}

#[test]
fn a_stopped_slot_goes_first_when_fewer_are_wanted() {
    let mut world = World::with_nodes(1);
    let id = world.create(checked(3, &[CheckAction::Stop]));
    world.settle();
    world.run_all(id);
    let first = world.live(id)[0].id;
    world.health(first, true, &[0]);
    world.settle();
    world.end(first, signal());
    world.settle();
    world.create(checked(2, &[CheckAction::Stop]));
    world.settle();
    assert_eq!(world.state.instance(first).unwrap().goal, Goal::Remove);
    let running = world.live(id).iter().filter(|i| i.goal == Goal::Run).count();
    assert_eq!((running, world.deployment(id).reason.as_str()), (2, ""));
}

#[test]
fn what_runs_and_is_not_ready_is_a_condition_and_not_forgiven() {
    let mut world = World::with_nodes(1);
    let id = world.create(gated("w", 1, "img"));
    world.settle();
    world.run_all(id);
    world.end(world.live(id)[0].id, Outcome::Code(1));
    world.now = world.settle().wake_at.unwrap();
    world.settle();
    world.run_all(id);
    let instance = world.live(id)[0].id;
    let shown = world.deployment(id);
    assert_eq!((shown.status, &shown.conditions[..]), (DeploymentStatus::Running, &[Condition::NotReady][..]));
    world.pass(Span::seconds(1000));
    assert_eq!(world.settle().wake_at, None);
    assert_eq!(world.deployment(id).restart_count, 1, "it never was ready");
    world.health(instance, true, &[]);
    let wake = world.settle().wake_at.unwrap();
    assert!(world.deployment(id).conditions.is_empty());
    assert_eq!(wake.since(world.now), Span::seconds(60), "the window begins when it is ready");
    world.now = wake;
    world.settle();
    assert_eq!(world.deployment(id).restart_count, 0);
}

#[test]
fn a_failing_check_interrupts_the_healthy_window() {
    let mut world = World::with_nodes(1);
    let id = world.create(checked(1, &[CheckAction::Alert]));
    world.settle();
    world.run_all(id);
    world.end(world.live(id)[0].id, Outcome::Code(1));
    world.now = world.settle().wake_at.unwrap();
    world.settle();
    world.run_all(id);
    let instance = world.live(id)[0].id;
    world.pass(Span::seconds(30));
    world.health(instance, true, &[0]);
    world.pass(Span::seconds(100));
    world.settle();
    assert_eq!(world.deployment(id).restart_count, 1);
    world.health(instance, true, &[]);
    let wake = world.settle().wake_at.unwrap();
    assert_eq!(wake.since(world.now), Span::seconds(60));
}

/// Scale-down, update, delete: an instance that was told to end did not crash, whatever its exit says.
#[test]
fn what_is_told_to_end_never_crashed() {
    for code in [0, 1, 126, 127] {
        let mut world = World::with_nodes(1);
        let id = world.create(worker("w", 3));
        world.settle();
        world.run_all(id);
        world.create(worker("w", 1));
        world.settle();
        for instance in world.live(id).iter().filter(|i| i.goal > Goal::Run) {
            world.end(instance.id, Outcome::Code(code));
        }
        world.settle();
        let shown = world.deployment(id);
        assert_eq!((shown.status, shown.restart_count), (DeploymentStatus::Running, 0), "code {code}");
    }
}
