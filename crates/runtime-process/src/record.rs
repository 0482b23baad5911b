//! The record files of an instance, and how they get onto the disk whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ring_types::{Cpu, DeploymentId, Generation, Memory, Outcome, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::proc::ProcessId;

/// What prepare was told, without the environment: that may hold secrets and is never written to disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) deployment: DeploymentId,
    pub(crate) generation: Generation,
    pub(crate) command: Vec<String>,
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) limits: Limits,
    /// What is mounted for it, and only for it.
    #[serde(default)]
    pub(crate) mounts: Vec<Mount>,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mount {
    pub(crate) source: Source,
    pub(crate) destination: PathBuf,
    pub(crate) read_only: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// A directory or file of the host.
    Path(PathBuf),
    /// One of the workload's files: its number.
    File(usize),
}

/// What the control group enforces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Thousandths of a processor.
    pub(crate) cpu_milli: Option<u64>,
    /// Bytes.
    pub(crate) memory: Option<u64>,
}

impl Limits {
    pub(crate) fn new(cpu: Option<Cpu>, memory: Option<Memory>) -> Self {
        Self { cpu_milli: cpu.map(|c| c.0).filter(|c| *c > 0), memory: memory.map(|m| m.0).filter(|m| *m > 0) }
    }

    pub(crate) fn any(self) -> bool {
        self.cpu_milli.is_some() || self.memory.is_some()
    }
}

/// The one execution is about to happen. Whoever made this file, and nobody else, may execute the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Starting {
    pub(crate) boot: String,
    pub(crate) shim: ProcessId,
    pub(crate) at: Timestamp,
}

/// The workload has been executed. Its process leads its own process group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) process: ProcessId,
    pub(crate) at: Timestamp,
}

/// The end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    pub(crate) outcome: Outcome,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Timestamp,
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
        let exit = |code| Exit { outcome: Outcome::Code(code), started_at: None, finished_at: Timestamp(5) };
        assert_eq!(read::<Exit>(&path).unwrap(), None);
        assert!(write_new(&path, &exit(1)).unwrap());
        assert!(!write_new(&path, &exit(2)).unwrap());
        assert_eq!(read::<Exit>(&path).unwrap(), Some(exit(1)));
        write(&path, &exit(3)).unwrap();
        assert_eq!(read::<Exit>(&path).unwrap(), Some(exit(3)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing staged is left behind");
    }
}
