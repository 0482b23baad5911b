//! Which agents have their session here, and the log streams that run over those sessions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring_proto::agent::v1::control_message::Message;
use ring_proto::agent::v1::{Answer, ControlMessage, LogCredit, LogLine, LogStart, Question, StreamCancel, StreamEnd};
use ring_types::NodeId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::ask::{self, AskError, Open};
use super::logs::{LogError, LogItem, LogRequest, LogStream};

/// Batches of lines an agent may send ahead of a reader. An agent that sends more than it was asked for loses the stream.
const WINDOW: u32 = 64;
/// Batches taken before the agent is told that it may send as many more.
const CREDIT: u32 = 16;

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

/// One session, as seen by those who want something from its agent.
pub(super) struct Line {
    number: u64,
    out: Outgoing,
    replaced: CancellationToken,
    streams: Mutex<HashMap<u64, mpsc::Sender<LogItem>>>,
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

    /// Asks the agent of `node` for the output of an instance.
    ///
    /// # Errors
    /// [`LogError::NotConnected`] when its session is not here.
    pub fn open_log(&self, node: NodeId, request: LogRequest) -> Result<LogStream, LogError> {
        let line = self.lock().get(&node).cloned().ok_or(LogError::NotConnected)?;
        let stream = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(WINDOW as usize + 1);
        line.streams().insert(stream, sender);
        let start = LogStart {
            stream,
            instance_id: request.instance.to_string(),
            tail: request.tail,
            since_ms: request.since_ms,
            follow: request.follow,
            window: WINDOW,
        };
        let cancel = StreamGuard { line: Arc::downgrade(&line), stream, taken: 0 };
        line.send(Message::LogStart(start)).map_err(|()| LogError::Interrupted("the node's session is busy".to_owned()))?;
        Ok(LogStream::local(receiver, cancel))
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
    fn streams(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<LogItem>>> {
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

    /// Lines for a stream. Never waits: there is room for what the agent was asked for, and who sends more is cut off.
    pub(super) fn output(&self, stream: u64, lines: Vec<LogLine>) {
        let mut streams = self.streams();
        let Some(reader) = streams.get(&stream) else { return };
        if reader.try_send(LogItem::Lines(lines)).is_err() {
            streams.remove(&stream);
            drop(streams);
            let _ = self.send(Message::StreamCancel(StreamCancel { stream }));
        }
    }

    /// A stream has given everything, or cannot.
    pub(super) fn end(&self, end: &StreamEnd) {
        if self.open.end(end) {
            return;
        }
        let Some(reader) = self.streams().remove(&end.stream) else { return };
        let last = match (end.not_found, end.error.is_empty()) {
            (true, _) => LogItem::End(Err(LogError::NotFound)),
            (false, false) => LogItem::End(Err(LogError::Interrupted(end.error.clone()))),
            (false, true) => LogItem::End(Ok(())),
        };
        // There is one place more than the window; a reader whose agent flooded it sees the stream cut.
        let _ = reader.try_send(last);
    }
}

/// The reader's end of a stream: tells the agent how far the reader is, and when nobody reads any more.
pub(super) struct StreamGuard {
    line: std::sync::Weak<Line>,
    stream: u64,
    taken: u32,
}

impl StreamGuard {
    /// The reader took one batch.
    pub(super) fn took_one(&mut self) {
        self.taken += 1;
        if self.taken < CREDIT {
            return;
        }
        let credit = LogCredit { stream: self.stream, messages: self.taken };
        // When the session is busy the credit goes with the next batch; before the window is used up there are three more.
        if self.line.upgrade().is_none_or(|line| line.send(Message::LogCredit(credit)).is_ok()) {
            self.taken = 0;
        }
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let Some(line) = self.line.upgrade() else { return };
        if line.streams().remove(&self.stream).is_some() {
            let _ = line.send(Message::StreamCancel(StreamCancel { stream: self.stream }));
        }
    }
}
