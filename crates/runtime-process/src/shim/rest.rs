//! What a workload leaves behind when its own process has ended.

use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group};
use tokio::time::Instant;

use crate::cgroup::Cgroup;
use ring_runtime_host::proc;

/// A killed process goes at once unless it hangs in the kernel; then it is left.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ends every process that descends from the workload, and collects it.
pub(super) async fn end(group: Pid, cgroup: Option<&Cgroup>, children: &mut tokio::signal::unix::Signal) {
    let deadline = Instant::now() + PATIENCE;
    while any_left() && Instant::now() < deadline {
        let _ = kill_process_group(group, Signal::KILL);
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let adopted = proc::all().filter(|stat| stat.parent == own && !stat.zombie).map(|stat| stat.id.pid);
        for pid in adopted.chain(cgroup.map(Cgroup::processes).unwrap_or_default()).filter(|pid| *pid != own) {
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        }
        let _ = tokio::time::timeout(Duration::from_millis(50), children.recv()).await;
    }
}

/// Collects what has ended and tells whether children remain: what the workload started becomes ours when its parent ends.
fn any_left() -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}
