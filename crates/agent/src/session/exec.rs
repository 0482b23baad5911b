//! Commands run in instances, over the session: output and input each within a window, so that neither a reader that is slow nor a
//! command that does not read takes more memory than that.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use ring_proto::agent::v1::agent_message::Message;
use ring_proto::agent::v1::exec_input::Event as Theirs;
use ring_proto::agent::v1::exec_output::Event as Ours;
use ring_proto::agent::v1::{self as wire, AgentMessage, ExecInput, ExecOutput, ExecStart, ExecStarted};
use ring_runtime::{ExecEvent, ExecRequest, ExecSession, Runtime, RuntimeError, TerminalSize};
use ring_types::InstanceId;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::streams::{Failed, Streams, Way, refusal, subject};

/// Commands of one session.
const MOST: usize = 32;
/// Messages of input that wait for one command. Who sends more than it was let loses the command.
const INPUT_WINDOW: u32 = 32;
/// Largest piece of input or output in one message.
const PIECE: usize = 16 * 1024;
/// Longest wait for a runtime to begin a command.
const PATIENCE: Duration = Duration::from_secs(8);

/// The commands of a session; they end with it.
pub(super) struct Execs {
    streams: Streams,
    inputs: BTreeMap<u64, Sender>,
}

/// The way to a command's task.
struct Sender {
    events: mpsc::Sender<Input>,
    size: watch::Sender<Option<TerminalSize>>,
}

/// What waits for a command.
struct Receiver {
    events: mpsc::Receiver<Input>,
    size: watch::Receiver<Option<TerminalSize>>,
}

enum Input {
    Data(Vec<u8>),
    Close,
}

impl Execs {
    /// Those whose output goes to `out`.
    pub(super) fn new(out: mpsc::Sender<AgentMessage>) -> Self {
        let streams = Streams::new(out, MOST, "this node runs 32 commands in its instances for this control node already");
        Self { streams, inputs: BTreeMap::new() }
    }

    /// Begins a command. `runtime` is what has the instance, if anything does. Gives the answer when it cannot begin.
    pub(super) fn start(&mut self, runtime: Option<Arc<dyn Runtime>>, start: ExecStart) -> Option<AgentMessage> {
        self.inputs.retain(|_, input| !input.events.is_closed());
        let (instance, runtime) = match subject(start.stream, &start.instance_id, runtime) {
            Ok(found) => found,
            Err(answer) => return Some(answer),
        };
        let terminal = start.terminal.map(size);
        let request = ExecRequest { command: start.command, stdin: start.stdin, terminal };
        let (events, waiting) = mpsc::channel(INPUT_WINDOW as usize + 1);
        let (size, sizes) = watch::channel(terminal);
        let receiver = Receiver { events: waiting, size: sizes };
        self.inputs.insert(start.stream, Sender { events, size });
        self.streams.begin(start.stream, start.window, |way| run(way, runtime, instance, request, receiver))
    }

    /// Something for a command; for one that is over it goes nowhere. Gives the end of one that was sent too much.
    pub(super) fn input(&mut self, input: ExecInput) -> Option<AgentMessage> {
        let to = self.inputs.get(&input.stream)?;
        let input_of = |event| match event {
            Theirs::Data(data) if data.len() <= PIECE => Some(Input::Data(data)),
            Theirs::Close(true) => Some(Input::Close),
            _ => None,
        };
        let sent = match input.event? {
            Theirs::Resize(new) => {
                to.size.send_replace(Some(size(new)));
                return None;
            }
            Theirs::Close(false) => return None,
            event => input_of(event).map(|event| to.events.try_send(event)),
        };
        match sent {
            Some(Ok(()) | Err(mpsc::error::TrySendError::Closed(_))) => None,
            Some(Err(mpsc::error::TrySendError::Full(_))) | None => {
                self.cancel(input.stream);
                Some(refusal(input.stream, Failed::because("the command was sent more input than it was ready for")))
            }
        }
    }

    /// The reader takes more.
    pub(super) fn credit(&self, stream: u64, messages: u32) {
        self.streams.credit(stream, messages);
    }

    /// Nobody listens any more: the command is ended.
    pub(super) fn cancel(&mut self, stream: u64) {
        self.inputs.remove(&stream);
        self.streams.cancel(stream);
    }
}

fn size(size: wire::TerminalSize) -> TerminalSize {
    let bounded = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    TerminalSize { rows: bounded(size.rows), columns: bounded(size.columns) }
}

/// Runs a command to its end. When the task is aborted, the command's session is dropped with it, which ends the command.
async fn run(
    way: Way,
    runtime: Arc<dyn Runtime>,
    instance: InstanceId,
    request: ExecRequest,
    receiver: Receiver,
) -> Result<(), Failed> {
    let begun = timeout(PATIENCE, runtime.exec(instance, request)).await;
    let silent = |_| Failed::because(format!("the {} runtime does not answer", runtime.kind()));
    let ExecSession { events, input } = begun.map_err(silent)??;
    say(&way, Ours::Started(ExecStarted { input_window: INPUT_WINDOW })).await?;
    tokio::select! {
        result = give(events, &way) => result,
        never = take(input, receiver, &way) => match never {},
    }
}

async fn say(way: &Way, event: Ours) -> Result<(), Failed> {
    way.send(output(way.stream, event)).await
}

fn output(stream: u64, event: Ours) -> Message {
    Message::ExecOutput(ExecOutput { stream, event: Some(event) })
}

/// Passes its output on.
async fn give(mut events: BoxStream<'static, Result<ExecEvent, RuntimeError>>, way: &Way) -> Result<(), Failed> {
    while let Some(event) = events.next().await {
        let (bytes, of): (Bytes, fn(Vec<u8>) -> Ours) = match event? {
            ExecEvent::Stdout(bytes) => (bytes, Ours::Stdout),
            ExecEvent::Stderr(bytes) => (bytes, Ours::Stderr),
            ExecEvent::Exited(code) => return say(way, Ours::ExitCode(code)).await,
        };
        for piece in bytes.chunks(PIECE) {
            way.counted(output(way.stream, of(piece.to_vec()))).await?;
        }
    }
    Err(Failed::because("the runtime did not say how the command ended"))
}

/// Passes its input on. What it does not take any more is lost, and who sends it does not wait.
async fn take(mut input: Box<dyn ring_runtime::ExecInput>, mut receiver: Receiver, way: &Way) -> Infallible {
    let mut open = true;
    loop {
        tokio::select! {
            Some(event) = receiver.events.recv() => match event {
                Input::Data(bytes) => {
                    open = open && input.write(bytes.into()).await.is_ok();
                    // The session is over when this fails, and this task with it.
                    let _ = say(way, Ours::InputTaken(1)).await;
                }
                Input::Close => {
                    open = false;
                    let _ = input.close().await;
                }
            },
            Ok(()) = receiver.size.changed() => {
                let size = *receiver.size.borrow_and_update();
                if let Some(size) = size {
                    // A command that has just ended has no terminal any more.
                    let _ = input.resize(size).await;
                }
            }
            else => std::future::pending().await,
        }
    }
}
