//! The agent dies, its runtime and its ledger live on.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use ring_runtime::{FakeCall, FakeScript, Observed};
use ring_types::{InstanceState, Outcome, UnknownExit};

use crate::host::Host;

#[tokio::test]
async fn a_job_that_ends_while_the_agent_is_dead_keeps_its_code() {
    let mut host = Host::connected().await;
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    host.kill().await;
    host.runtime.finish(instance, Outcome::Code(7));
    host.start();
    host.plane.reaches(instance, InstanceState::Exited).await;
    assert_eq!(host.plane.known(instance).outcome, Some(Outcome::Code(7)));
    assert_eq!(host.runtime.starts(instance), 1);
}

#[tokio::test]
async fn an_end_that_nobody_could_be_told_is_told_after_a_restart() {
    let mut host = Host::connected().await;
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    host.plane.close();
    host.runtime.finish(instance, Outcome::Code(7));
    // The container itself may go once the ledger has its end.
    host.records(instance, |record| record.phase == ring_agent::Phase::Exited).await;
    host.kill().await;
    host.runtime.vanish(instance);
    host.plane.open();
    host.start();
    host.plane.reaches(instance, InstanceState::Exited).await;
    assert_eq!(host.plane.known(instance).outcome, Some(Outcome::Code(7)));
}

#[tokio::test]
async fn what_runs_is_adopted_after_a_restart_without_any_control_plane() {
    let mut host = Host::connected().await;
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    host.stop().await;
    assert!(matches!(host.runtime.observed(instance), Observed::Running { .. }), "ending the agent ended the work");
    host.plane.close();
    let before = host.runtime.calls().len();
    host.start();
    let inspected = |call: &FakeCall| *call == FakeCall::Inspect(instance);
    host.calls_after(before, inspected).await;
    host.plane.open();
    host.plane.wait("a session of the new run", |state| state.sessions >= 2).await;
    let next = host.plane.assign(2);
    host.plane.reaches(next, InstanceState::Running).await;
    assert!(matches!(host.runtime.observed(instance), Observed::Running { .. }));
    assert_eq!(host.runtime.starts(instance), 1);
    assert!(!host.runtime.calls().iter().any(|call| matches!(call, FakeCall::Stop(..) | FakeCall::Remove(_))));
}

#[tokio::test]
async fn what_the_cluster_forgot_meanwhile_is_cleared_away() {
    let mut host = Host::connected().await;
    let (gone, kept) = (host.plane.assign(1), host.plane.assign(2));
    host.plane.reaches(gone, InstanceState::Running).await;
    host.plane.reaches(kept, InstanceState::Running).await;
    host.kill().await;
    host.plane.forget(gone);
    host.start();
    host.forgets(gone).await;
    assert_eq!(host.runtime.observed(gone), Observed::Absent);
    assert!(matches!(host.runtime.observed(kept), Observed::Running { .. }));
}

#[tokio::test]
async fn a_state_from_before_the_assignment_takes_nothing_away() {
    let mut host = Host::connected().await;
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    host.kill().await;
    host.plane.state().faults.stale_complete_set = true;
    host.start();
    host.plane.wait("a session with the stale set", |state| state.sessions >= 2).await;
    let next = host.plane.assign(2);
    host.plane.reaches(next, InstanceState::Running).await;
    assert!(matches!(host.runtime.observed(instance), Observed::Running { .. }));
    host.runtime.finish(instance, Outcome::Code(0));
    host.plane.reaches(instance, InstanceState::Exited).await;
}

#[tokio::test]
async fn a_wiped_ledger_leads_to_adoption_or_to_not_knowing() {
    let mut host = Host::connected().await;
    let (adopted, lost) = (host.plane.assign(1), host.plane.assign(2));
    host.plane.reaches(adopted, InstanceState::Running).await;
    host.plane.reaches(lost, InstanceState::Running).await;
    host.kill().await;
    std::fs::remove_file(host.dir.path().join("ledger")).unwrap();
    host.runtime.vanish(lost);
    host.start();
    host.plane.reaches(lost, InstanceState::Exited).await;
    assert_eq!(host.plane.known(lost).outcome, Some(Outcome::Unknown(UnknownExit::LedgerLost)));
    host.runtime.finish(adopted, Outcome::Code(5));
    host.plane.reaches(adopted, InstanceState::Exited).await;
    assert_eq!(host.plane.known(adopted).outcome, Some(Outcome::Code(5)));
    assert_eq!((host.runtime.starts(adopted), host.runtime.starts(lost)), (1, 1));
}

#[tokio::test]
async fn killed_while_it_prepares_or_starts_it_starts_once() {
    for hold_prepare in [true, false] {
        let mut host = Host::connected().await;
        host.runtime.script_default(FakeScript { hold_prepare, hold_start: !hold_prepare, ..FakeScript::default() });
        let instance = host.plane.assign(1);
        let held = if hold_prepare { FakeCall::Prepare(instance) } else { FakeCall::Start(instance) };
        host.runtime.called(|call| *call == held).await;
        host.kill().await;
        host.runtime.release(instance);
        host.start();
        host.plane.reaches(instance, InstanceState::Running).await;
        assert_eq!(host.runtime.starts(instance), 1);
    }
}

/// Kills at moments chosen by chance, with lost claims and reports in between. The seed is in the message of a failure.
#[tokio::test]
async fn killed_at_any_moment_every_job_starts_once_and_ends_with_its_code() {
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut host = Host::connected().await;
        let instances: Vec<_> = (1..=8).map(|number| host.plane.assign(number)).collect();
        for _ in 0..15 {
            {
                let mut state = host.plane.state();
                state.faults.lose_claim_replies = random.random_range(0..2);
                state.faults.lose_report_replies = random.random_range(0..2);
            }
            // Not a wait for anything: the moment of the kill.
            tokio::time::sleep(Duration::from_micros(random.random_range(0..15_000))).await;
            host.kill().await;
            let instance = instances[random.random_range(0..instances.len())];
            host.runtime.finish(instance, Outcome::Code(7));
            host.start();
        }
        for instance in instances {
            host.runtime.started(instance).await;
            host.runtime.finish(instance, Outcome::Code(7));
            host.plane.reaches(instance, InstanceState::Exited).await;
            assert_eq!(host.plane.known(instance).outcome, Some(Outcome::Code(7)), "seed {seed}");
            assert_eq!(host.runtime.starts(instance), 1, "seed {seed}");
        }
    }
}
