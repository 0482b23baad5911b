//! Memory of a control node and of an agent with nothing to do.

use std::time::{Duration, Instant};

use anyhow::Result;
use ring_testkit::process::Memory;
use ring_testkit::{Cluster, RingNode, wait};

use crate::out;
use crate::table::Table;

/// Memory counts once it has kept within [`CHANGE`] for so long.
const QUIET: Duration = Duration::from_secs(10);
const CHANGE: f64 = 0.01;
const DEADLINE: Duration = Duration::from_mins(2);

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
    table.row([what.to_owned(), mb(memory.resident), mb(memory.own), aim.to_owned()]);
}

/// The memory of a node once it is steady.
fn settled(node: &RingNode) -> Result<Memory> {
    out::progress(&format!("waiting until the memory of {} is steady", node.name()));
    let mut since = (Instant::now(), node.memory()?.resident);
    wait::eventually(DEADLINE, "steady memory", || {
        let memory = node.memory()?;
        if (memory.resident as f64 / since.1 as f64 - 1.0).abs() > CHANGE {
            since = (Instant::now(), memory.resident);
        }
        Ok((since.0.elapsed() >= QUIET).then_some(memory))
    })
}

fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
