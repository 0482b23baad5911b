//! Commands in instances, over the session.

use ring_proto::agent::v1::control_message::Message;
use ring_proto::agent::v1::exec_input::Event as Input;
use ring_proto::agent::v1::exec_output::Event as Output;
use ring_proto::agent::v1::{ExecInput, ExecStart, LogCredit, StreamCancel, StreamEnd, TerminalSize};
use ring_runtime::{FakeCall, FakeExec, FakeScript};
use ring_types::{InstanceId, InstanceState};
use uuid::Uuid;

use crate::host::Host;

/// A host with an instance whose commands do this.
async fn running(does: FakeExec) -> (Host, InstanceId) {
    let host = Host::connected().await;
    host.runtime.script_default(FakeScript { exec: does, ..FakeScript::default() });
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    (host, instance)
}

fn start(instance: InstanceId, stream: u64) -> Message {
    started_with(instance, stream, 0)
}

fn started_with(instance: InstanceId, stream: u64, window: u32) -> Message {
    let command = vec!["it".to_owned()];
    let (instance_id, terminal) = (instance.to_string(), Some(TerminalSize { rows: 24, columns: 80 }));
    Message::ExecStart(ExecStart { stream, instance_id, command, stdin: true, terminal, window })
}

fn input(stream: u64, event: Input) -> Message {
    Message::ExecInput(ExecInput { stream, event: Some(event) })
}

fn events(host: &Host, stream: u64) -> Vec<Output> {
    host.plane.state().exec_events.get(&stream).cloned().unwrap_or_default()
}

/// Everything a command wrote so far.
fn written(host: &Host, stream: u64) -> Vec<u8> {
    let bytes = |event: &Output| match event {
        Output::Stdout(bytes) => bytes.clone(),
        _ => Vec::new(),
    };
    events(host, stream).iter().flat_map(bytes).collect()
}

async fn end(host: &Host, stream: u64) -> StreamEnd {
    host.plane.wait("the end of a command", |state| state.log_ends.iter().any(|end| end.stream == stream)).await;
    host.plane.state().log_ends.iter().find(|end| end.stream == stream).unwrap().clone()
}

#[tokio::test]
async fn it_begins_writes_and_exits_in_this_order() {
    let (host, instance) = running(FakeExec::Exits(3, "said".to_owned())).await;
    host.plane.push(start(instance, 1));
    assert_eq!(end(&host, 1).await.error, "");
    let all = events(&host, 1);
    assert!(
        matches!(all.as_slice(), [Output::Started(_), Output::Stdout(said), Output::ExitCode(3)] if said == b"said"),
        "{all:?}"
    );
}

#[tokio::test]
async fn input_goes_in_is_told_as_taken_and_ends() {
    let (host, instance) = running(FakeExec::Echoes).await;
    host.plane.push(start(instance, 1));
    for word in ["one ", "two "] {
        host.plane.push(input(1, Input::Data(word.into())));
    }
    host.plane
        .wait("both words", |state| {
            state.exec_events.get(&1).is_some_and(|all| all.iter().filter(|e| matches!(e, Output::InputTaken(1))).count() == 2)
        })
        .await;
    host.plane.push(input(1, Input::Resize(TerminalSize { rows: 5, columns: 7 })));
    host.plane
        .wait("the new size", |state| {
            state.exec_events.get(&1).is_some_and(|all| all.iter().any(|e| matches!(e, Output::Stdout(b) if b == b"5 7\n")))
        })
        .await;
    host.plane.push(input(1, Input::Close(true)));
    assert_eq!(end(&host, 1).await.error, "");
    assert_eq!(written(&host, 1), b"one two 5 7\n");
    assert_eq!(events(&host, 1).last(), Some(&Output::ExitCode(0)));
}

