//! A store that is killed at each step of each write: nothing it acknowledged is lost, and what is left is one state.
//!
//! The test runs itself as a child process, which aborts at the step it is told and says on its standard output what was
//! acknowledged. Writes that were not synced die with it: they are in the process's memory until then.

#![allow(clippy::unwrap_used)] // It is test code, but not all of it in test functions.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{DEADLINE, Member, Plain, compaction, config, digest, has, namespace, request};
use futures::StreamExt;
use ring_store::{FAILPOINTS, Store, StoreConfig};
use ring_types::RequestId;
use tokio::time::timeout;

const DIR: &str = "RING_KILL_DIR";
const STEP: &str = "RING_KILL_STEP";
const FROM: &str = "RING_KILL_FROM";
/// How long a step is held before the process dies at it.
const HELD: Duration = Duration::from_millis(50);
/// SIGABRT.
const ABORTED: i32 = 6;
/// Writes that a child has open at once, so that a sync stands for several.
const OPEN: usize = 8;
/// Steps that only a member that receives a snapshot takes.
const INSTALL: [&str; 1] = ["install-after-write"];

/// Aborts the process when it comes to a step for the nth time.
fn abort_at(step: &str) {
    let (name, nth) = step.split_once(':').unwrap();
    let left = AtomicUsize::new(nth.parse().unwrap());
    let count = move || {
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Time in which an acknowledgement that should have waited for this step would get out and convict it.
            std::thread::sleep(HELD);
            std::process::abort();
        }
    };
    fail::cfg_callback(name, count).unwrap();
}

fn say(word: &str, value: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{word} {value}").unwrap();
    out.flush().unwrap();
}

fn child(test: &str, dir: &Path, step: &str, from: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(DIR, dir).env(STEP, step).env(FROM, from.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// The values a child says after a word, until it ends.
fn said(child: &mut Child, word: &str) -> Vec<String> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    lines.filter_map(|line| line.strip_prefix(word).map(|rest| rest.trim().to_owned())).collect()
}

fn alone(dir: PathBuf) -> StoreConfig {
    let mut config = config(1, dir, SocketAddr::from(([127, 0, 0, 1], 9)));
    compaction(40, 10)(&mut config);
    config
}

fn name(n: usize) -> String {
    format!("ns-{n}")
}

/// The child: writes until it is killed.
async fn write_until_killed(dir: PathBuf, from: usize) {
    let store = Store::open(alone(dir), Arc::new(Plain)).await.unwrap();
    let writes = futures::stream::iter(from..).map(|n| {
        let store = store.clone();
        async move {
            store.propose(request(n as u128 + 1), namespace(&name(n))).await.unwrap();
            say("acked", n);
        }
    });
    timeout(DEADLINE, writes.buffer_unordered(OPEN).for_each(async |()| {})).await.expect("killed in time");
}

fn steps() -> Vec<String> {
    let steps = FAILPOINTS.iter().filter(|step| !INSTALL.contains(step));
    let nth = |step: &&str| if step.starts_with("log") || step.starts_with("apply") { vec![1, 9] } else { vec![1] };
    steps.flat_map(|step| nth(step).into_iter().map(move |nth| format!("{step}:{nth}"))).collect()
}

/// How many there are from the first on, and that there are no others.
fn count(state: &ring_state::State) -> usize {
    let all = state.namespaces().filter(|n| n.name.as_str().starts_with("ns-")).count();
    let there = (0..all).take_while(|n| has(state, &name(*n))).count();
    assert!(all <= there + OPEN, "{all} of which {there} in a row");
    there
}

#[test]
fn killed_at_any_step_it_keeps_what_it_acknowledged() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let (Ok(dir), Ok(step), Ok(from)) = (std::env::var(DIR), std::env::var(STEP), std::env::var(FROM)) {
        abort_at(&step);
        runtime.block_on(write_until_killed(dir.into(), from.parse().unwrap()));
        panic!("{step} was never reached");
    }
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    runtime.block_on(async {
        let store = Store::create(alone(dir.clone()), Arc::new(Plain), common::bootstrap(SocketAddr::from(([127, 0, 0, 1], 1))))
            .await
            .unwrap();
        store.shutdown().await;
    });
    let (mut next, mut acked) = (0, Vec::<usize>::new());
    for step in steps() {
        let mut process = child("killed_at_any_step_it_keeps_what_it_acknowledged", &dir, &step, next);
        acked.extend(said(&mut process, "acked").iter().map(|n| n.parse::<usize>().unwrap()));
        let status = process.wait().unwrap();
        assert_eq!(status.signal(), Some(ABORTED), "{step}: {status}");
        next = runtime.block_on(check(&dir, &step, &acked));
    }
    assert!(acked.len() > 100, "the children wrote: {}", acked.len());
}

