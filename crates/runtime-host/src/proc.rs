//! What `/proc` tells about processes.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::notice::wait_on;

/// How often a process is looked at where the kernel is too old to give notice (before Linux 5.3).
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A process for certain: its number, and when it began, as numbers are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// Clock ticks after boot.
    pub start: u64,
}

/// The fields of `/proc/<pid>/stat` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Which.
    pub id: ProcessId,
    /// Number of its parent.
    pub parent: i32,
    /// Number of its session.
    pub session: i32,
    /// It ended and only waits to be collected.
    pub zombie: bool,
    /// Processor time in clock ticks.
    pub own_ticks: u64,
    /// That of the children it has collected.
    pub collected_ticks: u64,
    /// Threads it has.
    pub threads: u64,
}

impl ProcessId {
    /// The process that has this number now.
    pub fn of(pid: i32) -> Option<Self> {
        stat(pid).map(|stat| stat.id)
    }

    /// Is it there and not ended?
    pub fn alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.id == self && !stat.zombie)
    }

    /// Sends a signal, when it is still there.
    pub fn signal(self, signal: Signal) {
        if self.alive()
            && let Some(pid) = self.raw()
        {
            // It may end at any moment.
            let _ = kill_process(pid, signal);
        }
    }

    /// Its number, as system calls take it.
    pub fn raw(self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }
}

/// Returns when the process has ended.
pub async fn gone(process: ProcessId) {
    let Some(pid) = process.raw() else { return };
    match pidfd_open(pid, PidfdFlags::empty()) {
        // Asked after opening: from here on the descriptor cannot mean another process.
        Ok(fd) if process.alive() => {
            if let Ok(fd) = wait_on(fd) {
                let _ = fd.readable().await;
                return;
            }
        }
        Ok(_) | Err(Errno::SRCH) => return,
        Err(_) => {}
    }
    while process.alive() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Identifies this run of the kernel; another value means that every process of before is gone.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Every process that can be seen.
pub fn all() -> impl Iterator<Item = Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(stat)
}

/// The living processes of a session that was led by `leader`, itself left out.
pub fn session_of(leader: ProcessId) -> Vec<ProcessId> {
    let member = |stat: &Stat| stat.session == leader.pid && stat.id.start >= leader.start && !stat.zombie;
    all().filter(member).map(|stat| stat.id).filter(|id| *id != leader).collect()
}

/// The living processes that were given this argument.
pub fn with_argument(argument: &OsStr) -> Vec<ProcessId> {
    let given = |pid: i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
    };
    all().filter(|stat| !stat.zombie && given(stat.id.pid)).map(|stat| stat.id).collect()
}

/// Bytes of memory only this process and what it shares memory with have, without files.
pub fn memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let of = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse().ok()
    };
    let kib = of("RssAnon:").unwrap_or_default() + of("RssShmem:").unwrap_or_default();
    kib * 1024
}

/// The process that has this number now.
pub fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The second field is the program's name in parentheses and may contain anything, so fields are counted after its end.
fn parse(line: &str) -> Option<Stat> {
    let pid = line.split(' ').next()?.parse().ok()?;
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let start = fields.get(19)?.parse().ok()?;
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    Some(Stat {
        id: ProcessId { pid, start },
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X" | "x"),
        own_ticks: number(11)? + number(12)?,
        collected_ticks: number(13)? + number(14)?,
        threads: number(17)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let line = "42 (a) (b c) Z 7 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 1 18446744073709551615";
        let expected = Stat {
            id: ProcessId { pid: 42, start: 98765 },
            parent: 7,
            session: 41,
            zombie: true,
            own_ticks: 11,
            collected_ticks: 15,
            threads: 1,
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("42 (cut"), None);
    }

    #[test]
    fn this_process_is_alive_and_another_start_is_not_it() {
        let me = ProcessId::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(me.alive());
        assert!(!ProcessId { start: me.start + 1, ..me }.alive());
        assert!(!boot_id().is_empty());
    }
}
