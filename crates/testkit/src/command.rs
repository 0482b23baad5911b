//! Running a command to its end: output, exit code, and a deadline.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
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
    // Files, not pipes: what the command leaves running in the background may hold its outputs open for ever.
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    let status = wait::eventually(deadline, &format!("`{line}` to end"), || Ok(child.try_wait()?));
    if status.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (stdout, stderr) = (contents(&mut stdout)?, contents(&mut stderr)?);
    let status = status.with_context(|| format!("stdout: {stdout}\nstderr: {stderr}"))?;
    Ok(Outcome { command: line, code: status.code(), stdout, stderr })
}

fn contents(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
    fn what_stays_in_the_background_is_not_waited_for() {
        let outcome = run_within(command("sh", ["-c", "sleep 5 & echo done"]), Duration::from_secs(4)).unwrap();
        assert_eq!(outcome.ok().unwrap(), "done");
    }

    #[test]
    fn a_command_that_hangs_is_killed() {
        let error = run_within(command("sleep", ["60"]), Duration::from_millis(50)).unwrap_err();
        assert!(format!("{error:#}").contains("`sleep 60` to end"), "{error:#}");
    }
}
