//! What the runtime has to be told about its host.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ring_types::Memory;

use crate::find::{is_program, program};
use crate::image::ImagesConfig;
use crate::net::NetworkConfig;
use crate::shares::SharesConfig;

/// The program when no path is configured, looked for in `$PATH`.
pub const BINARY: &str = "cloud-hypervisor";

/// Memory of a micro-VM whose deployment says nothing, bytes.
pub const DEFAULT_MEMORY: Memory = Memory(512 << 20);

/// Virtual processors of a micro-VM whose deployment says nothing.
pub const DEFAULT_CPUS: u32 = 1;

/// Less memory boots no kernel, bytes.
pub const LEAST_MEMORY: Memory = Memory(64 << 20);

/// Longest path of a unix socket, bytes, without the zero at its end.
const SOCKET_PATH: usize = 107;

/// The longest name of a socket of an instance, below the directory for sockets.
const LONGEST_SOCKET: &str = "/00000000-0000-0000-0000-000000000000/vsock_65535";

/// Longest path of the directory for sockets, bytes.
pub(crate) const SOCKET_DIR: usize = SOCKET_PATH - LONGEST_SOCKET.len();

/// Where micro-VMs come from and where their files go: the section `[server.runtime.cloud_hypervisor]` and the data directory.
#[derive(Clone, Debug)]
pub struct VmConfig {
    /// The program `cloud-hypervisor`: a path, or a name that is looked for in `$PATH`. Key `binary_path`.
    pub binary: PathBuf,
    /// Firmware that boots disk images; None: they are booted with the kernel. Key `firmware_path`.
    pub firmware: Option<PathBuf>,
    /// Kernel that is booted directly: needed for OCI images, and for disk images without firmware. Key `kernel_path`.
    pub kernel: Option<PathBuf>,
    /// Where sockets are made, a directory for each instance. Its path has at most 58 bytes. Key `socket_dir`.
    pub socket_dir: PathBuf,
    /// Directory of the instances, images and volumes, of nothing else. Made when it is not there.
    pub data_dir: PathBuf,
    /// Filter of the VMM's system calls. Key `seccomp`.
    pub seccomp: Seccomp,
    /// What there is to give to micro-VMs.
    pub host: Host,
    /// The network of the guests; None: they have none, and no ports are published.
    pub network: Option<NetworkConfig>,
    /// How volumes and bind mounts are shown to guests.
    pub shares: SharesConfig,
    /// More words for the command line of a kernel that is booted directly; empty: none.
    pub cmdline: String,
    /// Where images come from and where their root file systems are kept.
    pub images: ImagesConfig,
    /// Kernel modules that our init loads first, in any order: for kernels that have virtio, vsock, ext4 or overlayfs as modules.
    pub modules: Vec<PathBuf>,
    /// The initramfs that OCI images are booted with. None: ours, with the modules in it.
    pub initramfs: Option<PathBuf>,
    /// Directory of the seed disks of disk images, on a file system in memory; None: the usual place.
    pub seed_dir: Option<PathBuf>,
    /// The kernel's device for virtual machines.
    pub kvm: PathBuf,
    /// Program and first arguments of a keeper, which ends in [`crate::keeper_main`]. Empty: there are none, and what a guest
    /// writes on its console is kept whole while no agent reads it.
    pub keeper_command: Vec<OsString>,
    /// How long is waited for what should take less.
    pub patience: Patience,
}

/// How long is waited for what should take less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For an answer of the VMM to anything but a boot.
    pub call: Duration,
    /// For a boot: the VMM allocates memory, and connects to every helper.
    pub boot: Duration,
    /// From the boot to a guest that has started its workload.
    pub guest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { call: Duration::from_secs(10), boot: Duration::from_secs(30), guest: Duration::from_mins(2) }
    }
}

/// What the VMM does about a system call it should not make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// Ends (`true`, the default).
    #[default]
    On,
    /// Makes it (`false`).
    Off,
    /// Makes it, and the kernel's audit log has a line of it (`log`).
    Log,
}

/// What a host has to give to its micro-VMs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Processors.
    pub cpus: u32,
    /// Memory.
    pub memory: Memory,
}

/// A text that is no value of `seccomp`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not one of true, false, log")]
pub struct SeccompError(String);

impl VmConfig {
    /// The defaults, with everything below `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            binary: PathBuf::from(BINARY),
            firmware: None,
            kernel: None,
            socket_dir: data_dir.join("sockets"),
            seccomp: Seccomp::default(),
            host: Host::this(),
            network: Some(NetworkConfig::new(data_dir.join("network"))),
            shares: SharesConfig::new(data_dir.join("volumes")),
            cmdline: String::new(),
            images: ImagesConfig::new(data_dir.join("images")),
            modules: Vec::new(),
            initramfs: None,
            seed_dir: None,
            kvm: PathBuf::from("/dev/kvm"),
            keeper_command: Vec::new(),
            data_dir,
            patience: Patience::default(),
        }
    }

    /// Is there such a program on this host?
    pub fn has_program(&self) -> bool {
        self.program().is_some()
    }

    /// Where the instances are.
    pub(crate) fn instances(&self) -> PathBuf {
        self.data_dir.join("instances")
    }

    /// The program as it can be executed; None when there is none.
    pub(crate) fn program(&self) -> Option<PathBuf> {
        match self.binary.to_str() {
            Some(name) if self.binary.components().count() == 1 => program(name),
            _ => Some(self.binary.clone()).filter(|path| is_program(path)),
        }
    }
}

/// Do the paths of sockets in this directory fit into what a socket's address holds?
pub(crate) fn sockets_fit(dir: &Path) -> bool {
    dir.as_os_str().len() <= SOCKET_DIR
}

impl Host {
    /// This host. What cannot be read counts as none.
    pub fn this() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX));
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = total.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        Self { cpus, memory: Memory(kib.unwrap_or_default() * 1024) }
    }
}

impl FromStr for Seccomp {
    type Err = SeccompError;

    fn from_str(text: &str) -> Result<Self, SeccompError> {
        match text {
            "true" => Ok(Self::On),
            "false" => Ok(Self::Off),
            "log" => Ok(Self::Log),
            other => Err(SeccompError(other.to_owned())),
        }
    }
}

impl fmt::Display for Seccomp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "true",
            Self::Off => "false",
            Self::Log => "log",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seccomp_is_written_as_it_is_read() {
        for text in ["true", "false", "log"] {
            assert_eq!(text.parse::<Seccomp>().unwrap().to_string(), text);
        }
        let refused = "yes".parse::<Seccomp>().unwrap_err().to_string();
        assert!(refused.contains("'yes'") && refused.contains("true, false, log"), "{refused}");
    }

    #[test]
    fn a_socket_directory_that_is_too_deep_is_known() {
        assert_eq!(SOCKET_DIR, 58);
        assert!(sockets_fit(Path::new(&"/".repeat(58))));
        assert!(!sockets_fit(Path::new(&"/".repeat(59))));
    }

    #[test]
    fn a_program_is_found_by_name_and_by_path() {
        let of = |binary: &str| VmConfig { binary: PathBuf::from(binary), ..VmConfig::new("/data") }.program();
        assert!(of("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(of("no-such-program"), None);
        assert_eq!(of("/etc/passwd"), None, "it cannot be executed");
    }

    #[test]
    fn this_host_has_something() {
        let host = Host::this();
        assert!(host.cpus > 0 && host.memory.0 > 0);
    }
}