#[tokio::test]
async fn output_waits_for_its_reader_and_comes_whole() {
    let bytes = 1_000_000;
    let (host, instance) = running(FakeExec::Writes(bytes)).await;
    host.plane.push(started_with(instance, 1, 2));
    let outputs = |all: &Vec<Output>| all.iter().filter(|event| matches!(event, Output::Stdout(_))).count();
    host.plane.wait("as much as its window lets through", |state| state.exec_events.get(&1).map(outputs) == Some(2)).await;
    let beats = host.plane.state().heartbeats;
    host.plane.wait("heartbeats beside it", |state| state.heartbeats >= beats + 5).await;
    assert_eq!(outputs(&events(&host, 1)), 2, "more than its reader asked for");
    host.plane.push(Message::LogCredit(LogCredit { stream: 1, messages: 1_000_000 }));
    end(&host, 1).await;
    let written = written(&host, 1);
    let expected: Vec<u8> = (0..bytes).map(|at| b'0' + (at % 10) as u8).collect();
    assert!(written == expected, "{} bytes came, not {bytes}, or not the same", written.len());
}

#[tokio::test]
async fn who_sends_more_than_it_was_let_loses_the_command() {
    let (host, instance) = running(FakeExec::Hangs).await;
    host.plane.push(start(instance, 1));
    host.plane.wait("the begin", |state| state.exec_events.contains_key(&1)).await;
    // One is with the command, which does not read, and there is room for the window and the end of the input.
    for _ in 0..35 {
        host.plane.push(input(1, Input::Data(vec![b'x'; 1000])));
    }
    assert!(end(&host, 1).await.error.contains("more input than it was ready for"));
    host.runtime.called(|call| *call == FakeCall::ExecDropped(instance)).await;
    host.plane.push(start(instance, 2));
    host.plane.push(input(2, Input::Data(vec![b'x'; 100_000])));
    assert!(end(&host, 2).await.error.contains("more input"), "a message that is too long");
    assert_eq!(host.plane.state().sessions, 1, "the session goes on");
}

#[tokio::test]
async fn a_command_ends_when_nobody_listens_and_with_the_session() {
    let (host, instance) = running(FakeExec::Hangs).await;
    let dropped = |host: &Host| host.runtime.calls().iter().filter(|call| **call == FakeCall::ExecDropped(instance)).count();
    host.plane.push(start(instance, 1));
    host.plane.wait("the begin", |state| state.exec_events.contains_key(&1)).await;
    host.plane.push(Message::StreamCancel(StreamCancel { stream: 1 }));
    host.runtime.called(|call| *call == FakeCall::ExecDropped(instance)).await;
    host.plane.push(start(instance, 2));
    host.plane.wait("another begin", |state| state.exec_events.contains_key(&2)).await;
    let before = host.runtime.calls().len();
    assert_eq!(dropped(&host), 1);
    host.plane.cut();
    host.calls_after(before, |call| *call == FakeCall::ExecDropped(instance)).await;
    host.plane.wait("another session", |state| state.sessions == 2).await;
    assert_eq!(host.runtime.starts(instance), 1, "its instance goes on");
}

#[tokio::test]
async fn what_cannot_begin_says_why_and_places_are_limited() {
    let (host, instance) = running(FakeExec::Unsupported).await;
    host.plane.push(start(instance, 1));
    let refused = end(&host, 1).await;
    assert!(!refused.not_found && refused.error.contains("was not told what commands do"), "{refused:?}");
    host.plane.push(start(InstanceId(Uuid::from_u128(404)), 2));
    assert!(end(&host, 2).await.not_found);
    host.runtime.script_default(FakeScript { exec: FakeExec::Hangs, ..FakeScript::default() });
    for stream in 10..43 {
        host.plane.push(start(instance, stream));
    }
    assert!(end(&host, 42).await.error.contains("32 commands"));
    host.plane.push(Message::StreamCancel(StreamCancel { stream: 10 }));
    host.plane.push(start(instance, 50));
    host.plane.wait("a command in its place", |state| state.exec_events.contains_key(&50)).await;
}
