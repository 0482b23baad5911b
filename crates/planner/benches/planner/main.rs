//! Planner and state in memory, at the size they are made for.
//!
//! One thread that waits for nothing: long times are processor time, so that what else the machine does counts little; short ones
//! are medians by the clock.
//!
//! `cargo bench -p ring-planner` measures 10,000 nodes and 1,000,000 instances; after `--` other sizes can be given.

// Results of the planner and of the state fail a run by panicking.
#![allow(clippy::unwrap_used)]

mod change;
mod entries;
mod fill;
mod lookups;
mod process;
mod world;

// The same table, times and output as those of the other figures.
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../../../benches/src/out.rs"]
mod out;
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../../../benches/src/stats.rs"]
mod stats;
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../../../benches/src/table.rs"]
mod table;

use clap::Parser;

use world::World;

/// Measures the planner and the state of a large cluster in memory.
#[derive(Debug, Parser)]
#[command(name = "planner")]
struct Arguments {
    /// Nodes
    #[arg(long, default_value_t = 10_000)]
    nodes: u32,
    /// Deployments of the largest cluster; a tenth and a hundredth of them are measured beside it
    #[arg(long, default_value_t = 100_000)]
    deployments: u32,
    /// Instances of each
    #[arg(long, default_value_t = 10)]
    replicas: u32,
    /// How often each single thing is measured
    #[arg(long, default_value_t = 301)]
    times: usize,
    /// What `cargo bench` adds to the arguments of every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let mut arguments = Arguments::parse();
    if !arguments.bench {
        // Run as a test of itself.
        (arguments.nodes, arguments.deployments, arguments.times) = (200, 1_000, 3);
    }
    let Arguments { nodes, deployments, replicas, times, .. } = arguments;
    out::progress(&format!("{nodes} nodes, {deployments} deployments of {replicas}"));
    let empty = World::with_nodes(nodes);
    let (large, filled) = fill::measure(&empty, deployments, replicas);
    let mut tables = vec![filled];
    let mut worlds: Vec<World> = [deployments / 100, deployments / 10]
        .into_iter()
        .map(|fewer| {
            out::progress(&format!("beside it {fewer} deployments"));
            fill::fill(&empty, fewer, replicas)
        })
        .collect();
    worlds.push(large);
    for world in &mut worlds {
        world.furnish();
    }
    out::progress("searches");
    tables.push(fill::searches(worlds.last_mut().unwrap(), times));
    out::progress("one change");
    tables.push(change::measure(&mut worlds, times));
    out::progress("entries");
    tables.push(entries::measure(worlds.last().unwrap(), times));
    out::progress("look-ups");
    tables.push(lookups::measure(&worlds, times));
    for table in tables {
        out::line(&format!("{}\n", table.render()));
    }
}
