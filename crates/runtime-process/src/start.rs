//! Starting an instance: hand the order to a supervisor and wait for its answer.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::{InstanceId, StartFailure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::driver::{Shared, not_found};
use crate::env::{Answer, Order};
use crate::layout::InstanceDir;
use crate::observe::State;
use crate::record;

/// A supervisor answers within milliseconds; one that does not is on a host that hangs.
const PATIENCE: Duration = Duration::from_secs(10);

impl Shared {
    /// Starts an instance that was not started before. The caller holds its lock.
    pub(crate) async fn start(self: &Arc<Self>, instance: InstanceId) -> Result<(), RuntimeError> {
        match self.observe(instance).await? {
            State::Absent => return Err(not_found(instance)),
            State::Running(..) | State::Exited(_) => return Ok(()),
            State::Starting(_) => return self.settle(instance).await,
            State::Created => {}
        }
        let order = self.order(instance).await?;
        let answer = timeout(PATIENCE, self.supervise(instance, &order)).await;
        // Whatever was answered, the records say what is; and a supervisor that lives is watched from here on.
        match (answer, self.observe(instance).await?) {
            (Ok(Ok(Some(Answer::Refused(message)))), State::Created) => {
                return Err(RuntimeError::new(RuntimeErrorKind::Start(StartFailure::FileSystem), message));
            }
            (Ok(Err(error)), State::Created) => return Err(other(instance, &error.to_string())),
            (Ok(Ok(_)), State::Created) => return Err(other(instance, "its supervisor ended before the start")),
            (Err(_), State::Created) => return Err(unavailable(instance)),
            _ => {}
        }
        self.changed(instance);
        self.settle(instance).await
    }

    /// Waits until the supervisor has written down that it executed the workload, or that it could not.
    pub(crate) async fn settle(self: &Arc<Self>, instance: InstanceId) -> Result<(), RuntimeError> {
        let settled = async {
            while matches!(self.observe(instance).await?, State::Starting(_)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        };
        timeout(PATIENCE, settled).await.unwrap_or_else(|_| Err(unavailable(instance)))
    }

    async fn order(self: &Arc<Self>, instance: InstanceId) -> Result<Order, RuntimeError> {
        let dir = self.dir(instance);
        let kept = self.blocking(move |shared| Ok(shared.vault.get(instance))).await?.ok_or_else(|| {
            let message = "its environment is gone: it is never on disk, and the host was restarted before the start";
            RuntimeError::new(RuntimeErrorKind::Start(StartFailure::Config), message)
        })?;
        let record = self.blocking(move |_| record::read(&dir.record())).await?;
        Ok(Order { record: record.ok_or_else(|| not_found(instance))?, environment: kept.environment, files: kept.files })
    }

    /// Runs a supervisor and gives its answer; None when it ended without one.
    async fn supervise(&self, instance: InstanceId, order: &Order) -> std::io::Result<Option<Answer>> {
        let order = serde_json::to_vec(order)?;
        let mut shim = self.spawn(&self.dir(instance), None)?;
        if let Some(mut stdin) = shim.stdin.take() {
            // An error here means that it ended; then it has no answer either.
            let _ = stdin.write_all(&order).await;
        }
        let mut line = String::new();
        if let Some(stdout) = shim.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).await?;
        }
        // Collected when it ends, so that it leaves no zombie while this agent lives.
        tokio::spawn(async move { shim.wait().await });
        Ok(serde_json::from_str(&line).ok())
    }

    /// The supervisor gets nothing of the agent's environment, which may hold keys and tokens.
    pub(crate) fn spawn(&self, dir: &InstanceDir, mode: Option<&str>) -> std::io::Result<Child> {
        let (program, arguments) =
            self.config.shim_command.split_first().ok_or_else(|| std::io::Error::other("there is no supervisor command"))?;
        let mut command = Command::new(program);
        command.args(arguments).arg(dir.path()).args(mode).env_clear().current_dir("/");
        let stderr = if mode.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).spawn()
    }
}

fn other(instance: InstanceId, message: &str) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Other, format!("instance {instance} could not be started: {message}"))
}

fn unavailable(instance: InstanceId) -> RuntimeError {
    let message = format!("the supervisor of instance {instance} has not answered for {} seconds", PATIENCE.as_secs());
    RuntimeError::new(RuntimeErrorKind::Unavailable, message)
}
