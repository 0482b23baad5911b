//! Processor time: what the measured processes used, and how much of the machine everybody else took meanwhile.
//!
//! On a machine that is not idle a rate says little by itself; the share of the others says how far it can be trusted.

use std::fs;

use anyhow::{Context, Result};

/// Ticks of `/proc` a second: fixed by the kernel's interface on the architectures ring is built for.
const TICKS: f64 = 100.0;

/// Counters at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Busy ticks of the whole machine.
    busy: u64,
    /// All ticks of the whole machine.
    total: u64,
    /// Ticks of the processes asked about.
    servers: u64,
    /// Ticks of this process.
    own: u64,
}

/// Use between two readings.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// Seconds the processes asked about used, together.
    pub servers: f64,
    /// Seconds this process used for making the load.
    pub own: f64,
    /// Part of the machine's processor time that others used, 0 to 1.
    pub others: f64,
}

impl Reading {
    /// Reads all counters.
    pub fn now(servers: &[i32]) -> Result<Self> {
        let (busy, total) = machine()?;
        let servers = servers.iter().map(|pid| process(*pid)).sum::<Result<u64>>()?;
        Ok(Self { busy, total, servers, own: process(std::process::id() as i32)? })
    }

    /// What was used since an earlier reading of the same processes.
    pub fn since(&self, earlier: &Self) -> Used {
        let servers = self.servers - earlier.servers;
        let own = self.own - earlier.own;
        let busy = (self.busy - earlier.busy).saturating_sub(servers + own);
        let total = (self.total - earlier.total).max(1);
        Used { servers: servers as f64 / TICKS, own: own as f64 / TICKS, others: busy as f64 / total as f64 }
    }
}

/// Busy and all ticks of the machine; time stolen by the hypervisor counts as busy, for it was not ours.
fn machine() -> Result<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    // user nice system idle iowait irq softirq steal; guest time is part of user.
    let fields: Vec<u64> = line.split_whitespace().skip(1).take(8).map(str::parse).collect::<Result<_, _>>()?;
    let total = fields.iter().sum();
    let idle = fields.get(3..5).context("/proc/stat has too few fields")?.iter().sum::<u64>();
    Ok((total - idle, total))
}

/// Ticks a process used, all its threads, ended ones too.
fn process(pid: i32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    // The command's name stands in parentheses and may itself contain some; the state is field 3, utime field 14.
    let (_, fields) = stat.rsplit_once(") ").context("a process without a name")?;
    fields.split(' ').skip(11).take(2).map(|field| Ok(field.parse::<u64>()?)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_work_is_not_that_of_others() {
        let own = std::process::id() as i32;
        let before = Reading::now(&[own]).unwrap();
        let mut sum = 0_u64;
        let start = std::time::Instant::now();
        while start.elapsed().as_millis() < 200 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let used = Reading::now(&[own]).unwrap().since(&before);
        assert!(used.own > 0.02, "{used:?}");
        assert!((used.own - used.servers).abs() < 0.1, "the same process, asked twice: {used:?}");
    }
}
