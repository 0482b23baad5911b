//! Tests of the scripted runtime.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use ring_types::{DeploymentSpec, Generation, Kind, Name};

use super::*;
use crate::{FakeScript, LogSource};

static ONE: LazyLock<InstanceId> = LazyLock::new(|| "00000000-0000-0000-0000-000000000001".parse().unwrap());

fn workload() -> Workload {
    let name = |text| Name::new(text).unwrap();
    let spec = DeploymentSpec::new(name("ns"), name("job"), Kind::Job, RuntimeKind::Docker, "busybox");
    Workload {
        instance: *ONE,
        deployment: "00000000-0000-0000-0000-000000000002".parse().unwrap(),
        generation: Generation(1),
        spec: Arc::new(spec),
        environment: BTreeMap::new(),
        files: Vec::new(),
        registry: None,
    }
}

fn broken(text: &str) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Unavailable, text)
}

#[tokio::test]
async fn an_instance_is_executed_once_whatever_is_asked() {
    let runtime = FakeRuntime::new(RuntimeKind::Docker);
    runtime.prepare(&workload()).await.unwrap();
    runtime.start(*ONE).await.unwrap();
    runtime.clone().start(*ONE).await.unwrap();
    assert!(runtime.finish(*ONE, Outcome::Code(7)));
    runtime.prepare(&workload()).await.unwrap();
    runtime.start(*ONE).await.unwrap();
    assert_eq!(runtime.starts(*ONE), 1);
    assert!(matches!(runtime.inspect(*ONE).await.unwrap(), Observed::Exited { outcome: Outcome::Code(7), .. }));
}

#[tokio::test]
async fn a_lost_reply_still_ran() {
    let runtime = FakeRuntime::new(RuntimeKind::Docker);
    runtime.script(*ONE, FakeScript { start: FakeStart::RunsReplyLost(broken("gone")), ..FakeScript::default() });
    runtime.prepare(&workload()).await.unwrap();
    assert!(runtime.start(*ONE).await.is_err());
    assert_eq!(runtime.starts(*ONE), 1);
    runtime.start(*ONE).await.unwrap();
    assert_eq!(runtime.starts(*ONE), 1);
}

#[tokio::test]
async fn preparing_waits_to_be_released_and_fails_as_scripted() {
    let runtime = FakeRuntime::new(RuntimeKind::Docker);
    let script = FakeScript { hold_prepare: true, prepare_errors: vec![broken("later")], ..FakeScript::default() };
    runtime.script(*ONE, script);
    let held = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.prepare(&workload()).await }
    });
    runtime.called(|call| *call == FakeCall::Prepare(*ONE)).await;
    assert_eq!(runtime.observed(*ONE), Observed::Absent);
    runtime.release(*ONE);
    assert_eq!(held.await.unwrap().unwrap_err().message, "later");
    runtime.prepare(&workload()).await.unwrap();
    assert_eq!(runtime.observed(*ONE), Observed::Created);
}

#[tokio::test]
async fn a_problem_fails_every_verb_and_leaves_what_runs() {
    let runtime = FakeRuntime::new(RuntimeKind::Docker);
    runtime.prepare(&workload()).await.unwrap();
    runtime.start(*ONE).await.unwrap();
    runtime.set_problem(Some("daemon down"));
    assert_eq!(runtime.probe().await.problem.as_deref(), Some("daemon down"));
    assert_eq!(runtime.inspect(*ONE).await.unwrap_err().kind, RuntimeErrorKind::Unavailable);
    runtime.set_problem(None);
    assert!(matches!(runtime.inspect(*ONE).await.unwrap(), Observed::Running { .. }));
}

#[tokio::test]
async fn stopping_kills_what_ignores_the_signal() {
    let runtime = FakeRuntime::new(RuntimeKind::Docker);
    runtime.script(*ONE, FakeScript { ignores_term: true, ..FakeScript::default() });
    runtime.prepare(&workload()).await.unwrap();
    runtime.start(*ONE).await.unwrap();
    assert!(runtime.remove(*ONE).await.is_err());
    runtime.stop(*ONE, Span(20)).await.unwrap();
    let killed = Outcome::Signal { signal: 9, oom_killed: false };
    assert!(matches!(runtime.observed(*ONE), Observed::Exited { outcome, .. } if outcome == killed));
    runtime.remove(*ONE).await.unwrap();
    assert_eq!(runtime.observed(*ONE), Observed::Absent);
}

#[tokio::test]
async fn followed_output_ends_with_the_instance_and_hints_tell_of_it() {
    let runtime = FakeRuntime::new(RuntimeKind::Docker);
    let mut hints = runtime.hints();
    assert_eq!(hints.next().await, Some(Hint::Everything));
    runtime.prepare(&workload()).await.unwrap();
    runtime.start(*ONE).await.unwrap();
    assert_eq!(hints.next().await, Some(Hint::Instance(*ONE)));
    runtime.print(*ONE, LogSource::Stdout, "first");
    runtime.print(*ONE, LogSource::Stderr, "second");
    let request = LogRequest { tail: Some(1), since: None, follow: true };
    let mut lines = runtime.logs(*ONE, request).await.unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().line, "second");
    runtime.print(*ONE, LogSource::Stdout, "third");
    runtime.finish(*ONE, Outcome::Code(0));
    assert_eq!(lines.next().await.unwrap().unwrap().line, "third");
    assert!(lines.next().await.is_none());
}
