//! A command in the instance.

use futures::StreamExt as _;
use ring_runtime::{ExecEvent, ExecRequest, ExecSession, RuntimeError, RuntimeErrorKind};
use ring_types::Span;
use tokio::time::{Instant, timeout_at};

use super::{Found, Subject, WRITTEN, line};
use crate::health::checks::Seen;

/// Bytes of output looked at; the rest is read and dropped.
const READ: usize = WRITTEN * 4;

/// Runs it with the instance's shell. A runtime that does not even begin it says nothing of the instance.
pub(super) async fn run(subject: &Subject, command: &str, patience: Span) -> Found {
    let deadline = Instant::now() + patience.duration();
    let command = ["sh", "-c", command].map(str::to_owned).to_vec();
    let request = ExecRequest { command, stdin: false, terminal: None };
    let session = match timeout_at(deadline, subject.runtime.exec(subject.instance, request)).await {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => return Found::refused(error),
        Err(_) => return Found::silent(subject, patience),
    };
    let mut output = Vec::new();
    // Dropped with the session when the time is up, which ends the command.
    match timeout_at(deadline, exited(session, &mut output)).await {
        Ok(Ok(code)) => {
            let seen = Seen { healthy: code == 0, message: format!("exit code {code}") };
            Found { seen, written: line(&output), late: false, counts: true }
        }
        Ok(Err(error)) => Found::refused(error),
        Err(_) => Found { written: line(&output), ..Found::late(patience) },
    }
}

async fn exited(mut session: ExecSession, output: &mut Vec<u8>) -> Result<i32, RuntimeError> {
    while let Some(event) = session.events.next().await {
        match event? {
            ExecEvent::Stdout(bytes) | ExecEvent::Stderr(bytes) => {
                let room = READ.saturating_sub(output.len());
                output.extend(bytes.iter().take(room));
            }
            ExecEvent::Exited(code) => return Ok(code),
        }
    }
    Err(RuntimeError::new(RuntimeErrorKind::Other, "the runtime did not say how the command ended"))
}
