//! Output of instances, streamed over the session. Each stream has its own task and sends no more than its reader has asked
//! for, so a slow reader holds up nothing but itself.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use ring_proto::agent::v1::{AgentMessage, LogLine, LogOutput, LogStart, StreamEnd, agent_message::Message};
use ring_runtime::{LogRequest, LogSource, Runtime, RuntimeErrorKind};
use ring_types::{InstanceId, Timestamp};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

/// Streams of one session.
const MOST: usize = 64;
/// Lines of one message; a line has at most 16 KiB.
const LINES: usize = 64;

/// The log streams of a session; they end with it.
pub(super) struct LogStreams {
    out: mpsc::Sender<AgentMessage>,
    streams: BTreeMap<u64, LogStream>,
}

struct LogStream {
    task: AbortHandle,
    credit: Option<Arc<Semaphore>>,
}

/// Why a stream ended early.
struct Failed {
    error: String,
    not_found: bool,
}

impl LogStreams {
    /// Streams that send to `out`.
    pub(super) fn new(out: mpsc::Sender<AgentMessage>) -> Self {
        Self { out, streams: BTreeMap::new() }
    }

    /// Begins a stream. `runtime` is what has the instance, if anything does. Gives the answer when it cannot begin.
    pub(super) fn start(&mut self, runtime: Option<Arc<dyn Runtime>>, request: &LogStart) -> Option<AgentMessage> {
        self.streams.retain(|_, stream| !stream.task.is_finished());
        let stream = request.stream;
        if self.streams.len() >= MOST {
            let error = format!("this node streams the output of {MOST} readers already");
            return Some(end(stream, Err(Failed { error, not_found: false })));
        }
        let found = super::wire::instance(&request.instance_id).ok().zip(runtime);
        let Some((instance, runtime)) = found else {
            let error = format!("instance {} is not on this node", request.instance_id);
            return Some(end(stream, Err(Failed { error, not_found: true })));
        };
        let credit = (request.window > 0).then(|| Arc::new(Semaphore::new(request.window as usize)));
        let wanted = LogRequest { tail: request.tail, since: request.since_ms.map(Timestamp), follow: request.follow };
        let (out, window) = (self.out.clone(), credit.clone());
        let task = tokio::spawn(async move {
            let copied = AssertUnwindSafe(copy(stream, runtime, instance, wanted, &out, window)).catch_unwind().await;
            let result = copied.unwrap_or_else(|_| Err(Failed { error: "reading it failed".into(), not_found: false }));
            // Nobody to tell: the session is over.
            let _ = out.send(end(stream, result)).await;
        });
        if let Some(earlier) = self.streams.insert(stream, LogStream { task: task.abort_handle(), credit }) {
            earlier.task.abort();
        }
        None
    }

    /// The reader takes more.
    pub(super) fn credit(&self, stream: u64, messages: u32) {
        if let Some(credit) = self.streams.get(&stream).and_then(|stream| stream.credit.as_ref()) {
            credit.add_permits((messages as usize).min(Semaphore::MAX_PERMITS - credit.available_permits()));
        }
    }

    /// The reader is gone.
    pub(super) fn cancel(&mut self, stream: u64) {
        if let Some(stream) = self.streams.remove(&stream) {
            stream.task.abort();
        }
    }
}

impl Drop for LogStreams {
    fn drop(&mut self) {
        for stream in self.streams.values() {
            stream.task.abort();
        }
    }
}

async fn copy(
    stream: u64,
    runtime: Arc<dyn Runtime>,
    instance: InstanceId,
    wanted: LogRequest,
    out: &mpsc::Sender<AgentMessage>,
    credit: Option<Arc<Semaphore>>,
) -> Result<(), Failed> {
    let failed = |error: ring_runtime::RuntimeError| {
        let not_found = error.kind == RuntimeErrorKind::NotFound;
        Failed { error: error.to_string(), not_found }
    };
    let lines = runtime.logs(instance, wanted).await.map_err(failed)?;
    let mut chunks = lines.ready_chunks(LINES);
    while let Some(chunk) = chunks.next().await {
        if let Some(credit) = &credit {
            // Never closed.
            if let Ok(permit) = credit.acquire().await {
                permit.forget();
            }
        }
        let (lines, error) = read(chunk);
        let output = Message::LogOutput(LogOutput { stream, lines });
        if out.send(AgentMessage { message: Some(output) }).await.is_err() {
            return Ok(());
        }
        error.map_or(Ok(()), |error| Err(failed(error)))?;
    }
    Ok(())
}

/// The lines up to the first error, and that.
fn read(
    chunk: Vec<Result<ring_runtime::LogLine, ring_runtime::RuntimeError>>,
) -> (Vec<LogLine>, Option<ring_runtime::RuntimeError>) {
    let mut lines = Vec::with_capacity(chunk.len());
    for line in chunk {
        match line {
            Ok(line) => {
                lines.push(LogLine { at_ms: line.at.0, stderr: line.source == LogSource::Stderr, line: line.line.into() });
            }
            Err(error) => return (lines, Some(error)),
        }
    }
    (lines, None)
}

fn end(stream: u64, result: Result<(), Failed>) -> AgentMessage {
    let (error, not_found) = match result {
        Ok(()) => (String::new(), false),
        Err(failed) => (failed.error, failed.not_found),
    };
    AgentMessage { message: Some(Message::StreamEnd(StreamEnd { stream, error, not_found })) }
}
