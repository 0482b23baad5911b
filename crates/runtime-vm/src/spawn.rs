//! Programs that outlive the agent.

use std::io;
use std::process::Stdio;

use process_wrap::tokio::{CommandWrap, ProcessSession, ResetSigmask};
use tokio::process::Command;

use ring_runtime_host::proc::ProcessId;

/// Starts a program in a session of its own, with an empty standard input and nothing of the agent's environment. It goes on
/// when the agent ends, and is collected when it ends before the agent. Where its outputs go is the caller's to say.
pub(crate) fn detached(mut command: Command) -> io::Result<ProcessId> {
    command.env_clear().current_dir("/").stdin(Stdio::null());
    let child = CommandWrap::from(command).wrap(ProcessSession).wrap(ResetSigmask).spawn()?;
    // Waiting for the whole session would take a thread.
    let mut child = child.into_inner();
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
    // It cannot be gone from /proc yet, even if it has ended: nobody has collected it.
    let id = ProcessId::of(pid).ok_or_else(|| io::Error::other(format!("/proc does not show process {pid}")));
    tokio::spawn(async move { child.wait().await });
    id
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use ring_runtime_host::proc;

    #[tokio::test]
    async fn it_leads_a_session_has_no_environment_and_is_collected() {
        let dir = tempfile::tempdir().unwrap();
        let told = dir.path().join("told");
        let mut command = Command::new("/bin/sh");
        let script = "cut -d' ' -f1,6 /proc/$$/stat; /usr/bin/env | grep -c -E '^(CARGO|HOME)'; cat";
        command.args(["-c", script]).stdout(std::fs::File::create(&told).unwrap()).stderr(Stdio::null());
        let id = detached(command).unwrap();
        tokio::time::timeout(Duration::from_secs(30), proc::gone(id)).await.unwrap();
        assert_eq!(std::fs::read_to_string(told).unwrap(), format!("{0} {0}\n0\n", id.pid));
    }
}
