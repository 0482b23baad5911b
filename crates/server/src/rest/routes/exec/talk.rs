//! One command and the client that listens to it: messages of the WebSocket on one side, of the agent's session on the other.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use ring_api::errors::ErrorCode;
use ring_api::exec::{Control, Frame, Started};
use ring_proto::agent::v1::TerminalSize;
use ring_proto::agent::v1::exec_input::Event as Input;
use ring_proto::agent::v1::exec_output::Event as Output;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Still;
use crate::rest::error::ApiError;
use crate::services::Pulse;
use crate::session::{AskError, ExecEvents, ExecFeed, RunningExec};

/// Between two pings.
const PING: Duration = Duration::from_secs(5);
/// A client that says nothing for so long, not even that it was pinged, is gone.
const GONE: Duration = Duration::from_secs(15);
/// Longest wait for the last words to be taken, and for the client's goodbye.
const GOODBYE: Duration = Duration::from_secs(3);
/// Messages of output passed on before the agent is told, for a client that does not count them.
const CREDIT: u32 = 8;

/// A command that has begun, and what it stands on.
pub(super) struct Talk {
    pub(super) running: RunningExec,
    pub(super) still: Still,
    pub(super) pulse: Pulse,
    pub(super) stop: CancellationToken,
    /// Messages of output the client takes before it has said that it took any; None: it does not count them.
    pub(super) takes: Option<u32>,
}

/// How it ends.
enum End {
    /// With these last words.
    Said(Control),
    /// Nobody is there to be told.
    Gone,
}

impl From<ApiError> for End {
    fn from(error: ApiError) -> Self {
        Self::Said(Control::Error(error.into_problem()))
    }
}

/// What both directions count.
struct Counts {
    /// Messages of input the client may send.
    input: AtomicU32,
    /// Messages of output the client has not said that it took.
    output: AtomicU32,
}

impl Talk {
    /// Passes on what comes from either side until one ends; then the command is ended, if it has not.
    pub(super) async fn run(self, socket: WebSocket, started: Started) {
        let Self { running: RunningExec { events, input, input_window }, still, pulse, stop, takes } = self;
        let counts = Counts { input: AtomicU32::new(input_window), output: AtomicU32::new(0) };
        let (mut sink, mut stream) = socket.split();
        let end = tokio::select! {
            // In this order the reason is told, not what follows from it.
            biased;
            () = stop.cancelled() => ApiError::new(ErrorCode::ServerStopping, "this control node is stopping").into(),
            error = still.ends() => error.into(),
            () = pulse.until_isolated() => {
                ApiError::new(ErrorCode::NoLeader, "this control node has no contact with a leader any more").into()
            }
            end = speak(&mut sink, events, &input, &counts, (started, takes.is_some())) => end,
            end = listen(&mut stream, &input, &counts, takes.is_some()) => end,
        };
        // Nobody listens any more: its agent is told to end it.
        drop(input);
        if let End::Said(last) = end {
            let _ = timeout(GOODBYE, part(sink, stream, last)).await;
        }
    }
}

/// Says the last words and waits until the client has hung up: a connection closed with something of the client's in it that was not
/// read may take the last words with it.
async fn part(mut sink: SplitSink<WebSocket, Message>, mut stream: SplitStream<WebSocket>, last: Control) {
    let code = if matches!(last, Control::ExitCode(_)) { close_code::NORMAL } else { close_code::ERROR };
    let goodbye = Message::Close(Some(CloseFrame { code, reason: "".into() }));
    if sink.send(binary(Frame::Control(last))).await.is_ok() && sink.send(goodbye).await.is_ok() {
        while let Some(Ok(_)) = stream.next().await {}
    }
}

fn binary(frame: Frame) -> Message {
    Message::Binary(frame.encode())
}

