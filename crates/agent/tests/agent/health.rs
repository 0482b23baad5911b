//! Health checks: what is told of them, to whom, and what they hold up.

use ring_proto::agent::v1::question::{About, HealthHistory};
use ring_proto::agent::v1::{ProbeResult, answer};
use ring_runtime::{FakeCall, FakeExec, FakeScript, NativeHealth, NativeProbe, NativeVerdict};
use ring_types::{
    CheckAction, CheckKind, DeploymentSpec, Goal, Health, HealthCheck, InstanceId, InstanceState, Kind, NetworkMode, Span,
    Timestamp,
};

use crate::host::{Host, job};

/// A readiness check that asks the fake runtime.
fn command() -> HealthCheck {
    HealthCheck {
        kind: CheckKind::Command { command: "is it well".into() },
        interval: Span(100),
        timeout: Span::seconds(20),
        threshold: 2,
        on_failure: CheckAction::Restart,
        readiness: true,
        min_healthy_time: Span::ZERO,
        start_period: Span::ZERO,
    }
}

fn tcp(port: u16) -> HealthCheck {
    HealthCheck { kind: CheckKind::Tcp { port }, readiness: false, ..command() }
}

fn worker(health_checks: Vec<HealthCheck>) -> DeploymentSpec {
    DeploymentSpec { kind: Kind::Worker, network: NetworkMode::Host, health_checks, ..job() }
}

fn exits(code: i32) -> FakeScript {
    FakeScript { exec: FakeExec::Exits(code, format!("says {code}")), ..FakeScript::default() }
}

async fn started(spec: DeploymentSpec, script: FakeScript) -> Host {
    let mut host = Host::of(spec).await;
    host.runtime.script_default(script);
    host.start();
    host.plane.wait("the first session", |state| state.sessions > 0).await;
    host
}

/// What the node remembers of an instance's probes.
async fn history(host: &Host, stream: u64, instance: InstanceId, limit: u32) -> Vec<ProbeResult> {
    let answer = host.plane.ask(stream, instance, About::HealthHistory(HealthHistory { limit })).await;
    match answer.about {
        Some(answer::About::Probes(probes)) => probes.results,
        other => panic!("{other:?} {}", answer.error),
    }
}

fn calls(host: &Host, wanted: FakeCall) -> usize {
    host.runtime.calls().iter().filter(|call| **call == wanted).count()
}

fn executions(host: &Host, instance: InstanceId) -> usize {
    calls(host, FakeCall::Exec(instance))
}

/// Returns when a call was made so many more times.
async fn calls_more(host: &Host, wanted: FakeCall, more: usize) {
    let before = calls(host, wanted);
    let mut after = host.runtime.calls().len();
    while calls(host, wanted) < before + more {
        host.calls_after(after, |call| *call == wanted).await;
        after = host.runtime.calls().len();
    }
}

/// Returns when so many more commands were run in an instance.
async fn runs_more(host: &Host, instance: InstanceId, more: usize) {
    calls_more(host, FakeCall::Exec(instance), more).await;
}

fn fails(health: &Health) -> Vec<&str> {
    health.failing.iter().map(|failing| failing.message.as_str()).collect()
}

#[tokio::test]
async fn a_change_is_told_once_and_everything_else_is_asked_for() {
    let host = started(worker(vec![command()]), exits(0)).await;
    let instance = host.plane.assign(1);
    host.plane.healthy(instance, |health| health.ready).await;
    runs_more(&host, instance, 3).await;
    host.runtime.script_default(exits(3));
    host.plane.healthy(instance, |health| !health.ready && fails(health) == ["exit code 3"]).await;
    runs_more(&host, instance, 3).await;
    host.runtime.script_default(exits(0));
    host.plane.healthy(instance, |health| health.ready && health.failing.is_empty()).await;
    runs_more(&host, instance, 3).await;
    let told: Vec<_> = host.plane.health(instance).iter().map(|health| (health.ready, health.failing.len())).collect();
    assert_eq!(told, [(true, 0), (false, 1), (true, 0)], "ten probes and more, three changes");

    let all = history(&host, 1, instance, 0).await;
    assert!(all.len() >= 9, "{all:?}");
    assert!(all.iter().any(|probe| !probe.healthy && probe.message == "exit code 3: says 3"), "{all:?}");
    assert!(all.is_sorted_by_key(|probe| probe.at_ms));
    let last = history(&host, 2, instance, 2).await;
    assert_eq!((last.len(), last[1].check, last[1].healthy), (2, 0, true));
}

#[tokio::test]
async fn a_hanging_probe_delays_neither_another_check_nor_another_instance() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = started(worker(vec![command(), tcp(port)]), exits(0)).await;
    let (hangs, well) = (host.plane.assign(1), host.plane.assign(2));
    host.runtime.script(hangs, FakeScript { exec: FakeExec::Hangs, ..FakeScript::default() });
    host.plane.healthy(well, |health| health.ready).await;
    runs_more(&host, well, 3).await;
    for stream in 1.. {
        let seen = history(&host, stream, hangs, 0).await;
        assert!(seen.iter().all(|probe| probe.check == 1 && probe.healthy && probe.message == "connected"), "{seen:?}");
        if seen.len() >= 3 {
            break;
        }
        runs_more(&host, well, 1).await;
    }
    assert_eq!((executions(&host, hangs), host.plane.health(hangs)), (1, vec![]));
}

