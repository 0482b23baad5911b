//! Output of instances, streamed over the session.

use std::sync::Arc;

use futures::StreamExt as _;
use ring_proto::agent::v1::{AgentMessage, LogLine, LogOutput, LogStart, agent_message::Message};
use ring_runtime::{LogRequest, LogSource, Runtime};
use ring_types::{InstanceId, Timestamp};
use tokio::sync::mpsc;

use super::streams::{Failed, Streams, Way, subject};

/// Streams of one session.
const MOST: usize = 64;
/// Lines of one message; a line has at most 16 KiB.
const LINES: usize = 64;

/// The log streams of a session.
pub(super) fn streams(out: mpsc::Sender<AgentMessage>) -> Streams {
    Streams::new(out, MOST, "this node streams the output of 64 readers already")
}

/// Begins a stream. `runtime` is what has the instance, if anything does. Gives the answer when it cannot begin.
pub(super) fn start(streams: &mut Streams, runtime: Option<Arc<dyn Runtime>>, request: &LogStart) -> Option<AgentMessage> {
    let (instance, runtime) = match subject(request.stream, &request.instance_id, runtime) {
        Ok(found) => found,
        Err(answer) => return Some(answer),
    };
    let wanted = LogRequest { tail: request.tail, since: request.since_ms.map(Timestamp), follow: request.follow };
    streams.begin(request.stream, request.window, |way| copy(way, runtime, instance, wanted))
}

async fn copy(way: Way, runtime: Arc<dyn Runtime>, instance: InstanceId, wanted: LogRequest) -> Result<(), Failed> {
    let lines = runtime.logs(instance, wanted).await?;
    let mut chunks = lines.ready_chunks(LINES);
    while let Some(chunk) = chunks.next().await {
        let (lines, error) = read(chunk);
        way.counted(Message::LogOutput(LogOutput { stream: way.stream, lines })).await?;
        error.map_or(Ok(()), Err)?;
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
