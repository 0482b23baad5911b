//! The slot of a lab: the number that names its address range, namespaces, control group and directory.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::{command, report, sweep};

/// Labs that can exist at the same time on one machine.
const SLOTS: u8 = 250;

/// Where named network namespaces are, see ip-netns(8).
const NAMESPACES: &str = "/var/run/netns";

/// The directory of all labs. It is short because a path of a unix socket has at most 107 bytes.
pub(super) fn root() -> PathBuf {
    PathBuf::from("/tmp/ring-lab")
}

/// A claimed slot, held by a file lock that the kernel releases when this process dies.
#[derive(Debug)]
pub(super) struct Slot {
    number: u8,
    lock: File,
    dir: PathBuf,
    cgroup: String,
}

impl Slot {
    /// Takes the first free slot, after cleaning away the labs of dead runs.
    pub(super) fn claim(name: &str) -> Result<Self> {
        fs::create_dir_all(root())?;
        let mut claimed = None;
        for number in 1..=SLOTS {
            let known = lock_path(number).exists();
            if claimed.is_some() && !known {
                continue;
            }
            let Some(slot) = Self::try_lock(number)? else { continue };
            if slot.is_dirty()?
                && let Err(error) = slot.clean()
            {
                // The slot stays marked, and the next lab tries again.
                report::line(&format!("the dead lab in slot {number} could not be cleaned away: {error:#}"));
                continue;
            }
            if claimed.is_none() {
                claimed = Some(slot);
            }
        }
        let Some(mut slot) = claimed else { bail!("all {SLOTS} lab slots are in use") };
        writeln!(slot.lock, "{name} of process {}", std::process::id())?;
        fs::create_dir_all(&slot.dir)?;
        Ok(slot)
    }

    /// `None` when a living lab holds the slot.
    fn try_lock(number: u8) -> Result<Option<Self>> {
        let lock = OpenOptions::new().create(true).append(true).open(lock_path(number))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let dir = root().join(number.to_string());
        Ok(Some(Self { number, lock, dir, cgroup: format!("ring-lab-{number}") }))
    }

    /// Its last user did not clean up: the lock file still names it.
    fn is_dirty(&self) -> Result<bool> {
        Ok(self.lock.metadata()?.len() > 0)
    }

    /// Directory of the lab.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The control group all containers of the lab are below.
    pub(super) fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// Name of the namespace of a host, or of the switch.
    pub(super) fn namespace(&self, host: &str) -> String {
        format!("{}{host}", self.prefix())
    }

    /// The interface in the machine's own namespace.
    pub(super) fn uplink(&self) -> String {
        format!("{}up", self.prefix())
    }

    /// The file of a namespace.
    pub(super) fn namespace_file(host_namespace: &str) -> PathBuf {
        Path::new(NAMESPACES).join(host_namespace)
    }

    /// Address number `index` of the lab's range.
    pub(super) fn ip(&self, index: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.number, index)
    }

    /// The address of the machine itself.
    pub(super) fn own_ip(&self) -> Ipv4Addr {
        self.ip(254)
    }

    fn prefix(&self) -> String {
        format!("rl{}-", self.number)
    }

    /// Ends every process of the lab and removes its namespaces, mounts, control groups and files.
    pub(super) fn clean(&self) -> Result<()> {
        let namespaces = self.namespaces();
        let networks: Vec<_> = namespaces.iter().filter_map(|name| sweep::namespace_id(&Self::namespace_file(name))).collect();
        sweep::kill_all(|pid| sweep::in_networks(pid, &networks) || sweep::in_cgroup(pid, &self.cgroup))?;
        sweep::unmount_below(&self.dir)?;
        self.remove_network(&namespaces)?;
        sweep::remove_cgroup(&self.cgroup)?;
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        Ok(self.lock.set_len(0)?)
    }

    fn namespaces(&self) -> Vec<String> {
        let prefix = self.prefix();
        let Ok(entries) = fs::read_dir(NAMESPACES) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with(&prefix)).collect()
    }

    /// The uplink goes first and by itself: the kernel takes namespaces down later, and its name would stay taken.
    fn remove_network(&self, namespaces: &[String]) -> Result<()> {
        let uplink = self.uplink();
        if Path::new("/sys/class/net").join(&uplink).exists() {
            command::run(command::command("ip", ["link", "delete", &uplink]))?.ok()?;
        }
        for namespace in namespaces {
            command::run(command::command("ip", ["netns", "delete", namespace]))?.ok()?;
        }
        Ok(())
    }
}

fn lock_path(number: u8) -> PathBuf {
    root().join(format!("{number}.lock"))
}
