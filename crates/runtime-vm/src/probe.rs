//! Can this host run micro-VMs, and what not?

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ring_types::{RuntimeKind, RuntimeReport};
use rustix::fs::{Access, access};
use tokio::process::Command;
use tokio::time::timeout;

use crate::config::VmConfig;
use crate::driver::Shared;
use crate::find::{is_program, program};

/// A program that is asked for its version answers at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// What helpers are for and how they are got: program, other places it is at, what needs it.
const HELPERS: [(&str, &[&str], &str); 2] =
    [("virtiofsd", &["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"], "volumes"), ("mke2fs", &[], "OCI images")];

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
        let Some(program) = self.config.program() else { return report(String::new(), Some(no_program(&self.config))) };
        let version = match self.program(&program).await {
            Ok(found) => found.version,
            Err(why) => return report(String::new(), Some(why)),
        };
        let found = self.blocking(|shared| Ok((problem(&shared.config), missing(&shared.config)))).await;
        let (problem, missing) = found.unwrap_or_else(|error| (Some(error.message), Vec::new()));
        let note = if missing.is_empty() { String::new() } else { format!("; not possible here: {}", missing.join(", ")) };
        report(format!("{version}{note}"), problem)
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
    command.arg(argument).stdin(std::process::Stdio::null()).kill_on_drop(true);
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

/// What keeps every micro-VM from running here.
fn problem(config: &VmConfig) -> Option<String> {
    kvm(&config.kvm).or_else(|| boots(config)).or_else(|| directories(config))
}

fn kvm(device: &Path) -> Option<String> {
    let name = device.display();
    if !device.exists() {
        return Some(format!(
            "{name} is not there: load the module kvm_intel or kvm_amd, or turn virtualization on in the firmware or for this VM"
        ));
    }
    let denied = access(device, Access::READ_OK | Access::WRITE_OK).err()?;
    Some(format!("{name} cannot be opened ({denied}): run the agent as root or as a member of the group kvm"))
}

fn boots(config: &VmConfig) -> Option<String> {
    let configured = [("kernel_path", &config.kernel), ("firmware_path", &config.firmware)];
    for (key, path) in configured {
        if let Some(path) = path.as_ref().filter(|path| !path.is_file()) {
            return Some(format!("server.runtime.cloud_hypervisor.{key}: there is no file '{}'", path.display()));
        }
    }
    let none = config.kernel.is_none() && config.firmware.is_none();
    none.then(|| {
        "there is nothing to boot with: set server.runtime.cloud_hypervisor.kernel_path to a kernel (for OCI images), \
         or firmware_path to a firmware (for disk images)"
            .to_owned()
    })
}

fn directories(config: &VmConfig) -> Option<String> {
    if !config.sockets_fit() {
        return Some(format!(
            "server.runtime.cloud_hypervisor.socket_dir: '{}' is too long for the sockets in it; choose a path of at most 58 bytes",
            config.socket_dir.display()
        ));
    }
    let unwritable = [&config.socket_dir, &config.data_dir].into_iter().find_map(|dir| {
        let probe = dir.join(".probe");
        let tried = std::fs::write(&probe, b"ring").and_then(|()| std::fs::remove_file(&probe));
        tried.err().map(|error| format!("'{}' cannot be written to: {error}", dir.display()))
    });
    unwritable
}

/// What some micro-VMs need and this host does not have.
fn missing(config: &VmConfig) -> Vec<String> {
    let mut all = Vec::new();
    if config.kernel.is_none() {
        all.push("OCI images (server.runtime.cloud_hypervisor.kernel_path is not set)".to_owned());
    }
    for (name, places, what) in HELPERS {
        let there = program(name).is_some() || places.iter().any(|place| is_program(Path::new(place)));
        if !there {
            all.push(format!("{what} ({name} is not installed)"));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> VmConfig {
        let file = |name: &str| {
            let path = dir.join(name);
            std::fs::write(&path, "x").unwrap();
            path
        };
        VmConfig { kernel: Some(file("vmlinux")), kvm: file("kvm"), socket_dir: dir.to_owned(), ..VmConfig::new(dir) }
    }

    #[test]
    fn every_problem_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let whole = config(dir.path());
        assert_eq!(problem(&whole), None);
        let cases = [
            (VmConfig { kvm: dir.path().join("none"), ..whole.clone() }, "load the module"),
            (VmConfig { kernel: None, ..whole.clone() }, "kernel_path"),
            (VmConfig { kernel: Some(dir.path().join("gone")), ..whole.clone() }, "there is no file"),
            (VmConfig { firmware: Some(dir.path().join("gone")), ..whole.clone() }, "firmware_path"),
            (VmConfig { socket_dir: PathBuf::from(format!("/{}", "x".repeat(58))), ..whole.clone() }, "at most 58 bytes"),
            (VmConfig { data_dir: dir.path().join("gone"), ..whole }, "cannot be written to"),
        ];
        for (config, told) in cases {
            let problem = problem(&config).unwrap();
            assert!(problem.contains(told), "{problem}");
        }
    }

    #[test]
    fn what_only_some_need_is_no_problem() {
        let dir = tempfile::tempdir().unwrap();
        let firmware = config(dir.path()).kernel;
        let config = VmConfig { kernel: None, firmware, ..config(dir.path()) };
        assert_eq!(problem(&config), None);
        assert!(missing(&config).iter().any(|what| what.contains("OCI images") && what.contains("kernel_path")));
    }
}
