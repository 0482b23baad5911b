//! Hours of ordinary life in minutes: a cluster that is worked hard, whose processes must need no more at the end than near the
//! beginning. Not part of the checks; `docs/reference/faults.md` says how to run it.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand::rngs::StdRng;
use ring_testkit::work::{NAMESPACE, Runtime, job, manifest};
use ring_testkit::{Cluster, RingNode, report, wait};
use serde_json::json;

use crate::clients::Registers;
use crate::load::{Change, EndsLoad, Load, Sent};
use crate::workers;

/// From one look at the processes to the next.
const LOOK: Duration = Duration::from_secs(10);
/// Changes before anything is measured, more than the audit record has lines and than answered requests are remembered: what
/// grows up to there is there.
const FILL: usize = 10_500;
/// Clients that make them.
const FILLERS: u64 = 8;
/// A job ends within this time, on a machine that has other work besides.
const ENDS: Duration = Duration::from_mins(5);
/// Clients that have jobs run, one after another.
const JOBS: usize = 4;
/// What a process may need more in the last quarter than in the second: a share, in percent, and bytes on top.
const MEMORY: (u64, u64) = (10, 6 << 20);
/// The same for its disk, which the database takes in steps.
const DISK: (u64, u64) = (25, 48 << 20);
/// Open files more than before.
const FILES: u64 = 24;

/// What one process takes.
#[derive(Clone, Copy, Debug, Default)]
struct Need {
    memory: u64,
    disk: u64,
    files: u64,
}

fn need(node: &RingNode) -> Result<Need> {
    let pid = node.pid().context("it does not run")?;
    let files = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
    Ok(Need { memory: node.memory()?.resident, disk: bytes(node.data_dir()), files })
}

/// Of everything in a directory; what is gone meanwhile does not count.
fn bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { bytes(&entry.path()) } else { entry.metadata().map_or(0, |m| m.len()) }).sum()
}

/// One after another: a job is applied, runs, and is deleted when its end is known.
fn jobs(load: &Load<'_>, seed: u64, lives: &AtomicUsize) {
    let mut rng = StdRng::seed_from_u64(seed);
    while load.goes_on() {
        let body = manifest([job(&format!("life-{}", load.fresh()), Runtime::Process, "echo alive; exit 7")]);
        let request = Change { method: "POST", path: "/deployments".to_owned(), body: Some(&body) };
        let Sent::Done(done, _) = load.change(&mut rng, &request, None).0 else { continue };
        let id = done["deployments"][0]["id"].as_str().unwrap_or_default().to_owned();
        let ended = wait::eventually(ENDS, "the end of a job", || {
            let now = load.cluster.deployment(&id)?;
            Ok(matches!(now["status"].as_str(), Some("completed" | "failed")).then_some(now))
        });
        match ended {
            Ok(ended) if ended["exit_status"]["code"] == 7 => {}
            Ok(other) => load.wrong(format!("a job that ends with 7: {other}")),
            Err(error) => load.wrong(format!("job {id} did not end: {error:#}\n{}", load.cluster.tails())),
        }
        let delete = Change { method: "DELETE", path: format!("/deployments/{id}"), body: None };
        let _ = load.change(&mut rng, &delete, None);
        lives.fetch_add(1, Ordering::Relaxed);
    }
}

/// Changes one small config as often as it is to be changed in all.
fn fill(load: &Load<'_>, client: u64, made: &AtomicUsize) {
    let mut rng = StdRng::seed_from_u64(client);
    let name = format!("fill-{client}");
    let body = |n: usize| json!({ "namespace": NAMESPACE, "name": name, "data": { "n": n.to_string() } });
    let first = load.change(&mut rng, &Change { method: "POST", path: "/configs".to_owned(), body: Some(&body(0)) }, None).0;
    let Sent::Done(config, _) = first else { return load.wrong(format!("{name} was not made")) };
    let path = format!("/configs/{}", config["id"].as_str().unwrap_or_default());
    while made.fetch_add(1, Ordering::Relaxed) < FILL {
        let body = body(made.load(Ordering::Relaxed));
        let change = Change { method: "PUT", path: path.clone(), body: Some(&body) };
        if let Sent::Refused(status, said) = load.change(&mut rng, &change, None).0 {
            return load.wrong(format!("changing {name}: {status} {said}"));
        }
    }
}

