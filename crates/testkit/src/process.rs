//! A long-running process started by a test: its signals, its log, its end.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::{command, wait};

/// How much of a log goes into an error message.
const TAIL: usize = 4096;

/// A running child process; dropping it kills and reaps it.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    /// Not reaped before its end is asked for, so `pid` stays ours as long as this is held.
    child: Mutex<Child>,
    log: PathBuf,
    /// Where in the log this process began: a restarted one appends to the log of its predecessor.
    log_start: u64,
}

impl Process {
    /// Starts `command`; both its outputs are appended to `log`.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let line = command::describe(&command);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open the log {}", log.display()))?;
        let log_start = file.metadata()?.len();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start `{line}`"))?;
        let pid = Pid::from_child(&child);
        Ok(Self { name: name.to_owned(), pid, child: Mutex::new(child), log: log.to_owned(), log_start })
    }

    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// The file both outputs go to.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// What this process wrote so far.
    pub fn log(&self) -> Result<String> {
        let mut file = File::open(&self.log)?;
        file.seek(SeekFrom::Start(self.log_start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// SIGKILL, and waits for the end.
    pub fn kill9(&self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.wait_exit(Duration::from_secs(10)).map(drop)
    }

    /// SIGSTOP: the process keeps its sockets and answers nobody.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM; does not wait.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&self, deadline: Duration) -> Result<ExitStatus> {
        self.terminate()?;
        self.wait_exit(deadline)
    }

    /// Its exit status, when it has ended.
    pub fn exited(&self) -> Result<Option<ExitStatus>> {
        Ok(self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait()?)
    }

    /// Waits for its end.
    pub fn wait_exit(&self, deadline: Duration) -> Result<ExitStatus> {
        wait::eventually(deadline, &format!("{} to end", self.name), || self.exited()).with_context(|| self.tail())
    }

    /// Waits until its log contains `text`; fails early when it ends without having written that.
    pub fn wait_log(&self, text: &str, deadline: Duration) -> Result<()> {
        let found = wait::eventually(deadline, &format!("'{text}' in the log of {}", self.name), || {
            // The end is asked for first: what was written before it is then complete.
            let ended = self.exited()?.is_some();
            let seen = self.log()?.contains(text);
            Ok((seen || ended).then_some(seen))
        });
        match found {
            Ok(true) => Ok(()),
            Ok(false) => anyhow::bail!("{} ended without '{text}' in its log\n{}", self.name, self.tail()),
            Err(error) => Err(error.context(self.tail())),
        }
    }

    /// The end of its log, headed by its name.
    pub fn tail(&self) -> String {
        let log = self.log().unwrap_or_default();
        let mut from = log.len().saturating_sub(TAIL);
        while !log.is_char_boundary(from) {
            from += 1;
        }
        format!("--- log of {} ({})\n{}", self.name, self.log.display(), &log[from..])
    }

    /// Sends a signal; to one that has ended already it does nothing.
    fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.try_wait()?.is_none() {
            kill_process(self.pid, signal).with_context(|| format!("cannot signal {}", self.name))?;
        }
        Ok(())
    }
}

/// Memory of a process, bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// All that is resident.
    pub resident: u64,
    /// What of it is no page of a file: heap and stacks.
    pub own: u64,
}

impl Memory {
    /// Of the process of that id, as the kernel says.
    pub fn of(pid: i32) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let bytes = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
            Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
        };
        Ok(Self { resident: bytes("VmRSS:")?, own: bytes("RssAnon:")? })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::command;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn the_memory_of_a_process_is_read() {
        let memory = Memory::of(std::process::id() as i32).unwrap();
        assert!(memory.resident > 500 << 10 && memory.own < memory.resident, "{memory:?}");
    }

    fn shell(dir: &tempfile::TempDir, script: &str) -> Process {
        Process::spawn("shell", command("sh", ["-c", script]), &dir.path().join("log")).unwrap()
    }

    #[test]
    fn logs_and_exit_code_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let process = shell(&dir, "echo ready; exit 7");
        process.wait_log("ready", SOON).unwrap();
        assert_eq!(process.wait_exit(SOON).unwrap().code(), Some(7));
    }

    #[test]
    fn a_restarted_process_has_a_log_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        shell(&dir, "echo first").wait_exit(SOON).unwrap();
        let second = shell(&dir, "echo second");
        assert!(second.wait_log("first", SOON).is_err());
        assert_eq!(std::fs::read_to_string(second.log_path()).unwrap(), "first\nsecond\n");
    }

    #[test]
    fn a_paused_process_makes_no_progress() {
        let dir = tempfile::tempdir().unwrap();
        let process = shell(&dir, "echo up; while true; do date +%N; done");
        process.wait_log("up", SOON).unwrap();
        process.pause().unwrap();
        wait::until(SOON, "the stopped state", || state_of(process.pid()) == 'T').unwrap();
        process.resume().unwrap();
        wait::until(SOON, "another state", || state_of(process.pid()) != 'T').unwrap();
        process.kill9().unwrap();
        assert_eq!(process.exited().unwrap().unwrap().code(), None);
    }

    fn state_of(pid: i32) -> char {
        crate::sweep::state(pid).unwrap()
    }
}
