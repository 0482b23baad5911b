//! Output over the session.

use ring_proto::agent::v1::{LogCredit, LogStart, StreamCancel, control_message::Message};
use ring_runtime::LogSource;
use ring_types::{InstanceId, InstanceState, Outcome};
use uuid::Uuid;

use crate::host::Host;

fn texts(host: &Host, stream: u64) -> Vec<String> {
    let lines = host.plane.state().log_lines.get(&stream).cloned().unwrap_or_default();
    lines.iter().map(|line| String::from_utf8_lossy(&line.line).into_owned()).collect()
}

fn start(instance: InstanceId, stream: u64) -> LogStart {
    LogStart { stream, instance_id: instance.to_string(), tail: None, since_ms: None, follow: false, window: 0 }
}

async fn running(host: &Host) -> InstanceId {
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    instance
}

#[tokio::test]
async fn the_tail_is_given_and_the_stream_ends() {
    let host = Host::connected().await;
    let instance = running(&host).await;
    for text in ["one", "two", "three"] {
        host.runtime.print(instance, LogSource::Stderr, text);
    }
    host.plane.push(Message::LogStart(LogStart { tail: Some(2), ..start(instance, 1) }));
    host.plane.wait("the end of the stream", |state| !state.log_ends.is_empty()).await;
    assert_eq!(texts(&host, 1), ["two", "three"]);
    assert!(host.plane.state().log_lines[&1][0].stderr);
    assert_eq!(host.plane.state().log_ends[0].error, "");
}

#[tokio::test]
async fn following_goes_on_until_the_instance_has_ended() {
    let host = Host::connected().await;
    let instance = running(&host).await;
    host.plane.push(Message::LogStart(LogStart { follow: true, ..start(instance, 1) }));
    host.runtime.print(instance, LogSource::Stdout, "first");
    host.plane.wait("the first line", |state| state.log_lines.get(&1).is_some_and(|lines| lines.len() == 1)).await;
    host.runtime.print(instance, LogSource::Stdout, "second");
    host.runtime.finish(instance, Outcome::Code(0));
    host.plane.wait("the end of the stream", |state| !state.log_ends.is_empty()).await;
    assert_eq!(texts(&host, 1), ["first", "second"]);
}

#[tokio::test]
async fn a_slow_reader_holds_up_nothing_else() {
    let host = Host::connected().await;
    let instance = running(&host).await;
    for number in 0..1000 {
        host.runtime.print(instance, LogSource::Stdout, &number.to_string());
    }
    host.plane.push(Message::LogStart(LogStart { window: 2, ..start(instance, 1) }));
    host.plane.wait("as much as the window lets through", |state| state.log_messages.get(&1) == Some(&2)).await;
    let beats = host.plane.state().heartbeats;
    host.plane.wait("heartbeats beside it", |state| state.heartbeats >= beats + 5).await;
    let other = host.plane.assign(2);
    host.plane.reaches(other, InstanceState::Running).await;
    assert_eq!(host.plane.state().log_messages[&1], 2, "more than its reader asked for");
    host.plane.push(Message::LogCredit(LogCredit { stream: 1, messages: 1000 }));
    host.plane.wait("the rest", |state| !state.log_ends.is_empty()).await;
    let expected: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(texts(&host, 1), expected);
    assert_eq!(host.plane.state().sessions, 1);
}

#[tokio::test]
async fn a_cancelled_stream_makes_room_and_an_unknown_instance_is_said() {
    let host = Host::connected().await;
    let instance = running(&host).await;
    for stream in 1..=64 {
        host.plane.push(Message::LogStart(LogStart { follow: true, ..start(instance, stream) }));
    }
    host.plane.push(Message::LogStart(start(instance, 65)));
    host.plane.wait("a refusal", |state| state.log_ends.iter().any(|end| end.stream == 65 && !end.error.is_empty())).await;
    host.plane.push(Message::StreamCancel(StreamCancel { stream: 1 }));
    host.plane.push(Message::LogStart(start(instance, 66)));
    host.plane
        .wait("a stream in its place", |state| state.log_ends.iter().any(|end| end.stream == 66 && end.error.is_empty()))
        .await;
    host.plane.push(Message::LogStart(start(InstanceId(Uuid::from_u128(404)), 67)));
    host.plane.wait("not found", |state| state.log_ends.iter().any(|end| end.stream == 67 && end.not_found)).await;
}
