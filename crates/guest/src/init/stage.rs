//! The last moments before a program has its turn: a copy of this program becomes its user, goes to its directory, and executes
//! it. So nothing has to be done between fork and execution in a process that has threads.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::process::{ioctl_tiocsctty, setsid, umask};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

use super::users::Ids;

/// What the copy is called.
pub(super) const NAME: &str = "ring-stage";

/// A terminal is on standard input, and the session is to have it.
const TERMINAL: &str = "terminal";
const PIPES: &str = "pipes";

/// In what surroundings a program is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// The whole environment.
    pub(super) env: Vec<(String, String)>,
    /// Working directory.
    pub(super) cwd: String,
    /// None: as whoever the init is.
    pub(super) ids: Option<Ids>,
}

/// A command that executes these words in these surroundings. Where its outputs go is the caller's.
pub(super) fn command(words: &[String], surroundings: &Surroundings, terminal: bool) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(NAME).env_clear().envs(surroundings.env.iter().map(|(name, value)| (name, value)));
    command.arg(if terminal { TERMINAL } else { PIPES });
    command.arg(surroundings.ids.as_ref().map_or_else(String::new, Ids::to_string));
    command.arg(&surroundings.cwd).args(words);
    command
}

/// Executes the program; returns when that did not work, with the code of a shell.
pub(super) fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let [terminal, ids, cwd] = [(); 3].map(|()| arguments.next().unwrap_or_default());
    let program = arguments.next().unwrap_or_default();
    if let Err(error) = prepare(&terminal, &ids, &cwd) {
        say(&format!("cannot prepare '{}': {error}", program.display()));
        return ExitCode::from(126);
    }
    let error = Command::new(&program).args(arguments).exec();
    say(&format!("cannot execute '{}': {error}", program.display()));
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NOTDIR) => ExitCode::from(127),
        _ => ExitCode::from(126),
    }
}

fn prepare(terminal: &OsStr, ids: &OsStr, cwd: &OsStr) -> io::Result<()> {
    setsid()?;
    if terminal == TERMINAL {
        ioctl_tiocsctty(io::stdin())?;
    }
    umask(Mode::from_raw_mode(0o022));
    // As root first: a user may be given a directory that leads through others' closed ones.
    std::env::set_current_dir(cwd)?;
    let ids = ids.to_str().filter(|ids| !ids.is_empty());
    if let Some(ids) = ids.map(str::parse::<Ids>) {
        let ids = ids.map_err(io::Error::other)?;
        let groups: Vec<Gid> = ids.groups.iter().copied().map(Gid::from_raw).collect();
        // There is one thread.
        set_thread_groups(&groups)?;
        set_thread_gid(Gid::from_raw(ids.gid))?;
        set_thread_uid(Uid::from_raw(ids.uid))?;
    }
    Ok(())
}

fn say(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}