#[tokio::test]
async fn a_probe_that_takes_too_long_has_failed() {
    let check = HealthCheck { timeout: Span(30), ..command() };
    let host = started(worker(vec![check]), FakeScript { exec: FakeExec::Hangs, ..FakeScript::default() }).await;
    let instance = host.plane.assign(1);
    host.plane.healthy(instance, |health| fails(health) == ["no answer within 30ms"]).await;
}

#[tokio::test]
async fn a_runtime_that_hangs_on_one_instance_delays_no_other() {
    let host = started(worker(vec![command()]), exits(0)).await;
    let hangs = InstanceId(uuid::Uuid::from_u128(1));
    host.runtime.script(hangs, FakeScript { hold_inspect: true, ..exits(0) });
    assert_eq!(host.plane.assign(1), hangs);
    host.runtime.called(|call| *call == FakeCall::Inspect(hangs)).await;
    let well = host.plane.assign(2);
    host.plane.healthy(well, |health| health.ready).await;
    host.runtime.script(well, exits(3));
    host.plane.healthy(well, |health| !health.failing.is_empty()).await;
    host.plane.set_goal(well, Goal::Stop);
    host.plane.reaches(well, InstanceState::Exited).await;
    assert_eq!((executions(&host, hangs), host.plane.health(hangs)), (0, vec![]));
    host.runtime.release(hangs);
    host.plane.healthy(hangs, |health| health.ready).await;
}

#[tokio::test]
async fn a_runtime_that_does_not_answer_says_nothing_of_the_instance() {
    let check = HealthCheck { timeout: Span(50), threshold: 1, ..command() };
    let host = started(worker(vec![check]), exits(0)).await;
    let instance = host.plane.assign(1);
    host.plane.healthy(instance, |health| health.ready).await;
    host.runtime.script_default(FakeScript { exec: FakeExec::Unanswered, ..FakeScript::default() });
    runs_more(&host, instance, 4).await;
    host.runtime.set_problem(Some("daemon is down"));
    // It is asked about its own checks first.
    calls_more(&host, FakeCall::Health(instance), 4).await;
    let seen = history(&host, 1, instance, 0).await;
    for (message, late) in [("the docker runtime did not answer within 50ms", true), ("daemon is down", false)] {
        assert!(seen.iter().any(|probe| !probe.healthy && probe.message == message && probe.late == late), "{seen:?}");
    }
    host.runtime.set_problem(None);
    host.runtime.script_default(exits(0));
    runs_more(&host, instance, 3).await;
    assert_eq!(host.plane.health(instance), [Health { ready: true, failing: Vec::new() }]);
}

#[tokio::test]
async fn a_check_that_flickers_is_told_of_once_a_second_and_the_last_word_arrives() {
    let check = HealthCheck { threshold: 1, ..command() };
    let host = started(worker(vec![check]), exits(0)).await;
    let instance = host.plane.assign(1);
    let begun = std::time::Instant::now();
    for code in [0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 0, 3] {
        host.runtime.script_default(exits(code));
        runs_more(&host, instance, 1).await;
    }
    host.plane.healthy(instance, |health| fails(health) == ["exit code 3"]).await;
    let told = host.plane.health(instance).len() as u64;
    assert!(told <= begun.elapsed().as_secs() + 1, "{told} in {:?}", begun.elapsed());
}

#[tokio::test]
async fn probing_needs_no_control_plane_and_the_latest_is_told_in_the_next_session() {
    let host = started(worker(vec![command()]), exits(0)).await;
    let instance = host.plane.assign(1);
    host.plane.healthy(instance, |health| health.ready).await;
    host.plane.close();
    for code in [3, 0, 4] {
        host.runtime.script_default(exits(code));
        host.records(instance, |record| record.health.as_ref().is_some_and(|health| health.ready == (code == 0))).await;
    }
    host.plane.open();
    host.plane.healthy(instance, |health| fails(health) == ["exit code 4"]).await;
    let told: Vec<_> = host.plane.health(instance).iter().map(|health| health.ready).collect();
    assert_eq!(told, [true, false], "what was true for a while and nobody heard is not told late");
}

#[tokio::test]
async fn a_change_whose_report_was_lost_on_the_way_back_is_sent_again() {
    let host = started(worker(vec![command()]), exits(0)).await;
    let instance = host.plane.assign(1);
    host.plane.healthy(instance, |health| health.ready).await;
    host.plane.state().faults.lose_report_replies = 1;
    host.runtime.script_default(exits(3));
    host.plane.wait("another session", |state| state.sessions >= 2).await;
    host.runtime.script_default(exits(0));
    host.plane.healthy(instance, |health| health.ready).await;
    let health = host.plane.health(instance);
    assert!(health.iter().any(|health| !health.ready), "{health:?}");
}

