//! What every driver has to do the same way, as a suite to be run against a real one.
//!
//! Each function is one case and panics where the driver departs. [`check`] runs all that need nothing but the driver;
//! [`mounts::check`] needs a directory of the host, [`exec::check`] is part of [`check`].

pub mod exec;
pub mod mounts;
pub mod stats;

use std::future::Future;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use ring_types::{InstanceId, Outcome, Span};

use crate::{Hint, LogLine, LogRequest, LogSource, Observed, Runtime, RuntimeErrorKind, Workload};

/// Longest wait for anything, also on a processor that is emulated.
const DEADLINE: Duration = Duration::from_mins(5);

/// Output to the end.
const FOLLOW: LogRequest = LogRequest { tail: None, since: None, follow: true };

/// Makes workloads for the driver under test: the command, run with whatever gives it a POSIX shell, under a new instance id.
pub type Make<'a> = &'a (dyn Fn(&[&str]) -> Workload + Sync);

/// Every case, one after another.
pub async fn check(runtime: &dyn Runtime, make: Make<'_>) {
    what_is_not_there(runtime, make).await;
    codes(runtime, make).await;
    commands_that_cannot_be_executed(runtime, make).await;
    one_execution(runtime, make).await;
    stopping(runtime, make).await;
    stopping_before_the_start(runtime, make).await;
    output(runtime, make).await;
    environment(runtime, make).await;
    hints_and_list(runtime, make).await;
    removing(runtime, make).await;
    exec::check(runtime, make).await;
    stats::check(runtime, make).await;
}

/// Asking about an instance that does not exist is no fault; starting it is.
pub async fn what_is_not_there(runtime: &dyn Runtime, make: Make<'_>) {
    let instance = make(&["true"]).instance;
    assert_eq!(observed(runtime, instance).await, Observed::Absent);
    let refused = runtime.start(instance).await.expect_err("an instance that is not there was started");
    assert_eq!(refused.kind, RuntimeErrorKind::NotFound);
    runtime.stop(instance, Span::ZERO).await.expect("stop");
    runtime.remove(instance).await.expect("remove");
    let refused = runtime.logs(instance, FOLLOW).await.err().expect("an instance that is not there has a log");
    assert_eq!(refused.kind, RuntimeErrorKind::NotFound);
}

/// The code of a process is told as it was, with times in order.
pub async fn codes(runtime: &dyn Runtime, make: Make<'_>) {
    for code in [0, 7, 42] {
        let workload = make(&["sh", "-c", &format!("exit {code}")]);
        launch(runtime, &workload).await;
        assert_eq!(outcome(runtime, workload.instance).await, Outcome::Code(code));
        let Observed::Exited { started_at: Some(started), finished_at, .. } = observed(runtime, workload.instance).await else {
            panic!("an instance that ran has no start time");
        };
        assert!(started <= finished_at, "it ended before it started");
        clear(runtime, workload.instance).await;
    }
}

/// Code 127 for a program that is not there, 126 for what is none; starting itself succeeds.
pub async fn commands_that_cannot_be_executed(runtime: &dyn Runtime, make: Make<'_>) {
    for (program, code) in [("no-such-program", 127), ("/no/such/program", 127), ("/", 126)] {
        let workload = make(&[program]);
        launch(runtime, &workload).await;
        assert_eq!(outcome(runtime, workload.instance).await, Outcome::Code(code), "{program}");
        runtime.start(workload.instance).await.expect("start again");
        clear(runtime, workload.instance).await;
    }
}

/// However often and however much at once an instance is prepared and started, it runs once.
pub async fn one_execution(runtime: &dyn Runtime, make: Make<'_>) {
    let workload = make(&["sh", "-c", "echo ran; exit 3"]);
    let instance = workload.instance;
    runtime.prepare(&workload).await.expect("prepare");
    runtime.prepare(&workload).await.expect("prepare again");
    assert_eq!(observed(runtime, instance).await, Observed::Created);
    for start in join_all((0..8).map(|_| runtime.start(instance))).await {
        start.expect("start");
    }
    assert_eq!(outcome(runtime, instance).await, Outcome::Code(3));
    runtime.prepare(&workload).await.expect("prepare what ended");
    runtime.start(instance).await.expect("start what ended");
    assert_eq!(outcome(runtime, instance).await, Outcome::Code(3));
    assert_eq!(texts(runtime, instance, FOLLOW).await, ["ran"]);
    clear(runtime, instance).await;
}

