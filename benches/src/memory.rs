//! Memory of a control node and of an agent with nothing to do.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ring_testkit::{Cluster, RingNode, wait};

use crate::out;
use crate::table::Table;

/// Memory counts once it has kept within [`CHANGE`] for so long.
const QUIET: Duration = Duration::from_secs(10);
const CHANGE: f64 = 0.01;
const DEADLINE: Duration = Duration::from_mins(2);

/// Resident memory in KiB.
#[derive(Debug, Clone, Copy)]
struct Memory {
    /// All of it.
    resident: u64,
    /// What is not a page of a file: heap and stacks.
    anonymous: u64,
}

/// Starts three control nodes and an agent, waits until their memory is steady, and returns the table.
pub fn measure() -> Result<Table> {
    let cluster = Cluster::loopback(3, 1)?;
    let mut table = Table::new(&["idle process", "resident", "of it heap and stacks", "aim"]);
    let leader = cluster.leader()?;
    for (index, node) in cluster.controls().iter().enumerate() {
        let role = if index == leader { "control node, leader" } else { "control node, follower" };
        row(&mut table, role, settled(node)?, "60 MB");
    }
    row(&mut table, "agent", settled(cluster.agent(0))?, "20 MB");
    Ok(table)
}

fn row(table: &mut Table, what: &str, memory: Memory, aim: &str) {
    table.row([what.to_owned(), mb(memory.resident), mb(memory.anonymous), aim.to_owned()]);
}

/// The memory of a node once it is steady.
fn settled(node: &RingNode) -> Result<Memory> {
    let pid = node.pid().with_context(|| format!("{} does not run", node.name()))?;
    out::progress(&format!("waiting until the memory of {} is steady", node.name()));
    let mut since = (Instant::now(), read(pid)?.resident);
    wait::eventually(DEADLINE, "steady memory", || {
        let memory = read(pid)?;
        if (memory.resident as f64 / since.1 as f64 - 1.0).abs() > CHANGE {
            since = (Instant::now(), memory.resident);
        }
        Ok((since.0.elapsed() >= QUIET).then_some(memory))
    })
}

fn read(pid: i32) -> Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?)
    };
    Ok(Memory { resident: kib("VmRSS")?, anonymous: kib("RssAnon")? })
}

fn mb(kib: u64) -> String {
    format!("{:.1} MB", kib as f64 * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_process_is_read() {
        let memory = read(std::process::id() as i32).unwrap();
        assert!(memory.resident > 500 && memory.anonymous < memory.resident, "{memory:?}");
    }
}