/// Opens what a child left; gives where to go on.
async fn check(dir: &Path, step: &str, acked: &[usize]) -> usize {
    let store = Store::open(alone(dir.to_owned()), Arc::new(Plain)).await.unwrap_or_else(|e| panic!("{step}: {e}"));
    let state = store.read().await.unwrap();
    for n in acked {
        assert!(has(&state, &name(*n)), "{step}: {n} was acknowledged and is lost");
    }
    // What was under way may or may not have made it; the same requests again settle it.
    let end = acked.iter().max().map_or(0, |n| n + 1).max(count(&state)) + OPEN;
    for n in 0..end {
        if !has(&store.local(), &name(n)) {
            store.propose(request(n as u128 + 1), namespace(&name(n))).await.unwrap();
        }
    }
    assert_eq!(count(&store.local()), end, "{step}");
    let before = digest(&store.read().await.unwrap());
    store.shutdown().await;
    let store = Store::open(alone(dir.to_owned()), Arc::new(Plain)).await.unwrap();
    assert_eq!(digest(&store.local()), before, "{step}: the same after another restart");
    store.shutdown().await;
    end
}

/// The child: a member that is being sent a snapshot.
async fn receive_until_killed(dir: PathBuf) {
    let member = Member::start(2, dir, compaction(40, 5)).await;
    say("address", member.address);
    timeout(DEADLINE, std::future::pending::<()>()).await.expect("killed in time");
}

#[test]
fn killed_while_it_installs_a_snapshot_it_has_all_or_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let (Ok(dir), Ok(step)) = (std::env::var(DIR), std::env::var(STEP)) {
        abort_at(&step);
        runtime.block_on(receive_until_killed(dir.into()));
        panic!("{step} was never reached");
    }
    for step in ["snapshot-before-rename:1", "snapshot-after-rename:1", "install-after-write:1"] {
        runtime.block_on(install_and_kill(step));
    }
}

async fn install_and_kill(step: &str) {
    let root = tempfile::tempdir().unwrap();
    let leader = Member::start(1, root.path().join("1"), compaction(40, 5)).await;
    let mut n = 0;
    // Until the log no longer begins at its beginning.
    while leader.store.status().snapshot < 200 {
        leader.store.propose(RequestId::NONE, namespace(&name(n))).await.unwrap();
        n += 1;
        assert!(n < 10_000, "no snapshot is taken");
    }
    let dir = root.path().join("2");
    let mut process = child("killed_while_it_installs_a_snapshot_it_has_all_or_nothing", &dir, step, 0);
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| line.unwrap().strip_prefix("address ").map(str::to_owned)).unwrap();
    leader.store.add_learner(ring_types::MemberId(2), "c2", &address).await.unwrap();
    let status = tokio::task::spawn_blocking(move || process.wait().unwrap()).await.unwrap();
    assert_eq!(status.signal(), Some(ABORTED), "{step}: {status}");
    let change = |config: &mut StoreConfig| compaction(40, 5)(config);
    let member = Member::start_at(2, dir, address.parse().unwrap(), change).await;
    let wanted = leader.store.read().await.unwrap();
    let state = member.sees(|state| state.revision() >= wanted.revision()).await;
    assert_eq!(digest(&state), digest(&wanted), "{step}");
    member.stop().await;
    leader.stop().await;
}
