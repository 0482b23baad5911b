//! The record files of an instance, and how they get onto the disk whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ring_guest::{Mount, Network};
use ring_runtime::Workload;
use ring_types::{DeploymentId, DeploymentSpec, Generation, ImageConfig, Memory, Outcome, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::proc::ProcessId;
use crate::roots::RootImage;
use crate::vmm::Afterwards;

/// What prepare was told, without what may be secret: that is never written to disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) deployment: DeploymentId,
    pub(crate) generation: Generation,
    /// Without its environment and without the credentials of a registry.
    pub(crate) spec: DeploymentSpec,
    pub(crate) boot: Boot,
    /// Virtual processors.
    pub(crate) cpus: u32,
    pub(crate) memory: Memory,
}

/// What is booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Boot {
    /// The root file system of an OCI image, under our init.
    Image(RootImage),
    /// A disk image as it is.
    Disk(PathBuf),
}

impl Record {
    pub(crate) fn new(workload: &Workload, boot: Boot, cpus: u32, memory: Memory) -> Self {
        let mut spec = (*workload.spec).clone();
        spec.environment.clear();
        spec.config = ImageConfig { user: spec.config.user, ..ImageConfig::default() };
        Self { deployment: workload.deployment, generation: workload.generation, spec, boot, cpus, memory }
    }
}

/// The VMM of an instance. Nothing was executed in it as long as there is no [`Starting`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Vmm {
    /// The run of the host's kernel.
    pub(crate) boot: String,
    pub(crate) process: ProcessId,
    pub(crate) at: Timestamp,
    pub(crate) afterwards: Afterwards,
    pub(crate) wiring: Wiring,
}

/// What was made for the guest and what it is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wiring {
    pub(crate) network: Option<Network>,
    pub(crate) mounts: Vec<Mount>,
    /// The tap of the host, and the address the guest has on it.
    pub(crate) tap: Option<String>,
    pub(crate) address: Option<String>,
}

/// The one execution is about to happen. Whoever made this file, and nobody else, may start the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Starting {
    /// The run of the host's kernel.
    pub(crate) boot: String,
    /// The run of the guest's kernel that is told to start; None for a disk image.
    pub(crate) guest: Option<String>,
    pub(crate) at: Timestamp,
}

/// The workload runs, or a disk image was booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) at: Timestamp,
    /// The guest's address, when it has one.
    pub(crate) address: Option<String>,
}

/// We end it, whatever it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Killed {
    pub(crate) at: Timestamp,
}

/// The end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    pub(crate) outcome: Outcome,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Timestamp,
    /// For people: what was seen when no exit status came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

/// Reads a record. None when there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| with_path(path, &io::Error::from(e))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(with_path(path, &error)),
    }
}

/// Writes a record and does not return before it is on the disk. Replaces one that is there.
pub(crate) fn write(path: &Path, record: &impl Serialize) -> io::Result<()> {
    let staged = stage(path, record)?;
    let done = fs::rename(&staged, path).and_then(|()| sync_parent(path));
    done.map_err(|error| discard(&staged, path, &error))
}

/// Writes a record unless there is one already. True when it is this one; then it is on the disk.
pub(crate) fn write_new(path: &Path, record: &impl Serialize) -> io::Result<bool> {
    let staged = stage(path, record)?;
    let linked = fs::hard_link(&staged, path);
    let _ = fs::remove_file(&staged);
    match linked {
        Ok(()) => sync_parent(path).map(|()| true).map_err(|error| with_path(path, &error)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(with_path(path, &error)),
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes the content under a name nobody else uses.
fn stage(path: &Path, record: &impl Serialize) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let staged = PathBuf::from(name);
    let bytes = serde_json::to_vec(record)?;
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&staged)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
    written.map(|()| staged.clone()).map_err(|error| discard(&staged, path, &error))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_dir)
}

fn discard(staged: &Path, path: &Path, error: &io::Error) -> io::Error {
    let _ = fs::remove_file(staged);
    with_path(path, error)
}

fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_exclusive_records_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exit");
        let exit = |code| Exit { outcome: Outcome::Code(code), started_at: None, finished_at: Timestamp(5), detail: None };
        assert_eq!(read::<Exit>(&path).unwrap(), None);
        assert!(write_new(&path, &exit(1)).unwrap());
        assert!(!write_new(&path, &exit(2)).unwrap());
        assert_eq!(read::<Exit>(&path).unwrap(), Some(exit(1)));
        write(&path, &exit(3)).unwrap();
        assert_eq!(read::<Exit>(&path).unwrap(), Some(exit(3)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing staged is left behind");
    }
}
