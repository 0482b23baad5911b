//! What a process, its network and its directories have.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::world::World;

/// What is on its way out is gone by then.
const GONE: Duration = Duration::from_secs(10);

/// How many there are of everything that could be left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Children of this process, also those that ended and nobody collected, and whoever has to do with a world.
    processes: usize,
    taps: usize,
    /// Lines of the packet filter.
    rules: usize,
    /// Unix sockets of the network namespace, with those of VMMs and helpers.
    sockets: usize,
    /// Files and sockets this process has open.
    open: usize,
    /// Files, directories and sockets below the directories of the worlds.
    files: usize,
}

impl Counted {
    /// Counts until it is as it should be, or does not become so any more.
    pub(crate) async fn settled(worlds: &[&World], wanted: Option<&Self>) -> Self {
        let begun = Instant::now();
        let mut last = Self::now(worlds);
        loop {
            // Whoever collects children is a task of the same thread.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let next = Self::now(worlds);
            let done = wanted.map_or(next == last, |wanted| *wanted == next);
            if done || begun.elapsed() > GONE {
                return next;
            }
            last = next;
        }
    }

    fn now(worlds: &[&World]) -> Self {
        Self {
            processes: children() + worlds.iter().map(|world| world.processes().len()).sum::<usize>(),
            taps: crate::apart::taps(),
            rules: rules(),
            sockets: fs::read_to_string("/proc/thread-self/net/unix").unwrap().lines().count(),
            open: fs::read_dir("/proc/self/fd").unwrap().count(),
            files: worlds.iter().map(|world| below(world.dir.path())).sum(),
        }
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processes, taps, rules, sockets, open, files } = self;
        write!(f, "{processes} processes, {taps} taps, {rules} rules, {sockets} sockets, {open} open files, {files} files")
    }
}

fn children() -> usize {
    let own = std::process::id().to_string();
    let stats = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    // The name is in parentheses and may have anything in it; the parent is the second word after it.
    let parent = |stat: String| stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1).map(ToOwned::to_owned));
    stats.filter_map(parent).filter(|parent| *parent == own).count()
}

fn rules() -> usize {
    let saved = Command::new("iptables-save").output().unwrap();
    let text = String::from_utf8_lossy(&saved.stdout).into_owned();
    text.lines().filter(|line| line.starts_with('-')).count()
}

fn below(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| 1 + if entry.file_type().is_ok_and(|kind| kind.is_dir()) { below(&entry.path()) } else { 0 }).sum()
}
