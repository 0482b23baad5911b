//! Claims and assignments that get lost, come twice, come late.

use ring_agent::Phase;
use ring_types::{Goal, InstanceState, Outcome, StartFailure};

use crate::host::Host;
use crate::plane::Known;

#[tokio::test]
async fn a_claim_whose_answer_is_lost_is_asked_again_and_starts_once() {
    let host = Host::connected().await;
    host.plane.state().faults.lose_claim_replies = 3;
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    assert_eq!(host.runtime.starts(instance), 1);
    assert!(host.plane.state().claims_asked >= 4);
}

#[tokio::test]
async fn a_claim_that_was_not_decided_is_asked_again_in_the_same_session() {
    let host = Host::connected().await;
    host.plane.state().faults.undecided_claims = 1;
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    assert_eq!(host.plane.state().sessions, 1);
}

#[tokio::test]
async fn claims_that_cannot_be_decided_are_not_asked_in_a_hurry() {
    let host = Host::connected().await;
    host.plane.state().faults.undecided_claims = u32::MAX;
    host.plane.assign(1);
    host.plane.wait("the first claim", |state| state.claims_asked > 0).await;
    let beats = host.plane.state().heartbeats;
    host.plane.wait("a quarter of a second by heartbeats", |state| state.heartbeats >= beats + 5).await;
    assert!(host.plane.state().claims_asked <= 2, "{} claims", host.plane.state().claims_asked);
}

#[tokio::test]
async fn a_lost_answer_to_a_report_costs_a_repetition_and_no_truth() {
    let host = Host::connected().await;
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    host.plane.state().faults.lose_report_replies = 2;
    host.runtime.finish(instance, Outcome::Code(7));
    host.plane.wait("three sessions", |state| state.sessions >= 3).await;
    let ends =
        |reports: &[ring_state::InstanceReport]| reports.iter().filter(|report| report.state == InstanceState::Exited).count();
    host.plane.wait("the end, again", |state| ends(&state.reports) >= 2).await;
    assert_eq!(host.plane.known(instance).outcome, Some(Outcome::Code(7)));
}

#[tokio::test]
async fn assignments_that_come_again_and_again_start_once() {
    let host = Host::connected().await;
    let instance = host.plane.assign(1);
    for _ in 0..50 {
        host.plane.tell(instance);
    }
    host.plane.reaches(instance, InstanceState::Running).await;
    for _ in 0..50 {
        host.plane.tell(instance);
    }
    let next = host.plane.assign(2);
    host.plane.reaches(next, InstanceState::Running).await;
    assert_eq!(host.runtime.starts(instance), 1);
}

#[tokio::test]
async fn an_older_generation_and_a_changed_one_are_refused() {
    let host = Host::connected().await;
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    let known = host.plane.known(instance);
    let older = Known { generation: 0, goal: Goal::Remove, ..known.clone() };
    let changed = Known { goal: Goal::Remove, ..known };
    for lie in [older, changed] {
        host.plane.push_assignment(host.plane.assignment(instance, &lie));
    }
    let next = host.plane.assign(2);
    host.plane.reaches(next, InstanceState::Running).await;
    assert_eq!(host.plane.known(instance).state, InstanceState::Running);
    assert_eq!(host.ledger()[&instance].phase, Phase::Started);
}

#[tokio::test]
async fn a_new_epoch_makes_the_agent_claim_again() {
    let host = Host::connected().await;
    host.runtime.script_default(ring_runtime::FakeScript { hold_prepare: true, ..Default::default() });
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Claimed).await;
    host.plane.lose_node();
    let epoch = host.plane.state().epoch;
    host.plane.wait("a claim in the new epoch", |state| state.instances[&instance].claimed_in == Some(epoch)).await;
    host.runtime.release(instance);
    host.plane.reaches(instance, InstanceState::Running).await;
    assert_eq!(host.runtime.starts(instance), 1);
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_is_a_config_error_and_none_is_on_disk() {
    let mut host = Host::connected().await;
    let running = host.plane.assign(1);
    host.plane.reaches(running, InstanceState::Running).await;
    host.plane.state().faults.config_error = "secret 'db' not found".into();
    let instance = host.plane.assign(2);
    host.plane.reaches(instance, InstanceState::Exited).await;
    let outcome = host.plane.known(instance).outcome;
    assert!(matches!(outcome, Some(Outcome::NotStarted { cause: StartFailure::Config, .. })), "{outcome:?}");
    host.kill().await;
    for file in std::fs::read_dir(host.dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("sesame"), "a secret on disk");
    }
}

#[tokio::test]
async fn stopped_before_it_was_claimed_it_never_starts() {
    let mut host = Host::new().await;
    let instance = host.plane.assign(1);
    host.plane.set_goal(instance, Goal::Stop);
    host.start();
    host.plane.reaches(instance, InstanceState::Exited).await;
    let outcome = host.plane.known(instance).outcome;
    assert!(matches!(outcome, Some(Outcome::NotStarted { cause: StartFailure::Cancelled, .. })), "{outcome:?}");
    assert_eq!((host.runtime.starts(instance), host.plane.state().claims_asked), (0, 0));
}
