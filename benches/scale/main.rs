//! `scale`: measures clusters of real processes and prints one table of figures.
//!
//! `cargo build --release && cargo bench -p ring-benches` runs all of it; `-- commits --rounds 5` after that a part.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use ring_benches::commits;
use ring_benches::load::Spans;
use ring_benches::machine::Machine;
use ring_benches::table::Table;
use ring_benches::{etcd::Etcd, failover, jobs, memory, out, start};
use tokio::runtime::Runtime;

/// A figure, or group of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// Replicated commits a second beside etcd.
    Commits,
    /// Apply to a running container beside docker run (needs root).
    Start,
    /// Idle memory.
    Memory,
    /// Leader killed to the next acknowledged write.
    Failover,
    /// Job applied to its final status.
    Jobs,
}

/// Measures clusters of `ring` processes on this machine.
#[derive(Debug, Parser)]
#[command(name = "scale")]
struct Arguments {
    /// What to measure; everything when nothing is named
    figures: Vec<Figure>,
    /// Clients in flight
    #[arg(long, value_delimiter = ',', default_value = "1,64,1000")]
    clients: Vec<usize>,
    /// Seconds a measurement of commits takes, after two more to warm up
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// How often each measurement of commits is taken; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measure ring alone
    #[arg(long)]
    no_etcd: bool,
    /// Let etcd's members encrypt what they say to each other, as ring's do
    #[arg(long)]
    etcd_peer_tls: bool,
    /// How often the leader is killed
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// Jobs through the API, and again through the command line
    #[arg(long, default_value_t = 100)]
    jobs: usize,
    /// Containers started each way
    #[arg(long, default_value_t = 30)]
    starts: usize,
    /// What `cargo bench` adds to the arguments of every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let machine = Machine::look()?;
    let binary = ring_testkit::cli::binary().context("scale measures the release build: run `cargo build --release` first")?;
    let runtime = Runtime::new()?;
    let mut tables = Vec::new();
    for figure in [Figure::Commits, Figure::Start, Figure::Memory, Figure::Failover, Figure::Jobs] {
        if arguments.figures.is_empty() || arguments.figures.contains(&figure) {
            tables.extend(measure(figure, &runtime, &arguments)?);
        }
    }
    out::line(&machine.describe()?);
    out::line(&format!("ring: {}", binary.display()));
    if !arguments.no_etcd {
        out::line(&format!(
            "etcd: {}, members speak {}",
            Etcd::version()?,
            if arguments.etcd_peer_tls { "TLS" } else { "plaintext" }
        ));
    }
    for table in tables {
        out::line(&format!("\n{}", table.render()));
    }
    Ok(())
}

fn measure(figure: Figure, runtime: &Runtime, arguments: &Arguments) -> Result<Option<Table>> {
    out::progress(&format!("measuring {figure:?}"));
    Ok(match figure {
        Figure::Commits => Some(commits::measure(runtime, &commit_options(arguments))?),
        Figure::Start => start::measure(runtime, arguments.starts)?,
        Figure::Memory => Some(memory::measure()?),
        Figure::Failover => Some(failover::measure(runtime, arguments.kills)?),
        Figure::Jobs => Some(jobs::measure(runtime, arguments.jobs)?),
    })
}

fn commit_options(arguments: &Arguments) -> commits::Options {
    commits::Options {
        clients: arguments.clients.clone(),
        spans: Spans { warm_up: Duration::from_secs(2), measured: Duration::from_secs(arguments.seconds) },
        rounds: arguments.rounds,
        etcd: !arguments.no_etcd,
        etcd_peer_tls: arguments.etcd_peer_tls,
    }
}
