//! Which agents have their session here, and the streams that run over those sessions: output of instances, commands in them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ring_proto::agent::v1::control_message::Message;
use ring_proto::agent::v1::{Answer, ControlMessage, LogCredit, LogLine, Question, StreamCancel, StreamEnd, exec_output};
use ring_types::NodeId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::ask::{self, AskError, Open};

/// Longest wait for room in a session that is busy.
const BUSY: Duration = Duration::from_secs(10);

pub(super) type Outgoing = mpsc::Sender<Result<ControlMessage, Status>>;

/// The sessions of this control node. Copies are the same.
#[derive(Clone, Default)]
pub struct Hub {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    next: AtomicU64,
    sessions: Mutex<HashMap<NodeId, Arc<Line>>>,
}

/// What a session hands to who reads one of its streams.
pub(super) enum Item {
    /// Output of an instance.
    Lines(Vec<LogLine>),
    /// Of a command in an instance.
    Exec(exec_output::Event),
    /// There is no more.
    End(StreamEnd),
}

/// Why a stream cannot be opened.
pub(super) enum Closed {
    /// The agent's session is not here.
    NotHere,
    /// The session does not take any more now.
    Busy,
}

/// One session, as seen by those who want something from its agent.
pub(super) struct Line {
    number: u64,
    out: Outgoing,
    replaced: CancellationToken,
    streams: Mutex<HashMap<u64, mpsc::Sender<Item>>>,
    pub(super) open: Open,
}

/// A session's place in the hub; gives it up when dropped.
pub(super) struct Seat {
    hub: Hub,
    node: NodeId,
    pub(super) line: Arc<Line>,
}

impl Hub {
    /// Takes the place of `node`; a session that had it ends.
    pub(super) fn enter(&self, node: NodeId, out: Outgoing) -> Seat {
        let number = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let line =
            Arc::new(Line { number, out, replaced: CancellationToken::new(), streams: Mutex::default(), open: Open::default() });
        if let Some(old) = self.lock().insert(node, line.clone()) {
            old.replaced.cancel();
        }
        Seat { hub: self.clone(), node, line }
    }

    /// The agent of `node` has its session here.
    pub fn connected(&self, node: NodeId) -> bool {
        self.lock().contains_key(&node)
    }

    /// How many agents have their session here.
    pub fn sessions(&self) -> usize {
        self.lock().len()
    }

    /// Opens a stream over the session of `node`, with room for `room` items; an agent that sends more than that loses it.
    pub(super) fn open(
        &self,
        node: NodeId,
        room: usize,
        start: impl FnOnce(u64) -> Message,
    ) -> Result<(mpsc::Receiver<Item>, StreamGuard), Closed> {
        let line = self.lock().get(&node).cloned().ok_or(Closed::NotHere)?;
        let stream = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(room);
        line.streams().insert(stream, sender);
        let guard = StreamGuard { line: Arc::downgrade(&line), stream };
        line.send(start(stream)).map_err(|()| Closed::Busy)?;
        Ok((receiver, guard))
    }

    /// Asks the agent of `node` something that it alone knows.
    ///
    /// # Errors
    /// [`AskError::NotConnected`] when its session is not here, others when no answer came.
    pub async fn ask(&self, node: NodeId, question: Question) -> Result<Answer, AskError> {
        let line = self.lock().get(&node).map(Arc::downgrade).ok_or(AskError::NotConnected)?;
        ask::ask(line, self.inner.next.fetch_add(1, Ordering::Relaxed), question).await
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<Line>>> {
        self.inner.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut sessions = self.hub.lock();
        if sessions.get(&self.node).is_some_and(|line| line.number == self.line.number) {
            sessions.remove(&self.node);
        }
    }
}

impl Line {
    fn streams(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Item>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes to the agent; to be let go of, since a session lasts as long as anybody can send to it.
    pub(super) fn outgoing(&self) -> Outgoing {
        self.out.clone()
    }

    pub(super) fn send(&self, message: Message) -> Result<(), ()> {
        self.out.try_send(Ok(ControlMessage { message: Some(message) })).map_err(drop)
    }

    /// Resolves when another session of the same node took the place of this one.
    pub(super) async fn replaced(&self) {
        self.replaced.cancelled().await;
    }

    /// Something for a stream. Never waits: there is room for what the agent was asked for, and who sends more is cut off.
    pub(super) fn output(&self, stream: u64, item: Item) {
        let mut streams = self.streams();
        let Some(reader) = streams.get(&stream) else { return };
        if reader.try_send(item).is_err() {
            streams.remove(&stream);
            drop(streams);
            self.cancel(stream);
        }
    }

    /// Tells the agent that nobody reads a stream any more. A session that is busy hears it when it has room: what the stream stands
    /// for, such as a command, would run on.
    pub(super) fn cancel(&self, stream: u64) {
        let message = Ok(ControlMessage { message: Some(Message::StreamCancel(StreamCancel { stream })) });
        if let Err(mpsc::error::TrySendError::Full(message)) = self.out.try_send(message)
            // There is none when the process ends, and its sessions with it.
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let out = self.out.clone();
            runtime.spawn(async move {
                // One that takes nothing for so long is ended, and its streams with it.
                let _ = tokio::time::timeout(BUSY, out.send(message)).await;
            });
        }
    }

    /// A stream has given everything, or cannot.
    pub(super) fn end(&self, end: StreamEnd) {
        if self.open.end(&end) {
            return;
        }
        if let Some(reader) = self.streams().remove(&end.stream) {
            // There is one place more than the window; a reader whose agent flooded it sees the stream cut.
            let _ = reader.try_send(Item::End(end));
        }
    }
}

/// The reader's end of a stream: the way back to the agent, which is told when nobody reads any more.
pub(super) struct StreamGuard {
    line: Weak<Line>,
    stream: u64,
}

impl StreamGuard {
    /// The reader took so many messages. False when the session is busy: then it has to be told again.
    pub(super) fn credit(&self, messages: u32) -> bool {
        let credit = LogCredit { stream: self.stream, messages };
        self.line.upgrade().is_none_or(|line| line.send(Message::LogCredit(credit)).is_ok())
    }

    /// Tells the agent something about the stream, waiting while its session is busy. A session that is over is no error here: its
    /// reader sees that, after all that came before.
    ///
    /// # Errors
    /// [`Closed::Busy`] when the session takes nothing for [`BUSY`].
    pub(super) async fn tell(&self, message: impl FnOnce(u64) -> Message) -> Result<(), Closed> {
        let Some(out) = self.line.upgrade().map(|line| line.outgoing()) else { return Ok(()) };
        let message = Ok(ControlMessage { message: Some(message(self.stream)) });
        let sent = tokio::time::timeout(BUSY, out.send(message)).await;
        sent.map_err(|_| Closed::Busy).map(drop)
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let Some(line) = self.line.upgrade() else { return };
        if line.streams().remove(&self.stream).is_some() {
            line.cancel(self.stream);
        }
    }
}
