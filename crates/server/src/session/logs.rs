//! The output of an instance, wherever its agent has its session.

use std::collections::VecDeque;

use ring_proto::agent::v1::LogLine;
use ring_proto::cluster::v1::{LogsReply, LogsRequest};
use ring_types::{InstanceId, NodeId};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::Hub;
use super::hub::StreamGuard;
use super::locate::Locator;
use crate::services::{Peers, error_of};

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

/// What a session hands to a reader.
pub(super) enum LogItem {
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
    Local(mpsc::Receiver<LogItem>, StreamGuard),
    Remote(Box<Streaming<LogsReply>>),
}

impl LogStream {
    pub(super) fn local(receiver: mpsc::Receiver<LogItem>, guard: StreamGuard) -> Self {
        Self { source: Source::Local(receiver, guard), ready: VecDeque::new(), ended: false }
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
            Self::Local(receiver, guard) => {
                let cut = || LogItem::End(Err(LogError::Interrupted("the session of its node ended".to_owned())));
                let item = receiver.recv().await.unwrap_or_else(cut);
                guard.took_one();
                item
            }
            Self::Remote(stream) => match stream.message().await {
                Ok(Some(l)) => LogItem::Lines(vec![LogLine { at_ms: l.at_ms, stderr: l.stderr, line: l.line }]),
                Ok(None) => LogItem::End(Ok(())),
                Err(status) => LogItem::End(Err(error_of(&status))),
            },
        }
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
        Ok(LogStream { source: Source::Remote(Box::new(stream)), ready: VecDeque::new(), ended: false })
    }
}