/// Passes on what comes from the command.
async fn speak(
    sink: &mut SplitSink<WebSocket, Message>,
    mut events: ExecEvents,
    input: &ExecFeed,
    counts: &Counts,
    (started, counted): (Started, bool),
) -> End {
    let mut pings = interval(PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut message, mut passed_on) = (binary(Frame::Control(Control::Started(started))), 0);
    loop {
        let output = matches!(&message, Message::Binary(bytes) if matches!(bytes.first(), Some(1 | 2)));
        if sink.send(message).await.is_err() {
            return End::Gone;
        }
        passed_on += u32::from(output && !counted);
        if passed_on >= CREDIT
            && let Err(error) = input.took(std::mem::take(&mut passed_on)).await
        {
            return broken(error);
        }
        let next = tokio::select! {
            event = events.next() => coming(event, counts),
            _ = pings.tick() => Ok(Message::Ping("".into())),
        };
        message = match next {
            Ok(message) => message,
            Err(end) => return end,
        };
    }
}

fn coming(event: Option<Result<Output, AskError>>, counts: &Counts) -> Result<Message, End> {
    let untold = || AskError::Interrupted("its node did not say how it ended".to_owned());
    said(event.unwrap_or_else(|| Err(untold())).map_err(broken)?, counts)
}

/// The message for an event; an exit code is the end.
fn said(event: Output, counts: &Counts) -> Result<Message, End> {
    let output = |frame| {
        counts.output.fetch_add(1, Ordering::Relaxed);
        Ok(binary(frame))
    };
    match event {
        Output::Stdout(bytes) => output(Frame::Stdout(bytes.into())),
        Output::Stderr(bytes) => output(Frame::Stderr(bytes.into())),
        Output::InputTaken(messages) => {
            counts.input.fetch_add(messages, Ordering::Relaxed);
            Ok(binary(Frame::Control(Control::Taken(messages))))
        }
        Output::ExitCode(code) => Err(End::Said(Control::ExitCode(code))),
        Output::Started(_) => Err(broken(AskError::Refused("its agent said twice that it has begun".to_owned()))),
    }
}

/// Passes on what comes from the client, until it is gone.
async fn listen(stream: &mut SplitStream<WebSocket>, input: &ExecFeed, counts: &Counts, counted: bool) -> End {
    loop {
        let Ok(Some(Ok(message))) = timeout(GONE, stream.next()).await else { return End::Gone };
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Close(_) => return End::Gone,
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Text(_) => return protocol("a message that is not binary"),
        };
        let heard = match Frame::decode(bytes) {
            Ok(frame) => hear(frame, input, counts, counted).await,
            Err(error) => Err(protocol(&error.to_string())),
        };
        if let Err(end) = heard {
            return end;
        }
    }
}

async fn hear(frame: Frame, input: &ExecFeed, counts: &Counts, counted: bool) -> Result<(), End> {
    let given = match frame {
        Frame::Stdin(bytes) => {
            take(&counts.input, 1).ok_or_else(|| protocol("more input than the command has said it takes"))?;
            input.give(Input::Data(bytes.into())).await
        }
        Frame::Control(Control::Resize(size)) => {
            let size = TerminalSize { rows: size.rows.into(), columns: size.columns.into() };
            input.give(Input::Resize(size)).await
        }
        Frame::Control(Control::Close(true)) => input.give(Input::Close(true)).await,
        Frame::Control(Control::Close(false)) => Ok(()),
        Frame::Control(Control::Taken(messages)) if counted => {
            take(&counts.output, messages).ok_or_else(|| protocol("more output taken than was sent"))?;
            input.took(messages).await
        }
        _ => return Err(protocol("a message that only a server sends, or a count without a window")),
    };
    given.map_err(broken)
}

/// Takes so many off; None when there are not so many.
fn take(from: &AtomicU32, messages: u32) -> Option<u32> {
    from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(messages)).ok()
}

fn protocol(what: &str) -> End {
    ApiError::new(ErrorCode::ExecProtocol, format!("the client sent {what}")).into()
}

/// The way to the command is gone, or its node has nothing more to say of it.
fn broken(error: AskError) -> End {
    let (code, what) = match error {
        AskError::NotFound => (ErrorCode::InstanceNotRunning, "the instance ended".to_owned()),
        AskError::Refused(why) => (ErrorCode::ExecInterrupted, why),
        other => (ErrorCode::ExecInterrupted, other.to_string()),
    };
    ApiError::new(code, format!("the command broke off: {what}")).into()
}
