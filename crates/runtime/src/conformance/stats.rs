//! What an instance uses.

use std::sync::Arc;

use ring_types::{Memory, Outcome, Span};

use super::{Make, clear, launch, outcome, within};
use crate::{InstanceStats, Runtime, RuntimeErrorKind, Workload};

/// Every case, one after another.
pub async fn check(runtime: &dyn Runtime, make: Make<'_>) {
    figures_of_what_runs(runtime, make).await;
    nothing_of_what_does_not_run(runtime, make).await;
}

/// Processor time grows with work, in microseconds; memory is that of the instance, not of the host, in bytes.
pub async fn figures_of_what_runs(runtime: &dyn Runtime, make: Make<'_>) {
    let busy = make(&["sh", "-c", "while :; do :; done"]);
    launch(runtime, &busy).await;
    let first = measured(runtime, &busy).await;
    assert_eq!(first.memory_limit, busy.spec.resources.limits.memory);
    let growing = async {
        loop {
            let next = measured(runtime, &busy).await;
            assert!(next.at >= first.at && next.cpu_time_us >= first.cpu_time_us, "{next:?} comes after {first:?}");
            if next.cpu_time_us >= first.cpu_time_us + 200_000 {
                return next;
            }
        }
    };
    let next = within(growing).await;
    // One process uses one processor at most. What is measured and when are a moment apart.
    let elapsed = u64::try_from(next.at.0 - first.at.0).unwrap_or_default() * 1000;
    let used = next.cpu_time_us - first.cpu_time_us;
    assert!(used <= elapsed * 2 + 500_000, "one process used {used} µs in {elapsed} µs");
    assert!((32 << 10..256 << 20).contains(&next.memory.0), "a shell that does nothing has {} bytes", next.memory.0);
    assert_eq!(next.processes, Some(1));
    runtime.stop(busy.instance, Span::ZERO).await.expect("stop");
    clear(runtime, busy.instance).await;
}

/// Not there, made only, ended.
pub async fn nothing_of_what_does_not_run(runtime: &dyn Runtime, make: Make<'_>) {
    let workload = make(&["true"]);
    let refused = async || runtime.stats(workload.instance).await.expect_err("what does not run was measured").kind;
    assert_eq!(refused().await, RuntimeErrorKind::NotFound);
    runtime.prepare(&workload).await.expect("prepare");
    assert_eq!(refused().await, RuntimeErrorKind::NotFound);
    runtime.start(workload.instance).await.expect("start");
    assert_eq!(outcome(runtime, workload.instance).await, Outcome::Code(0));
    assert_eq!(refused().await, RuntimeErrorKind::NotFound);
    clear(runtime, workload.instance).await;
}

/// A limit of memory is told. For hosts whose limits hold.
pub async fn a_limit(runtime: &dyn Runtime, make: Make<'_>) {
    let limit = Memory(128 << 20);
    let mut workload = make(&["sh", "-c", "while :; do sleep 0.05; done"]);
    Arc::make_mut(&mut workload.spec).resources.limits.memory = Some(limit);
    launch(runtime, &workload).await;
    let told = measured(runtime, &workload).await;
    assert_eq!(told.memory_limit, Some(limit));
    assert!(told.memory < limit, "{told:?}");
    runtime.stop(workload.instance, Span::ZERO).await.expect("stop");
    clear(runtime, workload.instance).await;
}

async fn measured(runtime: &dyn Runtime, workload: &Workload) -> InstanceStats {
    within(runtime.stats(workload.instance)).await.expect("stats")
}