/// The median of a part of what was seen.
fn median(seen: &[Need], part: std::ops::Range<usize>, of: fn(&Need) -> u64) -> u64 {
    let mut all: Vec<_> = seen[part].iter().map(of).collect();
    all.sort_unstable();
    all[all.len() / 2]
}

/// What it needed in the second quarter and in the last, then in each twelfth of the time, as lines of a table; an error when the
/// last quarter needed too much more.
fn flat(name: &str, seen: &[Need]) -> Result<String> {
    let quarter = seen.len() / 4;
    let (early, late) = (quarter..2 * quarter, seen.len() - quarter..seen.len());
    let both = |of: fn(&Need) -> u64| (median(seen, early.clone(), of), median(seen, late.clone(), of));
    let (memory, disk, files) = (both(|n| n.memory), both(|n| n.disk), both(|n| n.files));
    let within = |(before, after): (u64, u64), (percent, more): (u64, u64)| after <= before + before * percent / 100 + more;
    let mb = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    let twelfths = |of: fn(&Need) -> u64| {
        let parts = (0..12).map(|n| seen.len() * n / 12..seen.len() * (n + 1) / 12).filter(|part| !part.is_empty());
        parts.map(|part| mb(median(seen, part, of))).collect::<Vec<_>>().join(" ")
    };
    let line = format!(
        "{name}: memory {} then {} MB, disk {} then {} MB, {} then {} open files\n  memory {}\n  disk   {}",
        mb(memory.0),
        mb(memory.1),
        mb(disk.0),
        mb(disk.1),
        files.0,
        files.1,
        twelfths(|n| n.memory),
        twelfths(|n| n.disk),
    );
    ensure!(within(memory, MEMORY) && within(disk, DISK) && files.1 <= files.0 + FILES, "not flat: {line}");
    Ok(line)
}

#[test]
#[ignore = "long: RING_SOAK_MINUTES=20, and --ignored"]
fn a_cluster_that_is_worked_hard_needs_no_more_at_the_end() {
    let minutes = std::env::var("RING_SOAK_MINUTES").map_or(20, |text| text.parse().expect("RING_SOAK_MINUTES is a number"));
    let cluster = Cluster::loopback(3, 2).unwrap();
    let (load, registers, lives) = (Load::on(&cluster), Registers::default(), AtomicUsize::new(0));
    let nodes: Vec<_> = cluster.controls().iter().chain(cluster.agents()).collect();
    let mut seen = vec![Vec::new(); nodes.len()];
    let (begun, made) = (Instant::now(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..FILLERS {
            let (load, made) = (&load, &made);
            scope.spawn(move || fill(load, client, made));
        }
    });
    report::line(&format!("{FILL} changes before anything is measured: {:.0?}", begun.elapsed()));
    thread::scope(|scope| {
        let (load, registers, lives) = (&load, &registers, &lives);
        scope.spawn(move || registers.client(load, 0, 1));
        scope.spawn(move || workers::client(load, 3, 2));
        for client in 0..JOBS {
            scope.spawn(move || jobs(load, 10 + client as u64, lives));
        }
        let _ends = EndsLoad(load);
        let end = Instant::now() + Duration::from_mins(minutes);
        while Instant::now() < end && load.problems().is_empty() {
            thread::sleep(LOOK);
            for (node, seen) in nodes.iter().zip(&mut seen) {
                seen.push(need(node).unwrap());
            }
        }
        load.finish(true);
    });
    let problems = load.problems();
    assert!(problems.is_empty(), "{problems:#?}\n{}", cluster.tails());
    let digest = cluster.wait_same_state().unwrap();
    report::line(&format!(
        "{minutes} minutes: {} lives of jobs, requests {:?}; state {digest}",
        lives.into_inner(),
        load.counts()
    ));
    for (node, seen) in nodes.iter().zip(&seen) {
        report::line(&flat(node.name(), seen).unwrap());
    }
}
