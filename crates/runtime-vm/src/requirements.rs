//! What a host has to have for micro-VMs, and how to get what it lacks.

mod kernel;
mod places;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::config::VmConfig;
use crate::find::{is_program, program};
use crate::shares::{self, SharesConfig};

/// Longest wait for a program to say its version.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The program `cloud-hypervisor`: a path, or a name that is looked for.
    pub binary: PathBuf,
    /// Kernel for OCI images, and for disk images without firmware.
    pub kernel: Option<PathBuf>,
    /// Firmware for disk images.
    pub firmware: Option<PathBuf>,
    /// The kernel's device for virtual machines.
    pub kvm: PathBuf,
    /// Files of kernel modules that guests load.
    pub modules: Vec<PathBuf>,
    /// How volumes are shared.
    pub shares: SharesConfig,
    /// Guests have a network.
    pub network: bool,
    /// Where sockets are made.
    pub socket_dir: PathBuf,
    /// Where everything else is kept.
    pub data_dir: PathBuf,
}

impl From<&VmConfig> for Wanted {
    fn from(config: &VmConfig) -> Self {
        Self {
            binary: config.binary.clone(),
            kernel: config.kernel.clone(),
            firmware: config.firmware.clone(),
            kvm: config.kvm.clone(),
            modules: config.modules.clone(),
            shares: config.shares.clone(),
            network: config.network.is_some(),
            socket_dir: config.socket_dir.clone(),
            data_dir: config.data_dir.clone(),
        }
    }
}

/// What the lack of something means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// No micro-VM can run.
    Everything,
    /// Some cannot: [`Requirement::without`] says which.
    Some,
}

/// One thing a host has or lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Short, for the first column of a table, such as `/dev/kvm`.
    pub name: &'static str,
    /// What was found, such as a version; or what is wrong with it.
    pub found: Result<String, String>,
    /// What its lack means.
    pub weight: Weight,
    /// What does not work without it.
    pub without: &'static str,
    /// How to get it on Debian; one line.
    pub remedy: String,
    /// The configuration names it, so that its lack is a fault, whatever it is needed for.
    pub configured: bool,
}

impl Requirement {
    fn new(name: &'static str, found: Result<String, String>, weight: Weight, without: &'static str, remedy: &str) -> Self {
        Self { name, found, weight, without, remedy: remedy.to_owned(), configured: false }
    }

    fn configured(self, configured: bool) -> Self {
        Self { configured, ..self }
    }

    /// `what is wrong; without it …; how to get it`. None when nothing is wrong.
    pub fn lack(&self) -> Option<String> {
        let wrong = self.found.as_ref().err()?;
        Some(format!("{wrong}; without it {}; {}", self.without, self.remedy))
    }

    /// [`Self::lack`] with the name before it.
    pub fn problem(&self) -> Option<String> {
        self.lack().map(|lack| format!("{}: {lack}", self.name))
    }
}

/// Looks at everything; takes at most a few seconds, and changes nothing. In an order in which one would see to it.
pub async fn requirements(wanted: &Wanted) -> Vec<Requirement> {
    let asked = async { tokio::join!(vmm(&wanted.binary), virtiofsd(&wanted.shares), places::places(wanted)) };
    let (binary, virtiofsd, places) = asked.await;
    let mut all = vec![binary, kvm(&wanted.kvm), kernel::capabilities(wanted.network)];
    if wanted.network {
        all.extend([tun(), packet_filter(), forwarding()]);
    }
    all.push(places);
    all.push(kernel::kernel(wanted));
    all.extend(kernel::modules(wanted));
    all.extend([kernel::firmware(wanted), virtiofsd, mke2fs()]);
    all
}

/// The first thing without which no micro-VM can run.
pub fn obstacle(all: &[Requirement]) -> Option<String> {
    let broken = |one: &&Requirement| one.weight == Weight::Everything && one.found.is_err();
    all.iter().find(broken).and_then(Requirement::problem)
}

/// What some micro-VMs need and is not there, shortly: `no virtiofsd, no firmware`. Empty when nothing is missing.
pub fn missing(all: &[Requirement]) -> String {
    let broken = all.iter().filter(|one| one.weight == Weight::Some && one.found.is_err());
    broken.map(|one| format!("no {}", one.name)).collect::<Vec<_>>().join(", ")
}

async fn vmm(binary: &Path) -> Requirement {
    let name = binary.to_string_lossy();
    let path = if binary.components().count() > 1 { Some(binary.to_owned()) } else { program(&name) };
    let found = match path.filter(|path| is_program(path)) {
        None if binary.is_absolute() => Err(format!("there is no program '{name}'")),
        None => Err(format!("there is no '{name}' in $PATH")),
        Some(path) => match said(&path, "--version").await {
            Err(why) => Err(why),
            Ok(text) => match vmm_version(&text) {
                None => Err(format!("'{}' says '{text}', which is no version of Cloud Hypervisor", path.display())),
                Some(version) => Ok(version),
            },
        },
    };
    let remedy = "put a release of Cloud Hypervisor into /usr/local/bin, or set \
                  server.runtime.cloud_hypervisor.binary_path";
    Requirement::new("cloud-hypervisor", found, Weight::Everything, "no micro-VM runs", remedy)
}

