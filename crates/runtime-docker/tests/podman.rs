//! The same driver with a real Podman.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is test code, which clippy sees only in test functions"
)]

mod common;

use std::panic::AssertUnwindSafe;

use common::{Daemon, workload};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use ring_runtime::Runtime;
use ring_runtime::conformance::{self as suite, exec, mounts, stats};

/// Podman keeps no code of a command that could not be executed: its start is refused instead. And it joins what has no line end
/// with what came before it when only the last lines are asked for.
const DEPARTS: [&str; 2] = ["commands that cannot be executed", "output"];

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
    let (driver, make, dir): (&dyn Runtime, suite::Make<'_>, _) = (&runtime, &workload, temp.path());
    let cases: Vec<(&str, LocalBoxFuture<'_, ()>)> = vec![
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
    ];
    let mut departs = Vec::new();
    for (name, case) in cases {
        if AssertUnwindSafe(case).catch_unwind().await.is_err() {
            departs.push(name);
        }
    }
    assert_eq!(departs, DEPARTS, "where Podman departs from the suite has changed");
}
