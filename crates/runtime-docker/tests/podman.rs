//! The same driver with a real Podman.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is test code, which clippy sees only in test functions"
)]

mod common;

use std::any::Any;
use std::collections::BTreeMap;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use common::{Daemon, workload};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use ring_runtime::Runtime;
use ring_runtime::conformance::{self as suite, exec, mounts, stats};

/// Podman keeps no code of a command that could not be executed: its start is refused instead. And it joins what has no line end
/// with what came before it when only the last lines are asked for.
const DEPARTS: [&str; 2] = ["commands that cannot be executed", "output"];

fn cases<'a>(driver: &'a dyn Runtime, dir: &'a Path) -> Vec<(&'static str, LocalBoxFuture<'a, ()>)> {
    let make: suite::Make<'_> = &workload;
    vec![
        ("what is not there", suite::what_is_not_there(driver, make).boxed_local()),
        ("codes", suite::codes(driver, make).boxed_local()),
        ("commands that cannot be executed", suite::commands_that_cannot_be_executed(driver, make).boxed_local()),
        ("one execution", suite::one_execution(driver, make).boxed_local()),
        ("stopping", suite::stopping(driver, make).boxed_local()),
        ("stopping before the start", suite::stopping_before_the_start(driver, make).boxed_local()),
        ("output", suite::output(driver, make).boxed_local()),
        ("environment", suite::environment(driver, make).boxed_local()),
        ("hints and list", suite::hints_and_list(driver, make).boxed_local()),
        ("removing", suite::removing(driver, make).boxed_local()),
        ("exec", exec::check(driver, make).boxed_local()),
        ("stats", stats::check(driver, make).boxed_local()),
        ("a limit", stats::a_limit(driver, make).boxed_local()),
        ("mounts", mounts::check(driver, make, dir).boxed_local()),
    ]
}

/// What a panic said.
fn text(panic: &(dyn Any + Send)) -> &str {
    let told = panic.downcast_ref::<String>().map(String::as_str);
    told.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_driver_and_a_real_podman() {
    let Some(daemon) = Daemon::podman() else { return };
    let runtime = daemon.runtime();
    let report = runtime.probe().await;
    assert_eq!(report.problem, None);
    println!("podman {}", report.version);
    let temp = tempfile::tempdir().unwrap();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(temp.path(), everybody).unwrap();
    let first = departing(&runtime, temp.path(), &|_| true).await;
    // Podman 4.3 under load has failed at something else once in many runs, and the engine is nothing ring can mend. That is said
    // past the harness; what fails twice in a row fails the test.
    let odd = |name: &str| !DEPARTS.contains(&name);
    for (name, said) in first.iter().filter(|(name, _)| odd(name)) {
        let line = format!("\nUNSTEADY: podman: {name} is tried again: {said}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    let again = |name: &str| odd(name) && first.contains_key(name);
    let second = departing(&runtime, temp.path(), &again).await;
    let steady = first.iter().filter(|(name, _)| !odd(name) || second.contains_key(*name));
    let steady: Vec<_> = steady.map(|(name, _)| *name).collect();
    assert_eq!(steady, DEPARTS, "where Podman departs from the suite has changed: {first:#?}, then {second:#?}");
}

/// The cases that fail, of those that are wanted, with what they said.
async fn departing(driver: &dyn Runtime, dir: &Path, wanted: &dyn Fn(&str) -> bool) -> BTreeMap<&'static str, String> {
    let mut departs = BTreeMap::new();
    for (name, case) in cases(driver, dir).into_iter().filter(|(name, _)| wanted(name)) {
        if let Err(panic) = AssertUnwindSafe(case).catch_unwind().await {
            departs.insert(name, text(&*panic).to_owned());
        }
    }
    departs
}
