//! Processes as `/proc` shows them.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process};

/// A killed process goes at once unless it hangs in the kernel; then it is left.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at what has been killed.
const LOOK: Duration = Duration::from_millis(5);

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) session: i32,
    pub(super) zombie: bool,
    /// Processor time of itself and of the children it has collected, in hundredths of a second.
    pub(super) ticks: u64,
    pub(super) threads: u64,
}

/// Every process there is.
fn all() -> Vec<Process> {
    let found = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = found.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect()
}

/// The name of a process, in brackets, may have anything in it.
fn parse(stat: &str) -> Option<Process> {
    let pid = stat.split_once(' ')?.0.parse().ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<i64>().ok();
    let ticks = (11..15).map(|index| number(index).unwrap_or(0).unsigned_abs()).sum();
    Some(Process {
        pid,
        parent: number(1)? as i32,
        session: number(3)? as i32,
        zombie: fields.first() == Some(&"Z"),
        ticks,
        threads: number(17)?.unsigned_abs(),
    })
}

/// This process.
pub(super) fn this() -> Option<Process> {
    parse(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// Has this process ended?
pub(super) fn is_gone(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.ok().and_then(|stat| parse(&stat)).is_none_or(|process| process.zombie)
}

/// What descends from this process.
pub(super) fn descendants() -> Vec<Process> {
    let (own, all) = (getpid().as_raw_pid(), all());
    let parents: HashMap<i32, i32> = all.iter().map(|process| (process.pid, process.parent)).collect();
    all.into_iter().filter(|process| descends(process.pid, own, &parents)).collect()
}

fn descends(pid: i32, from: i32, parents: &HashMap<i32, i32>) -> bool {
    let mut at = pid;
    // A look at what changes meanwhile can show a circle.
    for _ in 0..parents.len() {
        match parents.get(&at) {
            Some(&parent) if parent == from => return true,
            Some(&parent) => at = parent,
            None => return false,
        }
    }
    false
}

/// Ends everything that descends from this process.
pub(super) fn end_all() {
    end(descendants);
}

/// Ends the session of a command, and what descends from it.
pub(super) fn end_session(leader: i32) {
    end(|| of_session(leader));
}

/// Sends SIGKILL to the session of a command, once.
pub(super) fn kill_session(leader: i32) {
    kill(&of_session(leader));
}

/// Sends SIGKILL to everything that descends from this process, once.
pub(super) fn kill_all() {
    kill(&descendants());
}

fn of_session(leader: i32) -> Vec<Process> {
    let all = descendants();
    let parents: HashMap<i32, i32> = all.iter().map(|process| (process.pid, process.parent)).collect();
    let mut members = all;
    members.retain(|process| process.session == leader || process.pid == leader || descends(process.pid, leader, &parents));
    members
}

fn end(look: impl Fn() -> Vec<Process>) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let left = look();
        if left.iter().all(|process| process.zombie) {
            return;
        }
        kill(&left);
        std::thread::sleep(LOOK);
    }
}

fn kill(processes: &[Process]) {
    for pid in processes.iter().filter(|process| !process.zombie).filter_map(|process| Pid::from_raw(process.pid)) {
        // Gone meanwhile is as good.
        let _ = kill_process(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_anything_in_it_is_a_name() {
        let stat = "7 (a) Z 9 (b) S 1 6 5 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 3 0 100 0 0";
        let expected = Process { pid: 7, parent: 1, session: 5, zombie: false, ticks: 100, threads: 3 };
        assert_eq!(parse(stat), Some(expected));
        assert_eq!(parse("7 (a"), None);
        assert_eq!(this().map(|process| process.pid), Some(getpid().as_raw_pid()));
    }

    #[test]
    fn ancestors_are_found_and_circles_left() {
        let parents = HashMap::from([(2, 1), (3, 2), (4, 5), (5, 4)]);
        assert!(descends(3, 1, &parents) && descends(2, 1, &parents));
        assert!(!descends(1, 3, &parents) && !descends(4, 1, &parents));
    }
}
