//! The output of an instance, wherever its agent has its session.

use std::collections::VecDeque;

use ring_proto::agent::v1::control_message::Message;
use ring_proto::agent::v1::{LogLine, LogStart, StreamEnd};
use ring_proto::cluster::v1::{LogsReply, LogsRequest};
use ring_types::{InstanceId, NodeId};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::Hub;
use super::hub::{Closed, Item, StreamGuard};
use super::locate::Locator;
use crate::services::{Peers, error_of};

/// Batches of lines an agent may send ahead of a reader.
const WINDOW: u32 = 64;
/// Batches taken before the agent is told that it may send as many more.
const CREDIT: u32 = 16;

/// Which output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// Whose.
    pub instance: InstanceId,
    /// Only so many of the last lines.
    pub tail: Option<u64>,
    /// Only from this time on, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Go on as lines come, until the instance ends.
    pub follow: bool,
}

/// Why there is no output, or no more of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Its node has no session with any control node that answers.
    #[error("its node is not connected")]
    NotConnected,
    /// The node has no output of it.
    #[error("its node has no output of it any more")]
    NotFound,
    /// It broke off; the same again from the last line on may work.
    #[error("the output broke off: {0}")]
    Interrupted(String),
}

impl From<Closed> for LogError {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::NotHere => Self::NotConnected,
            Closed::Busy => Self::Interrupted("the node's session is busy".to_owned()),
        }
    }
}

/// What a reader is given.
enum LogItem {
    Lines(Vec<LogLine>),
    End(Result<(), LogError>),
}

/// Lines of one instance, in order.
pub struct LogStream {
    source: Source,
    ready: VecDeque<LogLine>,
    ended: bool,
}

enum Source {
    Local(Local),
    Remote(Box<Streaming<LogsReply>>),
}

/// Of a session that is here.
struct Local {
    items: mpsc::Receiver<Item>,
    guard: StreamGuard,
    /// Batches taken since the agent was told.
    taken: u32,
}

impl LogStream {
    fn new(source: Source) -> Self {
        Self { source, ready: VecDeque::new(), ended: false }
    }

    /// The next line; None after the last.
    pub async fn next(&mut self) -> Option<Result<LogLine, LogError>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line));
            }
            if self.ended {
                return None;
            }
            match self.source.next().await {
                LogItem::Lines(lines) => self.ready.extend(lines),
                LogItem::End(result) => {
                    self.ended = true;
                    return result.err().map(Err);
                }
            }
        }
    }
}

impl Source {
    async fn next(&mut self) -> LogItem {
        match self {
            Self::Local(local) => local.next().await,
            Self::Remote(stream) => match stream.message().await {
                Ok(Some(l)) => LogItem::Lines(vec![LogLine { at_ms: l.at_ms, stderr: l.stderr, line: l.line }]),
                Ok(None) => LogItem::End(Ok(())),
                Err(status) => LogItem::End(Err(error_of(&status))),
            },
        }
    }
}

impl Local {
    async fn next(&mut self) -> LogItem {
        let item = self.items.recv().await;
        self.taken += 1;
        // When the session is busy the credit goes with the next batch; before the window is used up there are three more.
        if self.taken >= CREDIT && self.guard.credit(self.taken) {
            self.taken = 0;
        }
        let cut = |why: &str| LogItem::End(Err(LogError::Interrupted(why.to_owned())));
        match item {
            Some(Item::Lines(lines)) => LogItem::Lines(lines),
            Some(Item::End(end)) => LogItem::End(ended(end)),
            Some(Item::Exec(_)) => cut("its agent is of another release"),
            None => cut("the session of its node ended"),
        }
    }
}

fn ended(end: StreamEnd) -> Result<(), LogError> {
    match (end.not_found, end.error.is_empty()) {
        (true, _) => Err(LogError::NotFound),
        (false, false) => Err(LogError::Interrupted(end.error)),
        (false, true) => Ok(()),
    }
}

impl Hub {
    /// Asks the agent of `node` for the output of an instance.
    ///
    /// # Errors
    /// [`LogError::NotConnected`] when its session is not here.
    pub fn open_log(&self, node: NodeId, request: LogRequest) -> Result<LogStream, LogError> {
        let start = |stream| {
            Message::LogStart(LogStart {
                stream,
                instance_id: request.instance.to_string(),
                tail: request.tail,
                since_ms: request.since_ms,
                follow: request.follow,
                window: WINDOW,
            })
        };
        let (items, guard) = self.open(node, WINDOW as usize + 1, start)?;
        Ok(LogStream::new(Source::Local(Local { items, guard, taken: 0 })))
    }
}

/// Opens output on any node of the cluster.
#[derive(Clone)]
pub struct Logs {
    hub: Hub,
    locator: Locator,
}

impl Logs {
    /// Looks in the sessions here first, then asks the other control nodes.
    pub fn new(hub: Hub, peers: Peers) -> Self {
        Self { hub, locator: Locator::new(peers) }
    }

    /// The output of an instance that is on `node`.
    ///
    /// # Errors
    /// [`LogError`] when no control node has a session of that node.
    pub async fn open(&self, node: NodeId, request: LogRequest) -> Result<LogStream, LogError> {
        if self.hub.connected(node) {
            return self.hub.open_log(node, request);
        }
        let member = self.locator.find(node).await.ok_or(LogError::NotConnected)?;
        let mut client = self.locator.client(member).await.map_err(|e| LogError::Interrupted(e.to_string()))?;
        let request = LogsRequest {
            node_id: node.to_string(),
            instance_id: request.instance.to_string(),
            tail: request.tail,
            since_ms: request.since_ms,
            follow: request.follow,
        };
        let stream = client.logs(request).await.map_err(|status| error_of(&status))?.into_inner();
        Ok(LogStream::new(Source::Remote(Box::new(stream))))
    }
}