/// `cloud-hypervisor v53.0` and `cloud-hypervisor v53.0-12-gabc` without what is the same for all.
fn vmm_version(text: &str) -> Option<String> {
    let version = text.strip_prefix("cloud-hypervisor ")?.trim();
    let numbers = version.strip_prefix('v').unwrap_or(version);
    numbers.starts_with(|c: char| c.is_ascii_digit()).then(|| numbers.to_owned())
}

fn kvm(device: &Path) -> Requirement {
    let found = opened(device).map(|()| "usable".to_owned());
    let remedy = match std::fs::OpenOptions::new().read(true).write(true).open(device) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => "run the agent as root, or as a member of the group kvm",
        _ => {
            "switch virtualization on in the firmware of the host (or nesting, where the host is a virtual machine itself) and load \
             kvm_intel or kvm_amd"
        }
    };
    Requirement::new("/dev/kvm", found, Weight::Everything, "no micro-VM runs", remedy)
}

fn tun() -> Requirement {
    let found = opened(Path::new("/dev/net/tun")).map(|()| "usable".to_owned());
    let remedy = "modprobe tun, and run the agent as root";
    Requirement::new("/dev/net/tun", found, Weight::Everything, "no micro-VM has a network", remedy)
}

fn opened(path: &Path) -> Result<(), String> {
    let opened = std::fs::OpenOptions::new().read(true).write(true).open(path);
    opened.map(drop).map_err(|error| match error.kind() {
        ErrorKind::NotFound => "it is not there".to_owned(),
        ErrorKind::PermissionDenied => format!("{} may not open it", who()),
        _ => error.to_string(),
    })
}

/// Whose rights were looked at: the agent's, or those of whoever asks.
fn who() -> String {
    match rustix::process::geteuid() {
        user if user.is_root() => "root".to_owned(),
        user => format!("user {}", user.as_raw()),
    }
}

fn packet_filter() -> Requirement {
    let iptables = program("iptables").filter(|_| program("iptables-restore").is_some());
    let found = iptables.or_else(|| program("nft")).map(|path| path.display().to_string());
    let found = found.ok_or_else(|| "there is neither iptables nor nft".to_owned());
    Requirement::new("packet filter", found, Weight::Everything, "no micro-VM has a network", "apt install nftables")
}

/// It is switched on with the first micro-VM, so that only a host where that cannot be done lacks it.
fn forwarding() -> Requirement {
    const SETTING: &str = "/proc/sys/net/ipv4/ip_forward";
    let found = match std::fs::read_to_string(SETTING) {
        Ok(value) if value.trim() != "0" => Ok("on".to_owned()),
        Ok(_) => match std::fs::OpenOptions::new().write(true).open(SETTING) {
            Ok(_) => Ok("off; it is switched on with the first micro-VM".to_owned()),
            Err(error) => Err(format!("it is off, and {} cannot switch it on: {error}", who())),
        },
        Err(error) => Err(error.to_string()),
    };
    Requirement::new("ip_forward", found, Weight::Everything, "no micro-VM has a network", "sysctl -w net.ipv4.ip_forward=1")
}

async fn virtiofsd(config: &SharesConfig) -> Requirement {
    let found = match shares::find(config) {
        Ok(path) => shares::version(&path).await.map(|version| format!("{version}, {}", path.display())),
        Err(why) => Err(why),
    };
    let without = "no micro-VM has volumes or bind mounts";
    let remedy = "apt install virtiofsd (Debian 13), or cargo install virtiofsd, and where it is elsewhere set \
                  server.runtime.cloud_hypervisor.virtiofsd_path";
    Requirement::new("virtiofsd", found, Weight::Some, without, remedy).configured(config.program.is_some())
}

fn mke2fs() -> Requirement {
    let found = program("mke2fs").map(|path| path.display().to_string()).ok_or_else(|| "there is no mke2fs".to_owned());
    Requirement::new("mke2fs", found, Weight::Some, "no OCI image becomes a root file system", "apt install e2fsprogs")
}

/// The first line of what a program says.
async fn said(program: &Path, argument: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    let asked = command.arg(argument).env_clear().stdin(Stdio::null()).kill_on_drop(true).output();
    let shown = program.display();
    match timeout(PATIENCE, asked).await {
        Err(_) => Err(format!("'{shown}' does not answer")),
        Ok(Err(error)) => Err(format!("'{shown}' cannot be executed: {error}")),
        Ok(Ok(output)) => Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned()),
    }
}

#[cfg(test)]
mod tests;
