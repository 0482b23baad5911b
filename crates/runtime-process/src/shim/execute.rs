//! The one execution.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ring_types::{Outcome, StartFailure};
use rustix::io::Errno;

use crate::cgroup::Cgroup;
use crate::env::{Order, complete};
use crate::record::Record;

/// What became of it.
pub(super) enum Executed {
    /// The workload runs.
    Running(Box<Child>),
    /// It does not, and did not for a moment.
    Failed {
        /// What is recorded.
        outcome: Outcome,
        /// What the log says.
        message: String,
    },
}

/// Executes the workload, in its own process group, as its user, inside its control group.
pub(super) fn execute(order: &Order, work: &Path, cgroup: Option<&Cgroup>) -> Executed {
    let Some(mut command) = command(&order.record.command, &order.environment, &order.record, work) else {
        return failed(not_started(StartFailure::Create, "there is no command"), "there is no command".to_owned());
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let program = order.record.command[0].as_str();
    match spawn_inside(&mut command, cgroup) {
        Ok(child) => Executed::Running(Box::new(child)),
        Err(error) => refused(program, &error),
    }
}

/// A command as the user of an instance and with its environment; None when there are no words.
pub(super) fn command(words: &[String], environment: &BTreeMap<String, String>, record: &Record, work: &Path) -> Option<Command> {
    let (program, arguments) = words.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(complete(environment, &work.to_string_lossy()));
    if let Some(group) = record.group {
        command.gid(group);
    }
    if let Some(user) = record.user {
        command.uid(user);
    }
    Some(command)
}

/// A child begins life in the control group of its parent, so this process goes there for the moment of the execution.
pub(super) fn spawn_inside(command: &mut Command, cgroup: Option<&Cgroup>) -> io::Result<Child> {
    let entered = cgroup.map(Cgroup::enter);
    let child = command.spawn();
    if entered.is_some() {
        // Staying inside would be no harm but for the memory limit; there is nothing better to do when it fails.
        let _ = cgroup.map(Cgroup::leave);
    }
    child
}

/// As a shell has it: 127 for a program that is not there, 126 for one that cannot be executed.
fn refused(program: &str, error: &io::Error) -> Executed {
    let message = format!("cannot execute '{program}': {error}");
    let outcome = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => not_started(StartFailure::Other, &message),
        _ => Outcome::Code(code(error).into()),
    };
    failed(outcome, message)
}

/// The code of a command that cannot be executed.
pub(super) fn code(error: &io::Error) -> u8 {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NOTDIR) => 127,
        _ => 126,
    }
}

fn failed(outcome: Outcome, message: String) -> Executed {
    Executed::Failed { outcome, message }
}

fn not_started(cause: StartFailure, message: &str) -> Outcome {
    Outcome::NotStarted { cause, message: message.to_owned() }
}
