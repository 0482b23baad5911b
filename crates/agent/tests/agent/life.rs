//! The usual life of instances.

use ring_agent::Phase;
use ring_runtime::{FakeCall, FakeScript, FakeStart, Observed, RuntimeError, RuntimeErrorKind};
use ring_types::{Goal, InstanceState, Outcome, StartFailure, UnknownExit};

use crate::host::Host;

#[tokio::test]
async fn a_job_runs_once_and_its_end_is_committed_in_order() {
    let host = Host::connected().await;
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    assert!(host.runtime.finish(instance, Outcome::Code(7)));
    host.plane.reaches(instance, InstanceState::Exited).await;
    assert_eq!(host.plane.known(instance).outcome, Some(Outcome::Code(7)));
    assert_eq!(host.runtime.starts(instance), 1);
    let told: Vec<_> = host.plane.state().reports.iter().map(|report| report.state).collect();
    assert_eq!(told, [InstanceState::Running, InstanceState::Exited]);
}

#[tokio::test]
async fn a_job_that_ends_at_once_is_told_with_its_code() {
    let host = Host::connected().await;
    host.runtime.script_default(FakeScript { start: FakeStart::Ends(Outcome::Code(3)), ..FakeScript::default() });
    let instances: Vec<_> = (1..=20).map(|number| host.plane.assign(number)).collect();
    for instance in instances {
        host.plane.reaches(instance, InstanceState::Exited).await;
        assert_eq!(host.plane.known(instance).outcome, Some(Outcome::Code(3)));
        assert_eq!(host.runtime.starts(instance), 1);
    }
}

#[tokio::test]
async fn a_hanging_preparation_delays_nobody_else() {
    let host = Host::connected().await;
    let slow = host.plane.assign(1);
    host.runtime.script(slow, FakeScript { hold_prepare: true, ..FakeScript::default() });
    host.runtime.called(|call| *call == FakeCall::Prepare(slow)).await;
    let quick = host.plane.assign(2);
    host.plane.reaches(quick, InstanceState::Running).await;
    assert_eq!(host.runtime.starts(slow), 0);
    // After a while the cluster is told that it is being prepared.
    host.plane.reaches(slow, InstanceState::Preparing).await;
    host.records(slow, |record| record.reported == Some(InstanceState::Preparing)).await;
    host.runtime.release(slow);
    host.plane.reaches(slow, InstanceState::Running).await;
    let prepared = host.runtime.calls().iter().filter(|call| **call == FakeCall::Prepare(slow)).count();
    assert_eq!(prepared, 1, "a report that is committed meanwhile does not begin it anew");
}

#[tokio::test]
async fn stopping_cancels_a_hanging_preparation() {
    let host = Host::connected().await;
    host.runtime.script_default(FakeScript { hold_prepare: true, ..FakeScript::default() });
    let instance = host.plane.assign(1);
    host.runtime.called(|call| *call == FakeCall::Prepare(instance)).await;
    host.plane.set_goal(instance, Goal::Stop);
    host.plane.reaches(instance, InstanceState::Exited).await;
    let outcome = host.plane.known(instance).outcome;
    assert!(matches!(outcome, Some(Outcome::NotStarted { cause: StartFailure::Cancelled, .. })), "{outcome:?}");
    assert_eq!(host.runtime.starts(instance), 0);
    assert_eq!(host.ledger()[&instance].phase, Phase::Exited);
}

#[tokio::test]
async fn stop_then_remove_leaves_nothing() {
    let host = Host::connected().await;
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    host.plane.set_goal(instance, Goal::Stop);
    host.plane.reaches(instance, InstanceState::Exited).await;
    let stopped = Outcome::Signal { signal: 15, oom_killed: false };
    assert_eq!(host.plane.known(instance).outcome, Some(stopped));
    assert!(matches!(host.runtime.observed(instance), Observed::Exited { .. }), "its logs stay until it is removed");
    host.plane.set_goal(instance, Goal::Remove);
    host.plane.reaches(instance, InstanceState::Removed).await;
    assert_eq!(host.runtime.observed(instance), Observed::Absent);
    host.plane.forget(instance);
    // The next instance is told after that, so its start shows that the first was dealt with.
    let next = host.plane.assign(2);
    host.plane.reaches(next, InstanceState::Running).await;
    host.forgets(instance).await;
}

#[tokio::test]
async fn a_definite_failure_to_prepare_is_told_as_not_started() {
    let host = Host::connected().await;
    let error = RuntimeError::new(RuntimeErrorKind::Start(StartFailure::ImageNotFound), "job:1 not found");
    host.runtime.script_default(FakeScript { prepare_errors: vec![error], ..FakeScript::default() });
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Exited).await;
    let Some(Outcome::NotStarted { cause, message }) = host.plane.known(instance).outcome else { panic!("it started") };
    assert_eq!((cause, message.as_str()), (StartFailure::ImageNotFound, "job:1 not found"));
}

#[tokio::test]
async fn a_lost_reply_of_start_is_no_failure_and_no_second_start() {
    let host = Host::connected().await;
    let lost = RuntimeError::new(RuntimeErrorKind::Unavailable, "connection reset");
    host.runtime.script_default(FakeScript { start: FakeStart::RunsReplyLost(lost), ..FakeScript::default() });
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    assert_eq!(host.runtime.starts(instance), 1);
}

#[tokio::test]
async fn while_the_runtime_is_away_nothing_is_claimed_to_have_happened() {
    let host = Host::connected().await;
    let running = host.plane.assign(1);
    host.plane.reaches(running, InstanceState::Running).await;
    host.runtime.set_problem(Some("daemon is down"));
    let new = host.plane.assign(2);
    host.runtime.called(|call| *call == FakeCall::Prepare(new)).await;
    host.plane
        .wait("the runtime's problem", |state| {
            state.infos.last().is_some_and(|info| info.runtimes[0].problem.as_deref() == Some("daemon is down"))
        })
        .await;
    assert_eq!(host.plane.known(running).state, InstanceState::Running);
    assert_eq!(host.plane.known(new).state, InstanceState::Claimed);
    host.runtime.set_problem(None);
    host.plane.reaches(new, InstanceState::Running).await;
    assert_eq!((host.runtime.starts(running), host.runtime.starts(new)), (1, 1));
}

#[tokio::test]
async fn an_instance_taken_away_by_hand_ended_in_a_way_nobody_knows() {
    let host = Host::connected().await;
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    host.runtime.vanish(instance);
    host.plane.reaches(instance, InstanceState::Exited).await;
    assert_eq!(host.plane.known(instance).outcome, Some(Outcome::Unknown(UnknownExit::InstanceVanished)));
}

#[tokio::test]
async fn a_node_that_is_to_be_empty_before_its_agent_stops_is() {
    let mut host = Host::new().await;
    host.drain_on_stop = Some(std::time::Duration::from_mins(5));
    host.start();
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    let plane = host.plane.clone();
    let emptied = async {
        plane.wait("to be asked", |state| !state.leaves.is_empty()).await;
        assert_eq!(plane.state().leaves[0], 300_000);
        assert_eq!(plane.known(instance).state, InstanceState::Running);
        plane.set_goal(instance, Goal::Stop);
        plane.reaches(instance, InstanceState::Exited).await;
    };
    tokio::join!(host.stop(), emptied);
    assert_eq!(host.plane.known(instance).state, InstanceState::Exited);
}
