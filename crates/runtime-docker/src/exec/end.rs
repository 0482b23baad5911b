//! Ending a command nobody listens to any more.
//!
//! The engine has no verb for it. On the engine's own host the command's processes can be found: a command run in a container
//! leads a session of its own, and belongs to the container's control groups. With an engine elsewhere, or an agent that may not
//! signal the container's user, the command goes on until it ends by itself or its container does.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::ExecInspectResponse;
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::driver::Containers;

/// A command that was asked for may start this much later; and one that was killed is gone by then.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Ends a command when it is dropped, unless it is over.
pub(super) struct Ending {
    containers: Arc<Containers>,
    exec: String,
    over: bool,
}

impl Ending {
    pub(super) fn new(containers: Arc<Containers>, exec: String) -> Self {
        Self { containers, exec, over: false }
    }

    /// It ended by itself.
    pub(super) fn over(&mut self) {
        self.over = true;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.over || !self.containers.is_local() {
            return;
        }
        // Without a runtime the agent itself is about to end.
        if let Ok(handle) = Handle::try_current() {
            let (containers, exec) = (Arc::clone(&self.containers), std::mem::take(&mut self.exec));
            handle.spawn(async move { end(&containers, &exec).await });
        }
    }
}

async fn end(containers: &Containers, exec: &str) {
    let deadline = Instant::now() + PATIENCE;
    let mut killed = BTreeSet::new();
    while Instant::now() < deadline {
        let asked = containers.client.ask(|docker| async move { docker.inspect_exec(exec).await }).await;
        let Ok(Ok(told)) = asked else { return };
        let started = told.pid.is_some_and(|pid| pid > 0);
        if started && told.running != Some(true) {
            return;
        }
        if started {
            killed.extend(kill(&told));
        }
        sleep(PAUSE).await;
    }
    tracing::debug!(exec, ?killed, "a command was not seen to end");
}

/// Kills what is in the session of a command and in its container, and tells which those were.
fn kill(told: &ExecInspectResponse) -> Vec<i32> {
    let leader = told.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
    let (Some(leader), Some(container)) = (leader, told.container_id.as_deref()) else { return Vec::new() };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let ours = pids.filter(|pid| session(*pid) == Some(leader) && belongs(*pid, container));
    let kill = |pid: &i32| Pid::from_raw(*pid).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok());
    ours.filter(kill).collect()
}

/// The session of a process: the fourth field after its name, which can contain anything.
fn session(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(3)?.parse().ok()
}

/// Numbers of processes are used again: only what is in the container's control groups is its.
fn belongs(pid: i32, container: &str) -> bool {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    !container.is_empty() && groups.contains(container)
}
