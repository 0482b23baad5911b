//! Where the files of an instance are.
//!
//! ```text
//! <root>/<instance id>/
//!     record      made by prepare: what is to be run, without the environment
//!     starting    made by the supervisor, exclusively, just before the only execution: who supervises, in which boot
//!     started     the workload's process
//!     exit        how it ended; the last thing the supervisor does
//!     work/       working directory of the workload
//!     logs/       output, numbered files
//!     volumes/    anonymous volumes
//!     files/      where the workload, and nobody else, sees its configs and secrets; empty for everybody else
//! ```

use std::path::{Path, PathBuf};

use ring_types::InstanceId;

/// Directories with this prefix are being taken away.
pub(crate) const REMOVING: &str = ".removing-";

/// The directory of one instance.
#[derive(Clone, Debug)]
pub(crate) struct InstanceDir(PathBuf);

impl InstanceDir {
    pub(crate) fn new(root: &Path, instance: InstanceId) -> Self {
        Self(root.join(instance.to_string()))
    }

    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The id of the instance, which is the directory's name.
    pub(crate) fn instance(&self) -> Option<InstanceId> {
        self.0.file_name()?.to_str()?.parse().ok()
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.0.join("record")
    }

    pub(crate) fn starting(&self) -> PathBuf {
        self.0.join("starting")
    }

    pub(crate) fn started(&self) -> PathBuf {
        self.0.join("started")
    }

    pub(crate) fn exit(&self) -> PathBuf {
        self.0.join("exit")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// An anonymous volume, by the number of its mount.
    pub(crate) fn volume(&self, number: usize) -> PathBuf {
        self.0.join("volumes").join(number.to_string())
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.0.join("files")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }
}
