//! Can this host run micro-VMs, and what not?

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ring_types::{RuntimeKind, RuntimeReport};
use tokio::process::Command;
use tokio::time::timeout;

use crate::config::VmConfig;
use crate::driver::Shared;
use crate::requirements::{self, Wanted};

/// A program that is asked for its version answers at once, on a host that is not busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// The whole report is made within this.
const WHOLE: Duration = Duration::from_secs(4);

/// What was found out about a program, once for each file that it was.
#[derive(Default)]
pub(crate) struct Known(Mutex<Option<(Asked, Program)>>);

/// Path and time of change of a program.
type Asked = (PathBuf, Option<SystemTime>);

/// What a program says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Program {
    version: String,
    /// It can stay when its guest is off.
    stays: bool,
}

impl Shared {
    pub(crate) async fn probe(self: &Arc<Self>) -> RuntimeReport {
        let report = |version, problem| RuntimeReport { kind: RuntimeKind::CloudHypervisor, version, problem };
        let wanted = Wanted::from(&self.config);
        let asked = async { tokio::join!(requirements::requirements(&wanted), self.version()) };
        let Ok((all, version)) = timeout(WHOLE, asked).await else {
            let why =
                format!("what this host has for micro-VMs is not known: it was not told within {} seconds", WHOLE.as_secs());
            return report(String::new(), Some(why));
        };
        let missing = requirements::missing(&all);
        let note = if missing.is_empty() { String::new() } else { format!("; {missing}") };
        report(format!("{version}{note}"), requirements::obstacle(&all))
    }

    /// Empty when there is no program, or it does not say.
    async fn version(self: &Arc<Self>) -> String {
        let Some(program) = self.config.program() else { return String::new() };
        self.program(&program).await.map(|found| found.version).unwrap_or_default()
    }

    /// Can this VMM stay when its guest is off?
    pub(crate) async fn can_stay(self: &Arc<Self>, program: &Path) -> bool {
        self.program(program).await.is_ok_and(|found| found.stays)
    }

    async fn program(self: &Arc<Self>, program: &Path) -> Result<Program, String> {
        let changed = std::fs::metadata(program).and_then(|found| found.modified()).ok();
        let asked = (program.to_owned(), changed);
        if let Some(found) = self.known.of(&asked) {
            return Ok(found);
        }
        let version = said(program, "--version").await?;
        let version = version.split_whitespace().last().unwrap_or_default().trim_start_matches('v').to_owned();
        let stays = said(program, "--help").await?.contains("--no-shutdown");
        let found = Program { version, stays };
        *self.known.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((asked, found.clone()));
        Ok(found)
    }
}

impl Known {
    fn of(&self, asked: &Asked) -> Option<Program> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(of, _)| of == asked).map(|(_, found)| found.clone())
    }
}

async fn said(program: &Path, argument: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg(argument).env_clear().stdin(std::process::Stdio::null()).kill_on_drop(true);
    let name = program.display();
    match timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Ok(output)) => Err(format!("'{name} {argument}' ends with {}: is it Cloud Hypervisor?", output.status)),
        Ok(Err(error)) => Err(format!("'{name}' cannot be executed: {error}")),
        Err(_) => Err(format!("'{name} {argument}' has not ended after {} seconds", PATIENCE.as_secs())),
    }
}

pub(crate) fn no_program(config: &VmConfig) -> String {
    let key = "server.runtime.cloud_hypervisor.binary_path";
    format!(
        "Cloud Hypervisor: there is no program '{}' that can be executed; install cloud-hypervisor, or set {key} to where it is",
        config.binary.display()
    )
}
