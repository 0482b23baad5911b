//! The seed disk of cloud-init for disk images that are booted as they are.
//!
//! It is a small FAT volume called `CIDATA`, on which cloud-init looks for its data source NoCloud:
//!
//! ```text
//! meta-data         the id of the instance and its host name
//! network-config    address, gateway and name servers, version 2
//! user-data         one command, run at every boot: find this disk and run ring-setup.sh
//! ring-setup.sh     puts what follows in its place
//! ring-environment  NAME="value", as /etc/environment has it
//! ring-profile.sh   the same for shells
//! ring-file-0 …     configs and secrets
//! ```
//!
//! cloud-init keeps a copy of `user-data` on the guest's disk, which is a file of the host. So nothing that may be secret is in it:
//! the environment and the files stay on the seed disk, and `ring-setup.sh` copies them to a file system in memory of the guest and
//! mounts them over `/etc/environment` and the destinations. On the host the seed disk is on a file system in memory too.

mod disk;
mod script;

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use ring_runtime::{MountedFile, RuntimeError, RuntimeErrorKind, private_tmpfs};
use ring_types::{InstanceId, StartFailure};
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::net::Attached;

/// Name of the directory on the file system in memory.
const NAME: &str = "ring-seed";

/// What a guest is told.
#[derive(Clone)]
pub struct Seed {
    /// The instance; a guest that sees another id sets itself up anew.
    pub instance: InstanceId,
    /// Host name.
    pub hostname: String,
    /// The whole environment, secret values included.
    pub environment: BTreeMap<String, String>,
    /// Configs and secrets.
    pub files: Vec<MountedFile>,
    /// Directories and files of the host.
    pub mounts: Vec<ring_guest::Mount>,
    /// The network.
    pub network: Option<Attached>,
}

/// Where seed disks are.
#[derive(Clone, Debug)]
pub struct Seeds(Option<PathBuf>);

impl Seeds {
    /// `dir` is taken as it is, and has to be on a file system in memory; None means the usual place.
    pub fn new(dir: Option<PathBuf>) -> Self {
        Self(dir.or_else(|| private_tmpfs(NAME)))
    }

    /// Writes the seed disk of an instance, in place of one that is there. Nobody but this user can read it.
    ///
    /// [`StartFailure::Config`] when this host has no file system in memory, or something of it cannot be written down.
    pub async fn write(&self, seed: Seed) -> Result<PathBuf, RuntimeError> {
        let instance = seed.instance;
        let failed = |why: &str| {
            let kind = RuntimeErrorKind::Start(StartFailure::Config);
            RuntimeError::new(kind, format!("seed disk of instance {instance}: {why}"))
        };
        let path = self.path(instance).ok_or_else(|| failed("this host has no file system in memory to keep it on"))?;
        let files = files(&seed).map_err(|error| failed(&error.to_string()))?;
        let target = path.clone();
        let written =
            spawn_blocking(move || disk::write(&target, &files)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        match written {
            Ok(()) => Ok(path),
            Err(error) => {
                self.remove(instance).await?;
                Err(failed(&error.to_string()))
            }
        }
    }

    /// Takes the seed disk of an instance away. None there is no fault.
    pub async fn remove(&self, instance: InstanceId) -> Result<(), RuntimeError> {
        let Some(path) = self.path(instance) else { return Ok(()) };
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let message = format!("seed disk of instance {instance}: {} is not gone: {error}", path.display());
                Err(RuntimeError::new(RuntimeErrorKind::Other, message))
            }
            _ => Ok(()),
        }
    }

    /// The instances that have a seed disk.
    pub fn leftovers(&self) -> Vec<InstanceId> {
        let entries = self.0.as_ref().and_then(|dir| std::fs::read_dir(dir).ok());
        let ids = entries.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.collect()
    }

    fn path(&self, instance: InstanceId) -> Option<PathBuf> {
        Some(self.0.as_ref()?.join(instance.to_string()))
    }
}

/// Path on the disk and content.
type Files = Vec<(String, Vec<u8>)>;

fn files(seed: &Seed) -> io::Result<Files> {
    let mut files: Files = vec![
        ("meta-data".to_owned(), yaml(&meta_data(seed))?),
        ("network-config".to_owned(), yaml(&seed.network.as_ref().map_or_else(NetworkConfig::none, NetworkConfig::new))?),
        ("user-data".to_owned(), [b"#cloud-config\n".to_vec(), yaml(&UserData::new())?].concat()),
        ("ring-environment".to_owned(), script::environment(&seed.environment)?.into_bytes()),
        ("ring-profile.sh".to_owned(), script::profile(&seed.environment)?.into_bytes()),
        ("ring-setup.sh".to_owned(), script::setup(&seed.mounts, &destinations(seed))?.into_bytes()),
    ];
    let contents = seed.files.iter().map(|file| file.content.to_vec()).enumerate();
    files.extend(contents.map(|(number, content)| (format!("ring-file-{number}"), content)));
    Ok(files)
}

fn destinations(seed: &Seed) -> Vec<&str> {
    seed.files.iter().map(|file| file.destination.as_str()).collect()
}

fn yaml(value: &impl Serialize) -> io::Result<Vec<u8>> {
    serde_yaml::to_string(value).map(String::into_bytes).map_err(io::Error::other)
}

fn meta_data(seed: &Seed) -> BTreeMap<&'static str, String> {
    BTreeMap::from([("instance-id", seed.instance.to_string()), ("local-hostname", seed.hostname.clone())])
}

/// What cloud-init does at every boot, before anything of the image starts that may want it.
#[derive(Serialize)]
struct UserData {
    bootcmd: Vec<Vec<String>>,
}

impl UserData {
    fn new() -> Self {
        Self { bootcmd: vec![["sh", "-c", script::BOOT].map(str::to_owned).to_vec()] }
    }
}

/// Version 2 of cloud-init's network configuration.
#[derive(Serialize)]
struct NetworkConfig {
    version: u32,
    ethernets: BTreeMap<&'static str, Ethernet>,
}

#[derive(Serialize)]
struct Ethernet {
    #[serde(rename = "match")]
    which: BTreeMap<&'static str, String>,
    dhcp4: bool,
    dhcp6: bool,
    addresses: Vec<Ipv4Net>,
    routes: Vec<Route>,
    mtu: u32,
    nameservers: NameServers,
}

#[derive(Serialize)]
struct Route {
    to: &'static str,
    via: Ipv4Addr,
}

#[derive(Serialize)]
struct NameServers {
    addresses: Vec<Ipv4Addr>,
    search: Vec<String>,
}

impl NetworkConfig {
    fn none() -> Self {
        Self { version: 2, ethernets: BTreeMap::new() }
    }

    fn new(network: &Attached) -> Self {
        let ethernet = Ethernet {
            which: BTreeMap::from([("macaddress", network.mac.clone())]),
            dhcp4: false,
            dhcp6: false,
            addresses: vec![network.guest],
            routes: vec![Route { to: "0.0.0.0/0", via: network.gateway }],
            mtu: network.mtu,
            nameservers: NameServers { addresses: network.dns.clone(), search: network.search.clone() },
        };
        Self { version: 2, ethernets: BTreeMap::from([("ring0", ethernet)]) }
    }
}

#[cfg(test)]
mod tests;
