//! A program on a terminal of its own, used as a person would.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::{command, wait};

/// A program that runs on a terminal. Dropping it kills the program.
pub struct Terminal {
    keyboard: File,
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts `command` on a new terminal of this size, which it controls.
    pub fn spawn(command: &Command, (rows, columns): (u16, u16)) -> Result<Self> {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&keyboard)?;
        unlockpt(&keyboard)?;
        let name = std::ffi::OsString::from_vec(ptsname(&keyboard, Vec::new())?.into_bytes());
        let no_control = i32::try_from(rustix::fs::OFlags::NOCTTY.bits())?;
        let screen = OpenOptions::new().read(true).write(true).custom_flags(no_control).open(name)?;
        let keyboard = File::from(keyboard);
        tcsetwinsize(&keyboard, size(rows, columns))?;
        let mut starting = with_terminal(command);
        starting.stdin(screen.try_clone()?).stdout(screen.try_clone()?).stderr(screen);
        let child = starting.spawn().with_context(|| format!("cannot start `{}`", command::describe(command)))?;
        let seen = Arc::<Mutex<Vec<u8>>>::default();
        watch(keyboard.try_clone()?, Arc::clone(&seen));
        Ok(Self { keyboard, child, seen })
    }

    /// Types this.
    pub fn type_in(&self, keys: &str) -> Result<()> {
        Ok((&self.keyboard).write_all(keys.as_bytes())?)
    }

    /// Gives the terminal another size, which its program is told.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        Ok(tcsetwinsize(&self.keyboard, size(rows, columns))?)
    }

    /// Everything that was shown so far.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&lock(&self.seen)).into_owned()
    }

    /// Waits until this is shown.
    pub fn wait_shown(&self, text: &str, deadline: Duration) -> Result<()> {
        wait::until(deadline, &format!("'{text}' on the terminal"), || self.shown().contains(text))
            .with_context(|| format!("shown: {}", self.shown()))
    }

    /// How the terminal treats keys now.
    pub fn modes(&self) -> Result<Termios> {
        Ok(tcgetattr(&self.keyboard)?)
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits for the program's end.
    pub fn wait_exit(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let child = &mut self.child;
        let ended = wait::eventually(deadline, "the program on the terminal to end", || Ok(child.try_wait()?));
        ended.with_context(|| format!("shown: {}", self.shown()))
    }
}

const fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// The same command, with its standard input as the terminal it controls.
fn with_terminal(command: &Command) -> Command {
    let mut with = Command::new("setsid");
    with.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => with.env(name, value),
            None => with.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        with.current_dir(dir);
    }
    with
}

/// Reads what is shown until nothing has the terminal open any more.
fn watch(mut from: File, seen: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            lock(&seen).extend_from_slice(&buffer[..count]);
        }
    });
}

fn lock(seen: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::command;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn keys_and_sizes_reach_a_program() {
        let script = "trap 'stty size' WINCH; stty size; echo ready; while read line; do echo \"line $line\"; done; exit 3";
        let mut terminal = Terminal::spawn(&command("bash", ["-c", script]), (30, 90)).unwrap();
        terminal.wait_shown("30 90", SOON).unwrap();
        terminal.wait_shown("ready", SOON).unwrap();
        terminal.type_in("hello\n").unwrap();
        terminal.wait_shown("line hello", SOON).unwrap();
        terminal.resize(31, 91).unwrap();
        // bash runs its trap when the read it interrupted is over.
        terminal.type_in("again\n").unwrap();
        terminal.wait_shown("31 91", SOON).unwrap();
        terminal.type_in("\x04").unwrap();
        assert_eq!(terminal.wait_exit(SOON).unwrap().code(), Some(3));
    }
}