/// SIGTERM first, SIGKILL after the grace, and no fault when it is over.
pub async fn stopping(runtime: &dyn Runtime, make: Make<'_>) {
    let polite = make(&["sh", "-c", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done"]);
    launch(runtime, &polite).await;
    printed(runtime, polite.instance, "ready").await;
    runtime.stop(polite.instance, Span::seconds(30)).await.expect("stop");
    assert_eq!(outcome(runtime, polite.instance).await, Outcome::Code(4));
    runtime.stop(polite.instance, Span::seconds(30)).await.expect("stop what ended");

    let deaf = make(&["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]);
    launch(runtime, &deaf).await;
    printed(runtime, deaf.instance, "ready").await;
    let begun = Instant::now();
    runtime.stop(deaf.instance, Span::seconds(1)).await.expect("stop");
    assert!(begun.elapsed() >= Duration::from_secs(1), "it was killed before its grace was over");
    assert_eq!(outcome(runtime, deaf.instance).await, Outcome::Signal { signal: 9, oom_killed: false });
    clear(runtime, polite.instance).await;
    clear(runtime, deaf.instance).await;
}

/// Stopping what never started is no fault and starts nothing.
pub async fn stopping_before_the_start(runtime: &dyn Runtime, make: Make<'_>) {
    let workload = make(&["sh", "-c", "echo ran"]);
    runtime.prepare(&workload).await.expect("prepare");
    runtime.stop(workload.instance, Span::seconds(1)).await.expect("stop");
    assert_eq!(observed(runtime, workload.instance).await, Observed::Created);
    clear(runtime, workload.instance).await;
}

/// Both outputs, told apart; the last lines; the lines since a time; following to the end.
pub async fn output(runtime: &dyn Runtime, make: Make<'_>) {
    let workload = make(&["sh", "-c", "echo one; sleep 0.2; echo two >&2; sleep 0.2; printf three"]);
    launch(runtime, &workload).await;
    let all = lines(runtime, workload.instance, FOLLOW).await;
    let told: Vec<_> = all.iter().map(|line| (line.source, &*line.line)).collect();
    assert_eq!(told, [(LogSource::Stdout, &b"one"[..]), (LogSource::Stderr, b"two"), (LogSource::Stdout, b"three")]);
    let tail = LogRequest { tail: Some(2), ..LogRequest::default() };
    assert_eq!(texts(runtime, workload.instance, tail).await, ["two", "three"]);
    let since = LogRequest { since: Some(all[2].at), ..LogRequest::default() };
    assert_eq!(texts(runtime, workload.instance, since).await, ["three"]);
    clear(runtime, workload.instance).await;
}

/// The workload sees its own variables, and none of the driver's.
pub async fn environment(runtime: &dyn Runtime, make: Make<'_>) {
    let mut workload = make(&["sh", "-c", "echo \"$GREETING\"; echo \"${CARGO_MANIFEST_DIR-none}\""]);
    workload.environment.insert("GREETING".to_owned(), "hello = world".to_owned());
    launch(runtime, &workload).await;
    assert_eq!(texts(runtime, workload.instance, FOLLOW).await, ["hello = world", "none"]);
    clear(runtime, workload.instance).await;
}

/// Hints begin with `Everything` and tell of an end nobody asked for; the list knows every instance.
pub async fn hints_and_list(runtime: &dyn Runtime, make: Make<'_>) {
    let workload = make(&["sh", "-c", "sleep 0.5; exit 5"]);
    let mut hints = runtime.hints();
    assert_eq!(within(hints.next()).await, Some(Hint::Everything));
    launch(runtime, &workload).await;
    let ended = async {
        while !matches!(observed(runtime, workload.instance).await, Observed::Exited { .. }) {
            while hints.next().await.expect("hints have no end") != Hint::Instance(workload.instance) {}
        }
    };
    within(ended).await;
    let list = runtime.list().await.expect("list");
    let found = list.iter().find(|found| found.instance == workload.instance).expect("it is not in the list");
    assert_eq!((found.deployment, found.runtime), (workload.deployment, runtime.kind()));
    assert_eq!(found.observed, observed(runtime, workload.instance).await);
    clear(runtime, workload.instance).await;
}

/// What runs is not removed; what ended goes without a trace, and going twice is no fault.
pub async fn removing(runtime: &dyn Runtime, make: Make<'_>) {
    let workload = make(&["sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"]);
    launch(runtime, &workload).await;
    printed(runtime, workload.instance, "ready").await;
    assert!(runtime.remove(workload.instance).await.is_err(), "what runs was removed");
    assert!(matches!(observed(runtime, workload.instance).await, Observed::Running { .. }));
    runtime.stop(workload.instance, Span::seconds(30)).await.expect("stop");
    clear(runtime, workload.instance).await;
    runtime.remove(workload.instance).await.expect("remove again");
    let list = runtime.list().await.expect("list");
    assert!(list.iter().all(|found| found.instance != workload.instance), "it is still in the list");
}

/// Prepares and starts.
pub async fn launch(runtime: &dyn Runtime, workload: &Workload) {
    within(runtime.prepare(workload)).await.expect("prepare");
    within(runtime.start(workload.instance)).await.expect("start");
}

/// Waits, by hints, until it has ended, and tells how.
pub async fn outcome(runtime: &dyn Runtime, instance: InstanceId) -> Outcome {
    let mut hints = runtime.hints();
    let waiting = async {
        loop {
            hints.next().await.expect("hints have no end");
            if let Observed::Exited { outcome, .. } = observed(runtime, instance).await {
                return outcome;
            }
        }
    };
    within(waiting).await
}

/// Follows the output until this line is there.
pub async fn printed(runtime: &dyn Runtime, instance: InstanceId, wanted: &str) {
    let mut lines = runtime.logs(instance, FOLLOW).await.expect("logs");
    let waiting = async {
        while let Some(line) = lines.next().await {
            if line.expect("a line").line == wanted {
                return;
            }
        }
        panic!("the output ended without '{wanted}'");
    };
    within(waiting).await;
}

/// The output that is asked for, as text.
pub async fn texts(runtime: &dyn Runtime, instance: InstanceId, request: LogRequest) -> Vec<String> {
    let lines = lines(runtime, instance, request).await;
    lines.into_iter().map(|line| String::from_utf8_lossy(&line.line).into_owned()).collect()
}

/// The output that is asked for.
pub async fn lines(runtime: &dyn Runtime, instance: InstanceId, request: LogRequest) -> Vec<LogLine> {
    let lines = runtime.logs(instance, request).await.expect("logs");
    within(lines.map(|line| line.expect("a line")).collect()).await
}

/// Starts something that runs until it is stopped.
pub async fn running(runtime: &dyn Runtime, make: Make<'_>) -> Workload {
    let mut workload = make(&["sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"]);
    workload.environment.insert("GREETING".to_owned(), "hello".to_owned());
    launch(runtime, &workload).await;
    printed(runtime, workload.instance, "ready").await;
    workload
}

/// Stops and removes.
pub async fn finish(runtime: &dyn Runtime, workload: &Workload) {
    runtime.stop(workload.instance, Span::seconds(30)).await.expect("stop");
    clear(runtime, workload.instance).await;
}

async fn observed(runtime: &dyn Runtime, instance: InstanceId) -> Observed {
    runtime.inspect(instance).await.expect("inspect")
}

async fn clear(runtime: &dyn Runtime, instance: InstanceId) {
    runtime.remove(instance).await.expect("remove");
    assert_eq!(observed(runtime, instance).await, Observed::Absent);
}

async fn within<T>(waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, waiting).await.expect("it did not happen in time")
}
