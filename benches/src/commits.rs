//! Replicated commits through three processes, beside etcd: rates, latencies and their ratio, taken in turns in one run.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use ring_testkit::Cluster;
use ring_testkit::cluster::Options as ClusterOptions;
use tokio::runtime::Runtime;

use crate::etcd::{Etcd, GrpcWriter, JsonWriter};
use crate::load::{self, Load, Spans};
use crate::out;
use crate::ring::{self, NO_LIMITS, Object, RingWriter};
use crate::stats::{median, ms};
use crate::table::Table;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Clients in flight, one measurement each.
    pub clients: Vec<usize>,
    /// How long each measurement takes.
    pub spans: Spans,
    /// How often every measurement is taken; the median counts.
    pub rounds: usize,
    /// Without it only ring is measured.
    pub etcd: bool,
    /// etcd's members encrypt what they say to each other, as ring's always do.
    pub etcd_peer_tls: bool,
}

/// Which servers the clients talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Leader,
    All,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Leader => "the leader",
            Self::All => "all three",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    Ring,
    EtcdGrpc,
    EtcdJson,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring, REST",
            Self::EtcdGrpc => "etcd, gRPC",
            Self::EtcdJson => "etcd, JSON",
        }
    }
}

/// All rounds of one line of the table.
#[derive(Debug)]
struct Line {
    clients: usize,
    target: Target,
    system: System,
    rounds: Vec<Load>,
}

/// What runs while it is measured.
struct Systems {
    ring: Cluster,
    /// One for each client.
    objects: Vec<Object>,
    etcd: Option<Etcd>,
}

/// Measures everything and returns the table.
pub fn measure(runtime: &Runtime, options: &Options) -> Result<Table> {
    let etcd = if options.etcd { Some(Etcd::start(options.etcd_peer_tls)?) } else { None };
    let ring = Cluster::loopback_with(3, 0, &ClusterOptions::default().config(NO_LIMITS))?;
    let most = options.clients.iter().copied().max().unwrap_or_default();
    let objects = runtime.block_on(Object::make(ring.control(0).api(), ring.token(), most))?;
    // A follower refuses to replace what it has not seen yet.
    ring.wait_same_state()?;
    let systems = Systems { ring, objects, etcd };
    let mut lines = lines(options);
    for round in 1..=options.rounds {
        for line in &mut lines {
            let load = runtime.block_on(systems.load(line, options.spans)).with_context(|| systems.ring.tails())?;
            let Line { clients, target, system, .. } = line;
            let (system, target, rate, cpu) = (system.name(), target.name(), load.rate, load.cpu);
            let (others, own) = (100.0 * cpu.others, cpu.own);
            out::progress(&format!(
                "round {round}: {clients} clients of {target}, {system}: {rate:.0}/s, {:.0} µs of server time each, load {own:.1} s, others {others:.0} %",
                load.server_cpu_us()
            ));
            line.rounds.push(load);
        }
    }
    Ok(table(&lines))
}

/// The systems of one comparison stand side by side, so that a disturbance of the machine meets all of them.
fn lines(options: &Options) -> Vec<Line> {
    let mut systems = vec![System::Ring];
    if options.etcd {
        systems.extend([System::EtcdGrpc, System::EtcdJson]);
    }
    let mut lines = Vec::new();
    for &clients in &options.clients {
        for target in [Target::Leader, Target::All] {
            lines.extend(systems.iter().map(|&system| Line { clients, target, system, rounds: Vec::new() }));
        }
    }
    lines
}

impl Systems {
    async fn load(&self, line: &Line, spans: Spans) -> Result<Load> {
        let clients = line.clients;
        match (line.system, &self.etcd) {
            (System::Ring, _) => {
                let objects = &self.objects[..clients];
                let writers = RingWriter::many(&self.ring_targets(line.target)?, self.ring.token(), objects).await?;
                load::run(writers, spans, &self.ring_pids()).await
            }
            (System::EtcdGrpc, Some(etcd)) => {
                let writers = GrpcWriter::many(&etcd_targets(etcd, line.target)?, clients).await?;
                load::run(writers, spans, &etcd.pids()).await
            }
            (System::EtcdJson, Some(etcd)) => {
                let writers = JsonWriter::many(&etcd_targets(etcd, line.target)?, clients).await?;
                load::run(writers, spans, &etcd.pids()).await
            }
            (_, None) => anyhow::bail!("etcd was not started"),
        }
    }

    fn ring_targets(&self, target: Target) -> Result<Vec<SocketAddr>> {
        match target {
            Target::Leader => Ok(vec![self.ring.control(self.ring.leader()?).api()]),
            Target::All => Ok(ring::addresses(&self.ring)),
        }
    }

    fn ring_pids(&self) -> Vec<i32> {
        self.ring.controls().iter().filter_map(ring_testkit::RingNode::pid).collect()
    }
}

fn etcd_targets(etcd: &Etcd, target: Target) -> Result<Vec<SocketAddr>> {
    match target {
        Target::Leader => Ok(vec![etcd.leader()?]),
        Target::All => Ok(etcd.addresses().to_vec()),
    }
}

fn table(lines: &[Line]) -> Table {
    let mut table = Table::new(&[
        "clients",
        "sent to",
        "system",
        "commits/s",
        "p50",
        "p99",
        "server CPU each",
        "failed",
        "ring is",
        "aim",
        "others' CPU",
    ]);
    for line in lines {
        let typical = line.typical();
        let ring = lines.iter().find(|other| other.system == System::Ring && other.same_load(line));
        let ratio = ring.filter(|_| line.system != System::Ring).map(|ring| format!("{:.2} times", ring.over(line)));
        let aim = (line.system == System::EtcdGrpc).then(|| format!("{} times", if line.clients == 1 { 1.5 } else { 2.0 }));
        table.row([
            line.clients.to_string(),
            line.target.name().to_owned(),
            line.system.name().to_owned(),
            format!("{:.0}", typical.rate),
            ms(typical.latency.median()),
            ms(typical.latency.percentile(99.0)),
            format!("{:.0} µs", typical.server_cpu_us()),
            line.failures(),
            ratio.unwrap_or_default(),
            aim.unwrap_or_default(),
            format!("{:.0} %", 100.0 * typical.cpu.others),
        ]);
    }
    table
}

impl Line {
    /// The round with the median rate.
    ///
    /// # Panics
    /// Before the first round.
    fn typical(&self) -> &Load {
        let rate = median(self.rounds.iter().map(|load| load.rate));
        self.rounds.iter().min_by(|a, b| (a.rate - rate).abs().total_cmp(&(b.rate - rate).abs())).expect("a round was taken")
    }

    fn same_load(&self, other: &Self) -> bool {
        (self.clients, self.target) == (other.clients, other.target)
    }

    /// The median over the rounds of the ratio within one round.
    fn over(&self, other: &Self) -> f64 {
        median(self.rounds.iter().zip(&other.rounds).map(|(ours, theirs)| ours.rate / theirs.rate))
    }

    fn failures(&self) -> String {
        let failed: usize = self.rounds.iter().map(|load| load.failed).sum();
        match self.rounds.iter().find_map(|load| load.failure.as_deref()) {
            Some(first) => format!("{failed}, the first: {}", first.replace(['\n', '|'], " ")),
            None => failed.to_string(),
        }
    }
}
