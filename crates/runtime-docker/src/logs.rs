//! Output of a container.

mod follow;

use std::sync::Arc;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use ring_runtime::{LogLine, LogRequest, LogSource, RuntimeError, now};
use ring_types::{InstanceId, Timestamp};
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::driver::Containers;

pub(crate) use follow::follow;

/// The output there is. An engine that stops giving it in the middle hangs.
pub(crate) async fn all(
    containers: Arc<Containers>,
    instance: InstanceId,
    request: LogRequest,
) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
    let output = containers.output(instance, options(request)).await?;
    let lines = stream::try_unfold((output, containers), move |(mut output, containers)| async move {
        let next = timeout(PATIENCE, output.next()).await.map_err(|_| containers.client.hangs())?;
        let next = next.transpose().map_err(|error| containers.failed(&format!("the log of instance {instance}"), &error))?;
        Ok(next.map(|piece| (message(piece, now()).line, (output, containers))))
    });
    Ok(lines.try_filter(move |line| futures::future::ready(wanted(line, request))).boxed())
}

/// What the engine is asked for. It knows whole seconds only; what is too early within the second is left out afterwards.
pub(crate) fn options(request: LogRequest) -> LogsOptions {
    LogsOptions {
        follow: request.follow,
        stdout: true,
        stderr: true,
        since: request.since.and_then(|since| i32::try_from(since.0.div_euclid(1000)).ok()).unwrap_or(0),
        until: 0,
        timestamps: true,
        tail: request.tail.map_or_else(|| "all".to_owned(), |tail| tail.to_string()),
    }
}

/// A line with the time as the engine wrote it: finer than a [`Timestamp`], and of one width, so that texts compare as times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) time: Bytes,
    pub(crate) line: LogLine,
}

/// Reads one message of the engine: a time, a blank, and a line or a piece of one. What is not of that form is given as it
/// came, with the time of now, rather than dropped.
pub(crate) fn message(output: LogOutput, now: Timestamp) -> Message {
    let source = match output {
        LogOutput::StdErr { .. } => LogSource::Stderr,
        LogOutput::StdOut { .. } | LogOutput::StdIn { .. } | LogOutput::Console { .. } => LogSource::Stdout,
    };
    let bytes = output.into_bytes();
    let bytes = if bytes.last() == Some(&b'\n') { bytes.slice(..bytes.len() - 1) } else { bytes };
    let (time, at, line) = split(&bytes).unwrap_or((Bytes::new(), now, bytes));
    Message { time, line: LogLine { at, source, line } }
}

fn split(bytes: &Bytes) -> Option<(Bytes, Timestamp, Bytes)> {
    let blank = bytes.iter().position(|byte| *byte == b' ')?;
    let at = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
    Some((bytes.slice(..blank), at, bytes.slice(blank + 1..)))
}

/// Is this line asked for?
pub(crate) fn wanted(line: &LogLine, request: LogRequest) -> bool {
    request.since.is_none_or(|since| line.at >= since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_time_and_a_line() {
        let now = Timestamp(5);
        let bytes = Bytes::from_static(b"2026-04-12T13:20:00.123456789Z two words\n");
        let read = message(LogOutput::StdErr { message: bytes }, now);
        assert_eq!(read.time, "2026-04-12T13:20:00.123456789Z");
        assert_eq!(read.line.at, "2026-04-12T13:20:00.123Z".parse().unwrap());
        assert_eq!((read.line.source, &*read.line.line), (LogSource::Stderr, &b"two words"[..]));
        let empty = message(LogOutput::StdOut { message: Bytes::from_static(b"2026-04-12T13:20:00Z \n") }, now);
        assert_eq!(empty.line.line, "");
        let strange = message(LogOutput::StdOut { message: Bytes::from_static(b"no time\n") }, now);
        assert_eq!((strange.line.at, &*strange.line.line), (now, &b"no time"[..]));
    }

    #[test]
    fn a_part_of_a_second_is_left_out_afterwards() {
        let request = LogRequest { since: Some(Timestamp(1500)), tail: Some(3), follow: true };
        let asked = options(request);
        assert_eq!((asked.since, asked.tail.as_str(), asked.follow), (1, "3", true));
        let at = |at| LogLine { at: Timestamp(at), source: LogSource::Stdout, line: Bytes::new() };
        assert!(!wanted(&at(1499), request));
        assert!(wanted(&at(1500), request));
    }
}
