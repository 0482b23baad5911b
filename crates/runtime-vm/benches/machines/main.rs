//! What the runtime adds to its VMM: times and memory beside the same VMM started by hand, with the same kernel and devices, in turns
//! in one run. The kernel is the least there is (see `tests/tiny`), so that nothing of a guest hides what is around it.
//!
//! `cargo bench -p ring-runtime-vm` measures; needs what `tests/tiny` needs. After `--` other numbers can be given.

// What goes wrong with a VMM fails a run by panicking.
#![allow(clippy::unwrap_used)]

mod hand;
mod memory;
mod ours;

#[path = "../../tests/common/loud.rs"]
mod loud;
// The same table, times, machine and output as those of the other figures.
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../../../benches/src/machine.rs"]
mod machine;
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../../../benches/src/out.rs"]
mod out;
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../../../benches/src/stats.rs"]
mod stats;
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../../../benches/src/table.rs"]
mod table;
#[path = "../../tests/tiny/vmm.rs"]
#[allow(dead_code, reason = "here only what is booted is of use")]
mod tiny;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use futures::future::join_all;

use hand::{ByHand, How};
use ours::Ours;
use stats::{Times, median, ms};
use table::Table;

/// Measures micro-VMs beside their VMM started by hand.
#[derive(Debug, Parser)]
#[command(name = "machines")]
struct Arguments {
    /// How often one machine is started and stopped
    #[arg(long, default_value_t = 30)]
    times: usize,
    /// Machines at once
    #[arg(long, default_value_t = 50)]
    machines: usize,
    /// How often that many are started and stopped
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What `cargo bench` adds to the arguments of every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is booted, the same for all.
#[derive(Clone, Debug)]
struct Booted {
    program: PathBuf,
    kernel: PathBuf,
    disk: PathBuf,
}

/// Memory of a guest, bytes.
const MEMORY: u64 = 64 << 20;

/// The guest runs until it is told to end.
const CMDLINE: &str = "exit=0 stay";

/// Times of one way of starting.
#[derive(Clone, Debug, Default)]
struct Taken {
    running: Vec<Duration>,
    gone: Vec<Duration>,
}

fn main() {
    let mut arguments = Arguments::parse();
    if !arguments.bench {
        // Run as a test of itself.
        (arguments.times, arguments.machines, arguments.rounds) = (2, 2, 1);
    }
    let Some(program) = tiny::usable() else { return };
    let dir = tempfile::tempdir().unwrap();
    let Some(kernel) = tiny::kernel(dir.path()) else { return };
    let disk = dir.path().join("root.ext4");
    std::fs::write(&disk, vec![0; 1 << 20]).unwrap();
    let booted = Booted { program, kernel, disk };
    let machine = machine::Machine::look().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let tables = runtime.block_on(measure(&booted, &arguments));
    out::line(&machine.describe().unwrap());
    for table in tables {
        out::line(&format!("\n{}", table.render()));
    }
}

async fn measure(booted: &Booted, arguments: &Arguments) -> [Table; 3] {
    let ours = Ours::open(booted).await;
    let one = one(&ours, booted, arguments.times).await;
    let many = many(&ours, booted, arguments).await;
    [one, many, memory::measure(&ours, booted, arguments.machines).await]
}

/// One machine after another, every way in turns.
async fn one(ours: &Ours, booted: &Booted, times: usize) -> Table {
    let (mut own, mut api, mut line) = (Taken::default(), Taken::default(), Taken::default());
    for round in 0..times {
        out::progress(&format!("one machine, {} of {times}", round + 1));
        let (running, job) = ours.start().await;
        own.add(running, ours.stop(&job).await);
        for (how, taken) in [(How::Api, &mut api), (How::CommandLine, &mut line)] {
            let booted = booted.clone();
            let (running, gone) = blocking(move || {
                let (running, machine) = ByHand::start(&booted, how);
                (running, machine.stop())
            })
            .await;
            taken.add(running, gone);
        }
    }
    let mut table =
        Table::new(&["one machine", "ring", "API by hand", "command line by hand", "ring / API", "ring / command line"]);
    type Of = fn(&Taken) -> &Vec<Duration>;
    let rows: [(&str, Of); 2] =
        [("from start to running", |taken| &taken.running), ("from stop to nothing left", |taken| &taken.gone)];
    for (name, of) in rows {
        let (own, api, line) = (of(&own), of(&api), of(&line));
        table.row([name.to_owned(), told(own), told(api), told(line), ratio(own, api), ratio(own, line)]);
    }
    table
}

/// Many at once, every way in turns.
async fn many(ours: &Ours, booted: &Booted, arguments: &Arguments) -> Table {
    let machines = arguments.machines;
    let (mut own, mut api) = (Taken::default(), Taken::default());
    for round in 0..arguments.rounds {
        out::progress(&format!("{machines} machines at once, {} of {}", round + 1, arguments.rounds));
        let begun = Instant::now();
        let jobs: Vec<_> = join_all((0..machines).map(|_| ours.start())).await;
        let running = begun.elapsed();
        let begun = Instant::now();
        join_all(jobs.iter().map(|(_, job)| ours.stop(job))).await;
        own.add(running, begun.elapsed());

        let begun = Instant::now();
        let started = (0..machines).map(|_| {
            let booted = booted.clone();
            blocking(move || ByHand::start(&booted, How::Api).1)
        });
        let started = join_all(started).await;
        let running = begun.elapsed();
        let begun = Instant::now();
        join_all(started.into_iter().map(|machine| blocking(move || machine.stop()))).await;
        api.add(running, begun.elapsed());
    }
    let heading = format!("{machines} machines at once");
    let mut table = Table::new(&[&heading, "ring", "API by hand", "ring / API"]);
    for (name, own, api) in
        [("until all run", &own.running, &api.running), ("until nothing is left of all", &own.gone, &api.gone)]
    {
        table.row([name.to_owned(), told(own), told(api), ratio(own, api)]);
    }
    table
}

impl Taken {
    fn add(&mut self, running: Duration, gone: Duration) {
        self.running.push(running);
        self.gone.push(gone);
    }
}

/// Median, and the longest.
fn told(times: &[Duration]) -> String {
    let times = Times::new(times.to_vec());
    format!("{} ({})", ms(times.median()), ms(times.max()))
}

/// The median of the ratios of the rounds.
fn ratio(of: &[Duration], to: &[Duration]) -> String {
    let ratios = of.iter().zip(to).map(|(of, to)| of.as_secs_f64() / to.as_secs_f64());
    format!("{:.2}", median(ratios))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
