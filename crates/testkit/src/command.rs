//! Running a command to its end: output, exit code, and a deadline.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wait;

/// The deadline of a command for which none is given.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// What a finished command left behind.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The command line, for messages.
    pub command: String,
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// The command exited with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output without surrounding space; an error with both outputs when the command failed.
    pub fn ok(self) -> Result<String> {
        if self.success() {
            return Ok(self.stdout.trim().to_owned());
        }
        bail!("`{}` ended with {:?}\nstdout: {}\nstderr: {}", self.command, self.code, self.stdout, self.stderr)
    }

    /// Standard output of a successful command, parsed as JSON.
    pub fn json(self) -> Result<serde_json::Value> {
        let command = self.command.clone();
        let text = self.ok()?;
        serde_json::from_str(&text).with_context(|| format!("`{command}` printed no JSON: {text}"))
    }
}

/// Runs `command` to its end, at most [`DEADLINE`] long.
pub fn run(command: Command) -> Result<Outcome> {
    run_within(command, DEADLINE)
}

/// Runs `command` to its end; kills it and fails when that takes longer than `deadline`.
pub fn run_within(mut command: Command, deadline: Duration) -> Result<Outcome> {
    let line = describe(&command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    let stdout = child.stdout.take().map(drain);
    let stderr = child.stderr.take().map(drain);
    let status = wait::eventually(deadline, &format!("`{line}` to end"), || Ok(child.try_wait()?));
    if status.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (stdout, stderr) = (collect(stdout), collect(stderr));
    let status = status.with_context(|| format!("stdout: {stdout}\nstderr: {stderr}"))?;
    Ok(Outcome { command: line, code: status.code(), stdout, stderr })
}

/// A command line as a person would type it.
pub fn describe(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// Shorthand for a command with its arguments.
pub fn command<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(program: &str, arguments: I) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Reads a pipe to its end in the background, so that a talkative command never blocks.
fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn collect(reader: Option<JoinHandle<String>>) -> String {
    reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_outputs_are_kept_apart() {
        let outcome = run(command("sh", ["-c", "echo out; echo err >&2; exit 3"])).unwrap();
        assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (Some(3), "out\n", "err\n"));
        assert!(outcome.ok().unwrap_err().to_string().contains("err"));
    }

    #[test]
    fn a_command_that_hangs_is_killed() {
        let error = run_within(command("sleep", ["60"]), Duration::from_millis(50)).unwrap_err();
        assert!(format!("{error:#}").contains("`sleep 60` to end"), "{error:#}");
    }
}
