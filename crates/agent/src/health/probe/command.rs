//! A command in the instance.

use futures::StreamExt as _;
use ring_runtime::{ExecEvent, ExecRequest, RuntimeError};

use super::{Found, Subject, WRITTEN, line};
use crate::health::checks::Seen;

/// Bytes of output looked at; the rest is read and dropped.
const READ: usize = WRITTEN * 4;

/// Runs it with the instance's shell.
pub(super) async fn run(subject: &Subject, command: &str) -> Found {
    let mut output = Vec::new();
    match exited(subject, command, &mut output).await {
        Ok(code) => {
            let seen = Seen { healthy: code == 0, message: format!("exit code {code}") };
            Found { seen, written: line(&output), late: false }
        }
        Err(error) => Found::of(Err(error.message)),
    }
}

async fn exited(subject: &Subject, command: &str, output: &mut Vec<u8>) -> Result<i32, RuntimeError> {
    let command = ["sh", "-c", command].map(str::to_owned).to_vec();
    let request = ExecRequest { command, stdin: false, terminal: None };
    // Dropped with the session when the time is up, which ends the command.
    let mut session = subject.runtime.exec(subject.instance, request).await?;
    while let Some(event) = session.events.next().await {
        match event? {
            ExecEvent::Stdout(bytes) | ExecEvent::Stderr(bytes) => {
                let room = READ.saturating_sub(output.len());
                output.extend(bytes.iter().take(room));
            }
            ExecEvent::Exited(code) => return Ok(code),
        }
    }
    Err(RuntimeError::new(ring_runtime::RuntimeErrorKind::Other, "the runtime did not say how the command ended"))
}
