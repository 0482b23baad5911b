//! Memory of a machine above what its guest has.

use std::fs;

use futures::future::join_all;

use crate::hand::{ByHand, How};
use crate::ours::Ours;
use crate::stats::median;
use crate::table::Table;
use crate::{Booted, blocking};

/// Kibibytes of a process.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    /// Its own, and its share of what it has in common with others; the guest's memory left out.
    above: u64,
    /// What the guest has touched.
    guest: u64,
}

fn used(pid: u32) -> Used {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default()
    };
    Used { above: of("Pss_Anon:") + of("Pss_File:"), guest: of("Pss_Shmem:") }
}

/// Memory of this process that is nobody else's.
fn own() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// So many machines run while it is looked.
pub(crate) async fn measure(ours: &Ours, booted: &Booted, machines: usize) -> Table {
    crate::out::progress(&format!("memory of {machines} machines"));
    let before = own();
    let jobs = join_all((0..machines).map(|_| ours.start())).await;
    let agent = own().saturating_sub(before) as f64 / machines as f64;
    let by_ring: Vec<Used> = jobs.iter().map(|(_, job)| used(ours.pid(job))).collect();
    join_all(jobs.iter().map(|(_, job)| ours.stop(job))).await;
    let started = (0..machines).map(|_| {
        let booted = booted.clone();
        blocking(move || ByHand::start(&booted, How::Api).1)
    });
    let started = join_all(started).await;
    let by_hand: Vec<Used> = started.iter().map(|machine| used(machine.pid())).collect();
    join_all(started.into_iter().map(|machine| blocking(move || machine.stop()))).await;

    let heading = format!("memory of each of {machines} machines, median");
    let mut table = Table::new(&[&heading, "ring", "API by hand", "ring / API"]);
    let of = |all: &[Used], what: fn(&Used) -> u64| median(all.iter().map(|used| what(used) as f64));
    let (own, other) = (of(&by_ring, |used| used.above), of(&by_hand, |used| used.above));
    table.row(["the VMM, without its guest's memory".to_owned(), mib(own), mib(other), format!("{:.2}", own / other)]);
    table.row(["the agent's growth".to_owned(), mib(agent), "none".to_owned(), String::new()]);
    let both = own + agent;
    table.row(["both".to_owned(), mib(both), mib(other), format!("{:.2}", both / other)]);
    let (own, other) = (of(&by_ring, |used| used.guest), of(&by_hand, |used| used.guest));
    table.row(["what the guest has touched".to_owned(), mib(own), mib(other), format!("{:.2}", own / other)]);
    table
}

fn mib(kib: f64) -> String {
    format!("{:.2} MiB", kib / 1024.0)
}
