//! What instances use, asked for over the session.

use ring_proto::agent::v1::question::{About, Stats};
use ring_proto::agent::v1::{Answer, InstanceStats as Told, answer};
use ring_runtime::{FakeScript, InstanceStats};
use ring_types::{InstanceId, InstanceState, Memory, Timestamp};
use uuid::Uuid;

use crate::host::Host;

fn uses(at: i64, cpu_time_us: u64) -> FakeScript {
    let stats = InstanceStats { at: Timestamp(at), cpu_time_us, memory: Memory(1 << 20), ..InstanceStats::default() };
    FakeScript { stats: Some(stats), ..FakeScript::default() }
}

fn told(answer: Answer) -> Told {
    match answer.about {
        Some(answer::About::Stats(stats)) => stats,
        other => panic!("{other:?} {}", answer.error),
    }
}

#[tokio::test]
async fn the_rate_is_over_the_time_since_the_last_question() {
    let host = Host::connected().await;
    host.runtime.script_default(uses(10_000, 3_000_000));
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    let ask = |stream| host.plane.ask(stream, instance, About::Stats(Stats {}));
    let first = told(ask(1).await);
    assert_eq!((first.cpu_time_us, first.cpu_millis, first.memory_bytes), (3_000_000, 0, 1 << 20));
    assert_eq!((first.network_received, first.memory_limit_bytes), (None, None));
    host.runtime.script_default(uses(14_000, 9_000_000));
    let second = told(ask(2).await);
    assert_eq!((second.at_ms, second.cpu_millis), (14_000, 1_500));
}

#[tokio::test]
async fn what_cannot_be_measured_says_why() {
    let host = Host::connected().await;
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    let answer = host.plane.ask(1, instance, About::Stats(Stats {})).await;
    assert!(!answer.not_found && answer.error.contains("not told what it uses"), "{answer:?}");
    let unknown = InstanceId(Uuid::from_u128(404));
    assert!(host.plane.ask(2, unknown, About::Stats(Stats {})).await.not_found);
    host.runtime.set_problem(Some("daemon is down"));
    assert_eq!(host.plane.ask(3, instance, About::Stats(Stats {})).await.error, "daemon is down");
}
