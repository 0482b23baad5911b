//! From the workload's output to its log.

use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ring_runtime::LogSource;
use ring_types::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinSet;

use ring_runtime_host::logs::{Ends, Lines, LogWriter};

/// A pipe of Linux holds so much.
const CHUNK: usize = 64 * 1024;

/// After everything that could write has ended, a pipe is at its end at once; this is for what nobody thought of.
const DRAIN: Duration = Duration::from_secs(2);

/// Both outputs of a workload.
pub(super) struct Pumps(JoinSet<()>);

impl Pumps {
    pub(super) fn start(child: &mut Child, logs: LogWriter) -> Self {
        let logs = Arc::new(Mutex::new(logs));
        let mut pumps = JoinSet::new();
        let outputs = [
            (LogSource::Stdout, child.stdout.take().map(OwnedFd::from)),
            (LogSource::Stderr, child.stderr.take().map(OwnedFd::from)),
        ];
        for (source, pipe) in outputs {
            if let Some(Ok(pipe)) = pipe.map(Receiver::from_owned_fd) {
                pumps.spawn(pump(source, pipe, Arc::clone(&logs)));
            }
        }
        Self(pumps)
    }

    /// Returns when everything that was written is in the log.
    pub(super) async fn finish(mut self) {
        let all = async { while self.0.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(DRAIN, all).await;
    }
}

async fn pump(source: LogSource, mut pipe: Receiver, logs: Arc<Mutex<LogWriter>>) {
    let mut lines = Lines::new(source, Ends::Lf);
    let mut buffer = vec![0; CHUNK];
    let write = |at, text: &[u8]| logs.lock().unwrap_or_else(PoisonError::into_inner).write(at, text);
    loop {
        let read = pipe.read(&mut buffer).await.unwrap_or(0);
        let at = ring_runtime::now();
        if read == 0 {
            write(at, &lines.finish(at));
            return;
        }
        write(at, &lines.push(at, &buffer[..read]));
    }
}

/// A line of the supervisor itself.
pub(super) fn note(at: Timestamp, message: &str) -> Vec<u8> {
    let mut lines = Lines::new(LogSource::Stderr, Ends::Lf);
    lines.push(at, format!("[ring: {message}]\n").as_bytes())
}
