//! The VMM's process.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::timeout;

use crate::api::Api;
use crate::config::VmConfig;
use crate::layout::InstanceDir;
use crate::prepare::remove_file;
use crate::spawn;
use ring_runtime_host::proc::{self, ProcessId};

/// From a call that ends the VMM to its process being gone.
const SHUTDOWN: Duration = Duration::from_secs(3);

/// A process that was killed is gone at once unless it hangs in the kernel.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// How a VMM is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Afterwards {
    /// It ends when its guest is off.
    End,
    /// It stays when its guest is off: that tells a guest that was shut down from inside from a VMM that was ended.
    Stay,
}

/// Starts a VMM without a VM in it. Its files and sockets are made anew.
pub(crate) fn start(config: &VmConfig, program: &Path, dir: &InstanceDir, afterwards: Afterwards) -> io::Result<ProcessId> {
    for path in [dir.api(), dir.vsock(), dir.events()] {
        remove_file(&path)?;
    }
    let console = append(&dir.console())?;
    // A guest that is started again after an attempt that failed begins an empty console.
    console.set_len(0)?;
    let mut command = Command::new(program);
    command.arg("--api-socket").arg(api_argument(dir));
    command.arg("--event-monitor").arg(path_argument(&dir.events()));
    command.arg("--seccomp").arg(config.seccomp.to_string());
    if afterwards == Afterwards::Stay {
        command.arg("--no-shutdown");
    }
    command.stdout(console).stderr(append(&dir.vmm_log())?);
    spawn::detached(command)
}

fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o600).open(path)
}

fn path_argument(path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from("path=");
    argument.push(path);
    argument
}

fn api_argument(dir: &InstanceDir) -> std::ffi::OsString {
    path_argument(&dir.api())
}

/// VMMs of this instance, also one that was started and whose record was not written any more.
pub(crate) fn find(dir: &InstanceDir) -> Vec<ProcessId> {
    proc::with_argument(&api_argument(dir))
}

/// Ends a VMM: by asking it, and by killing it when it does not end. True when it is gone.
pub(crate) async fn end(process: ProcessId, api: &Api) -> bool {
    if !process.alive() {
        return true;
    }
    // One that hangs does not answer, and one that is about to end cannot: both end below.
    let _ = api.shutdown(SHUTDOWN).await;
    kill_after(process, SHUTDOWN).await
}

/// Waits, and then kills. True when it is gone.
pub(crate) async fn kill_after(process: ProcessId, patience: Duration) -> bool {
    if timeout(patience, proc::gone(process)).await.is_err() {
        process.signal(Signal::KILL);
    }
    timeout(AFTER_KILL, proc::gone(process)).await.is_ok()
}

/// The last lines the VMM itself wrote, for a message.
pub(crate) fn said(dir: &InstanceDir) -> String {
    crate::console::tail(&dir.vmm_log()).map(|tail| format!("; the VMM says last: {tail}")).unwrap_or_default()
}
