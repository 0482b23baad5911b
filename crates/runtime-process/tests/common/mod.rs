//! What the tests of this crate share: a driver on a directory of its own, and waiting with a deadline.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "all of this is test code, which clippy sees only in test functions; not every test needs all of it"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use ring_runtime::{Hint, LogLine, LogRequest, Observed, Runtime, Workload};
use ring_runtime_process::{ProcessConfig, ProcessRuntime};
use ring_types::{DeploymentSpec, Generation, InstanceId, Kind, Name, Outcome, RuntimeKind};

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) async fn open(root: &Path) -> ProcessRuntime {
    let shim_command = vec![env!("CARGO_BIN_EXE_ring-shim").into()];
    ProcessRuntime::open(ProcessConfig { root: root.join("instances"), shim_command }).await.unwrap()
}

/// An id that no other test uses, nor one of an earlier run.
pub(crate) fn id() -> InstanceId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let low = (u64::from(std::process::id()) << 16) | NEXT.fetch_add(1, Ordering::Relaxed);
    let hex = format!("{:016x}{low:016x}", now as u64);
    hex.parse().unwrap()
}

pub(crate) fn workload(command: &[&str]) -> Workload {
    let name = |text| Name::new(text).unwrap();
    let mut spec = DeploymentSpec::new(name("ns"), name("job"), Kind::Job, RuntimeKind::Process, "");
    spec.command = command.iter().map(ToString::to_string).collect();
    Workload {
        instance: id(),
        deployment: "00000000-0000-0000-0000-000000000001".parse().unwrap(),
        generation: Generation(1),
        spec: Arc::new(spec),
        environment: BTreeMap::new(),
        files: Vec::new(),
        registry: None,
    }
}

pub(crate) fn shell(script: &str) -> Workload {
    workload(&["sh", "-c", script])
}

pub(crate) async fn launch(runtime: &ProcessRuntime, workload: &Workload) {
    runtime.prepare(workload).await.unwrap();
    runtime.start(workload.instance).await.unwrap();
}

/// Waits for the end, by hints.
pub(crate) async fn outcome(runtime: &ProcessRuntime, instance: InstanceId) -> Outcome {
    let mut hints = runtime.hints();
    let waiting = async {
        while hints.next().await.is_some() {
            if let Observed::Exited { outcome, .. } = runtime.inspect(instance).await.unwrap() {
                return outcome;
            }
        }
        unreachable!("hints have no end")
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("it did not end in time")
}

pub(crate) async fn lines(runtime: &ProcessRuntime, instance: InstanceId, request: LogRequest) -> Vec<LogLine> {
    let lines = runtime.logs(instance, request).await.unwrap().map(Result::unwrap);
    tokio::time::timeout(DEADLINE, lines.collect()).await.expect("the log did not end in time")
}

pub(crate) async fn texts(runtime: &ProcessRuntime, instance: InstanceId, request: LogRequest) -> Vec<String> {
    let lines = lines(runtime, instance, request).await;
    lines.into_iter().map(|line| String::from_utf8(line.line.to_vec()).unwrap()).collect()
}

/// Follows the log until this line is there.
pub(crate) async fn printed(runtime: &ProcessRuntime, instance: InstanceId, wanted: &str) {
    let request = LogRequest { follow: true, ..LogRequest::default() };
    let mut lines = runtime.logs(instance, request).await.unwrap();
    let waiting = async {
        while let Some(line) = lines.next().await {
            if line.unwrap().line == wanted {
                return;
            }
        }
        panic!("the log ended without '{wanted}'")
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("'{wanted}' was not printed in time"));
}

/// The next hint about this instance.
pub(crate) async fn hinted(hints: &mut (impl futures::Stream<Item = Hint> + Unpin), instance: InstanceId) {
    let waiting = async { while hints.next().await != Some(Hint::Instance(instance)) {} };
    tokio::time::timeout(DEADLINE, waiting).await.expect("there was no hint in time");
}

/// A record file.
pub(crate) fn record(root: &Path, instance: InstanceId, file: &str) -> serde_json::Value {
    let path = root.join("instances").join(instance.to_string()).join(file);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub(crate) fn kill(pid: &serde_json::Value) {
    let pid = i32::try_from(pid.as_i64().unwrap()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
}
