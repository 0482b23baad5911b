//! What the guest uses.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ring_guest::Measured;

use super::proc;

/// Hundredths of a second, in which Linux counts processor time for programs, as microseconds.
const TICK: u64 = 10_000;

/// Measures.
pub(super) struct Meter {
    /// Everything in memory is the guest's; else its processes' share of a host's.
    whole_machine: bool,
    since: Instant,
    /// A process that is collected between two looks moves its time from one place to another; counters do not go back.
    cpu: AtomicU64,
}

impl Meter {
    pub(super) fn new(whole_machine: bool) -> Self {
        Self { whole_machine, since: Instant::now(), cpu: AtomicU64::new(0) }
    }

    pub(super) fn measure(&self) -> Measured {
        let all = proc::descendants();
        let ticks = all.iter().chain(&proc::this()).map(|process| process.ticks).sum::<u64>();
        let cpu = self.cpu.fetch_max(ticks * TICK, Ordering::Relaxed).max(ticks * TICK);
        let memory = memory_info();
        Measured {
            uptime: self.since.elapsed().as_millis() as u64,
            memory: if self.whole_machine {
                memory.total.saturating_sub(memory.available)
            } else {
                all.iter().map(|process| resident(process.pid)).sum()
            },
            memory_total: memory.total,
            cpu,
            threads: all.iter().filter(|process| !process.zombie).map(|process| process.threads).sum(),
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Memory {
    total: u64,
    available: u64,
}

fn memory_info() -> Memory {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Memory { total: kilobytes(&text, "MemTotal:"), available: kilobytes(&text, "MemAvailable:") }
}

/// Memory of one process that is its own.
fn resident(pid: i32) -> u64 {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), "RssAnon:")
}

/// A figure in bytes of a file that has kilobytes; 0 when it is not there.
fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// How often the kernel has killed something for want of memory.
pub(super) fn oom_kills() -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_the_kernel_writes() {
        let text = "MemTotal:       2048 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(
            (kilobytes(text, "MemTotal:"), kilobytes(text, "MemAvailable:"), kilobytes(text, "X:")),
            (2 << 20, 1 << 20, 0)
        );
        assert!(memory_info().total > memory_info().available);
        assert!(resident(std::process::id() as i32) > 0);
    }
}
