//! Streams of a session to those who read them: output of instances, and commands run in them. Each stream has its own task and
//! sends no more than its reader has asked for, so a slow reader holds up nothing but itself.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use ring_proto::agent::v1::{AgentMessage, StreamEnd, agent_message::Message};
use ring_runtime::{Runtime, RuntimeError, RuntimeErrorKind};
use ring_types::InstanceId;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

/// Streams of one kind in one session; they end with it.
pub(super) struct Streams {
    out: mpsc::Sender<AgentMessage>,
    /// How many may be open, and what is said to who wants one more.
    most: (usize, &'static str),
    open: BTreeMap<u64, Open>,
}

struct Open {
    task: AbortHandle,
    credit: Option<Arc<Semaphore>>,
}

/// Why a stream ended early.
pub(super) struct Failed {
    pub(super) error: String,
    pub(super) not_found: bool,
}

impl Failed {
    pub(super) fn because(error: impl Into<String>) -> Self {
        Self { error: error.into(), not_found: false }
    }
}

impl From<RuntimeError> for Failed {
    fn from(error: RuntimeError) -> Self {
        Self { not_found: error.kind == RuntimeErrorKind::NotFound, error: error.message }
    }
}

/// The way from one stream's task to its reader.
pub(super) struct Way {
    pub(super) stream: u64,
    out: mpsc::Sender<AgentMessage>,
    credit: Option<Arc<Semaphore>>,
}

impl Way {
    /// Sends when its reader has room for one more.
    pub(super) async fn counted(&self, message: Message) -> Result<(), Failed> {
        if let Some(credit) = &self.credit {
            // Never closed.
            if let Ok(permit) = credit.acquire().await {
                permit.forget();
            }
        }
        self.send(message).await
    }

    /// Sends what its reader always has room for.
    pub(super) async fn send(&self, message: Message) -> Result<(), Failed> {
        let sent = self.out.send(AgentMessage { message: Some(message) }).await;
        sent.map_err(|_| Failed::because("the session is over"))
    }
}

impl Streams {
    /// Streams that send to `out`, not more than `most` at a time; `full` is said to who wants one more.
    pub(super) fn new(out: mpsc::Sender<AgentMessage>, most: usize, full: &'static str) -> Self {
        Self { out, most: (most, full), open: BTreeMap::new() }
    }

    /// Begins a stream whose reader has room for `window` messages, or for all when that is 0. Gives the answer when it cannot.
    pub(super) fn begin<F>(&mut self, stream: u64, window: u32, work: impl FnOnce(Way) -> F) -> Option<AgentMessage>
    where
        F: Future<Output = Result<(), Failed>> + Send + 'static,
    {
        self.open.retain(|_, open| !open.task.is_finished());
        let (most, full) = self.most;
        if self.open.len() >= most {
            return Some(refusal(stream, Failed::because(full)));
        }
        let credit = (window > 0).then(|| Arc::new(Semaphore::new(window as usize)));
        let out = self.out.clone();
        let work = work(Way { stream, out: out.clone(), credit: credit.clone() });
        let task = tokio::spawn(async move {
            let result = AssertUnwindSafe(work).catch_unwind().await;
            let result = result.unwrap_or_else(|_| Err(Failed::because("its agent failed by a fault of its own")));
            // Nobody to tell: the session is over.
            let _ = out.send(end(stream, result)).await;
        });
        if let Some(earlier) = self.open.insert(stream, Open { task: task.abort_handle(), credit }) {
            earlier.task.abort();
        }
        None
    }

    /// The reader takes more.
    pub(super) fn credit(&self, stream: u64, messages: u32) {
        if let Some(credit) = self.open.get(&stream).and_then(|open| open.credit.as_ref()) {
            credit.add_permits((messages as usize).min(Semaphore::MAX_PERMITS - credit.available_permits()));
        }
    }

    /// The reader is gone.
    pub(super) fn cancel(&mut self, stream: u64) {
        if let Some(open) = self.open.remove(&stream) {
            open.task.abort();
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        for open in self.open.values() {
            open.task.abort();
        }
    }
}

/// The instance a stream is wanted of, and what has it; else the answer that it is not here.
pub(super) fn subject(
    stream: u64,
    instance_id: &str,
    runtime: Option<Arc<dyn Runtime>>,
) -> Result<(InstanceId, Arc<dyn Runtime>), AgentMessage> {
    let not_here = || {
        let error = format!("instance {instance_id} is not on this node");
        refusal(stream, Failed { error, not_found: true })
    };
    super::wire::instance(instance_id).ok().zip(runtime).ok_or_else(not_here)
}

/// The end of a stream that did not begin, or is cut.
pub(super) fn refusal(stream: u64, why: Failed) -> AgentMessage {
    end(stream, Err(why))
}

fn end(stream: u64, result: Result<(), Failed>) -> AgentMessage {
    let Failed { error, not_found } = result.err().unwrap_or_else(|| Failed::because(""));
    AgentMessage { message: Some(Message::StreamEnd(StreamEnd { stream, error, not_found })) }
}
