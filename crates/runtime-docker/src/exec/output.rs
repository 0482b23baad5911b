//! What comes from a command in a container, and how it ended.
//!
//! An engine that cannot execute a command says so where the command's output is expected, and older ones give 126 as its code
//! whatever the reason was. Both are set right here.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream, Stream};
use ring_runtime::{ExecEvent, RuntimeError};
use tokio::time::sleep;

use super::end::Ending;
use crate::client::{status, told};
use crate::driver::Containers;

/// How an engine begins when it could not execute a command.
const REFUSAL: [&[u8]; 2] = [b"OCI runtime exec failed", b"OCI runtime error"];

/// Between two looks whether a command that has closed its output has ended. It usually has.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(500)];

type Events = BoxStream<'static, Result<ExecEvent, RuntimeError>>;
type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;

struct Reader {
    containers: Arc<Containers>,
    exec: String,
    output: Output,
    /// Ends the command when this reader is dropped before its end.
    ending: Ending,
    /// The first thing that came, as long as it can be the engine's own words.
    held: Option<Bytes>,
    /// What is to be given next.
    ready: VecDeque<ExecEvent>,
    begun: bool,
    finished: bool,
}

/// The output of a command until its end.
pub(super) fn events(containers: Arc<Containers>, exec: String, output: Output, ending: Ending) -> Events {
    let (held, ready) = (None, VecDeque::new());
    let reader = Reader { containers, exec, output, ending, held, ready, begun: false, finished: false };
    stream::unfold(reader, |mut reader| async move { reader.next().await.map(|event| (event, reader)) }).boxed()
}

/// Some engines refuse with an answer instead: then there was nothing to be attached to.
pub(super) fn refused(error: &Error) -> Option<Events> {
    let message = told(error);
    let words = ["executable file", "OCI runtime"];
    let refusal = status(error) == Some(400) || words.iter().any(|words| message.contains(words));
    let events = [Ok(ExecEvent::Exited(code(126, &message))), Ok(ExecEvent::Stderr(message.into()))];
    refusal.then(|| stream::iter(events.into_iter().rev()).boxed())
}

impl Reader {
    async fn next(&mut self) -> Option<Result<ExecEvent, RuntimeError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.finished {
                return None;
            }
            match self.output.next().await {
                Some(Ok(LogOutput::StdIn { .. })) => {}
                Some(Ok(LogOutput::StdErr { message })) => self.came(ExecEvent::Stderr(message)),
                Some(Ok(output)) => self.came(ExecEvent::Stdout(output.into_bytes())),
                Some(Err(error)) => return Some(self.broken(self.containers.failed("the output of a command", &error))),
                None => match self.exit().await {
                    Ok(number) => self.over(number),
                    Err(error) => return Some(self.broken(error)),
                },
            }
        }
    }

    fn broken(&mut self, error: RuntimeError) -> Result<ExecEvent, RuntimeError> {
        self.finished = true;
        Err(error)
    }

    /// What the engine may have said itself is held back until more comes or nothing does.
    fn came(&mut self, event: ExecEvent) {
        match event {
            ExecEvent::Stdout(bytes) if !self.begun && REFUSAL.iter().any(|words| bytes.starts_with(words)) => {
                self.held = Some(bytes);
            }
            event => {
                self.ready.extend(self.held.take().map(ExecEvent::Stdout));
                self.ready.push_back(event);
            }
        }
        self.begun = true;
    }

    fn over(&mut self, number: i32) {
        self.finished = true;
        self.ending.over();
        let held = self.held.take().unwrap_or_default();
        let refused = matches!(number, 126 | 127) && !held.is_empty();
        let number = if refused { code(number, &String::from_utf8_lossy(&held)) } else { number };
        if !held.is_empty() {
            self.ready.push_back(if refused { ExecEvent::Stderr(held) } else { ExecEvent::Stdout(held) });
        }
        self.ready.push_back(ExecEvent::Exited(number));
    }

    /// Waits for the end of a command whose output has ended, which an engine notes a moment later, or much later when the
    /// command closed its output itself.
    async fn exit(&mut self) -> Result<i32, RuntimeError> {
        let [mut pause, longest] = PAUSES;
        loop {
            let (exec, client) = (&self.exec, &self.containers.client);
            let asked = client.ask(|docker| async move { docker.inspect_exec(exec).await }).await?;
            let told = asked.map_err(|error| self.containers.failed("the end of a command", &error))?;
            if let Some(code) = told.exit_code.filter(|_| told.running != Some(true)) {
                return Ok(i32::try_from(code).unwrap_or(255));
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }
}

/// The code of a command that could not be executed, as a shell has it.
fn code(number: i32, message: &str) -> i32 {
    let absent = ["executable file not found", "no such file or directory", "not found"];
    let message = message.to_ascii_lowercase();
    if absent.iter().any(|words| message.contains(words)) { 127 } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_in_the_answer_is_a_command_that_could_not_be_executed() {
        let answer = |message: &str| Error::DockerResponseServerError { status_code: 400, message: message.to_owned() };
        let absent = "OCI runtime exec failed: exec: \"x\": executable file not found in $PATH: unknown";
        let told: Vec<_> = refused(&answer(absent)).unwrap().collect().await;
        assert_eq!(told.last().unwrap().as_ref().unwrap(), &ExecEvent::Exited(127));
        let denied = "OCI runtime exec failed: exec: \"/etc\": permission denied: unknown";
        let told: Vec<_> = refused(&answer(denied)).unwrap().collect().await;
        assert_eq!(told.last().unwrap().as_ref().unwrap(), &ExecEvent::Exited(126));
        let other = Error::DockerResponseServerError { status_code: 409, message: "container is paused".to_owned() };
        assert!(refused(&other).is_none());
    }
}