#[tokio::test]
async fn readiness_does_not_flap_over_a_restart_of_the_agent() {
    let check = HealthCheck { threshold: 50, min_healthy_time: Span(300), ..command() };
    let mut host = started(worker(vec![check]), exits(0)).await;
    let instance = host.plane.assign(1);
    host.plane.healthy(instance, |health| health.ready).await;
    host.records(instance, |record| record.health.as_ref().is_some_and(|health| health.ready)).await;
    host.kill().await;
    host.runtime.script_default(exits(3));
    host.start();
    host.plane.wait("a session of the new run", |state| state.sessions >= 2).await;
    runs_more(&host, instance, 3).await;
    let seen = history(&host, 1, instance, 0).await;
    assert!(!seen.is_empty() && seen.iter().all(|probe| !probe.healthy), "the history began anew: {seen:?}");
    host.runtime.script_default(exits(0));
    runs_more(&host, instance, 3).await;
    assert!(host.plane.health(instance).iter().all(|health| health.ready), "{:?}", host.plane.health(instance));
    assert_eq!(host.runtime.starts(instance), 1);
}

#[tokio::test]
async fn a_change_that_the_run_before_could_not_tell_is_told_after_a_restart() {
    let mut host = started(worker(vec![command()]), exits(0)).await;
    let instance = host.plane.assign(1);
    host.plane.healthy(instance, |health| health.ready).await;
    host.plane.close();
    host.runtime.script_default(exits(3));
    host.records(instance, |record| record.health.as_ref().is_some_and(|health| !health.ready)).await;
    host.kill().await;
    // Nothing can be probed any more, so what is told is what the ledger has.
    host.runtime.script_default(FakeScript { exec: FakeExec::Hangs, ..FakeScript::default() });
    host.plane.open();
    host.start();
    host.plane.healthy(instance, |health| fails(health) == ["exit code 3"]).await;
}

#[tokio::test]
async fn probing_ends_when_the_instance_is_told_to_end() {
    let host = started(worker(vec![command()]), exits(0)).await;
    let (stopped, other) = (host.plane.assign(1), host.plane.assign(2));
    host.plane.healthy(stopped, |health| health.ready).await;
    host.plane.set_goal(stopped, Goal::Stop);
    host.plane.reaches(stopped, InstanceState::Exited).await;
    let before = executions(&host, stopped);
    runs_more(&host, other, 5).await;
    assert_eq!(executions(&host, stopped), before);
    assert!(!history(&host, 1, stopped, 0).await.is_empty(), "its history stays as long as it does");
}

#[tokio::test]
async fn an_instance_without_checks_says_nothing_of_its_health() {
    let host = started(worker(Vec::new()), exits(0)).await;
    let instance = host.plane.assign(1);
    host.records(instance, |record| record.reported == Some(InstanceState::Running)).await;
    assert_eq!((host.plane.health(instance), history(&host, 1, instance, 0).await), (vec![], vec![]));
    let unknown = InstanceId(uuid::Uuid::from_u128(404));
    let answer = host.plane.ask(2, unknown, About::HealthHistory(HealthHistory { limit: 0 })).await;
    assert!(answer.not_found, "{answer:?}");
}

#[tokio::test]
async fn the_runtimes_own_check_is_asked_and_no_command_is_run() {
    let probe = |at, code| NativeProbe { started_at: Timestamp(at), finished_at: Timestamp(at + 7), code, output: "said".into() };
    let native = |verdict, probes| FakeScript {
        exec: FakeExec::Exits(0, String::new()),
        health: Some(NativeHealth { verdict, probes }),
        ..FakeScript::default()
    };
    // A second one of the kind is not the runtime's: a container has one.
    let second = HealthCheck { kind: CheckKind::Command { command: "another".into() }, readiness: false, ..command() };
    let spec = worker(vec![command(), second]);
    let host = started(spec, native(NativeVerdict::Starting, Vec::new())).await;
    let instance = host.plane.assign(1);
    runs_more(&host, instance, 3).await;
    assert_eq!(host.plane.health(instance), []);
    host.runtime.script_default(native(NativeVerdict::Healthy, vec![probe(1_000, 0), probe(2_000, 0)]));
    host.plane.healthy(instance, |health| health.ready).await;
    runs_more(&host, instance, 3).await;
    host.runtime.script_default(native(NativeVerdict::Unhealthy, vec![probe(2_000, 0), probe(3_000, 9)]));
    host.plane.healthy(instance, |health| !health.ready && fails(health) == ["exit code 9"]).await;
    let seen = history(&host, 1, instance, 0).await;
    let of_runtime: Vec<_> = seen.iter().filter(|p| p.check == 0).map(|p| (p.at_ms, p.healthy, p.message.as_str())).collect();
    let (well, bad) = ("exit code 0: said", "exit code 9: said");
    assert_eq!(of_runtime, [(1_000, true, well), (2_000, true, well), (3_000, false, bad)], "each once");
}
