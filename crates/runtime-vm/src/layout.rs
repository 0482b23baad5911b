//! Where the files of an instance are.
//!
//! ```text
//! <data>/instances/<instance id>/
//!     record      made by prepare: what is to be booted, without the environment
//!     vmm         the VMM's process, written before it is told anything
//!     starting    made exclusively, just before the one execution: of which VMM, in which guest
//!     started     the guest said that the workload runs; of a disk image: it was booted
//!     killed      we are about to pull the plug
//!     exit        how it ended; written before anybody is told
//!     disk.raw    its own copy of a disk image
//!     lock        held by the machine that watches it
//!     run/        events of the VMM, its own log, the serial console
//!     logs/       output, numbered files
//!     shares/     what belongs to the helpers that show directories of the host
//!     volumes/    anonymous volumes
//! <sockets>/<instance id>/
//!     api         the VMM's interface
//!     vsock       the guest's, with vsock_1024 that the driver listens on
//! ```

use std::path::{Path, PathBuf};

use ring_types::InstanceId;

/// Directories with this prefix are being taken away.
pub(crate) const REMOVING: &str = ".removing-";

/// The files of one instance.
#[derive(Clone, Debug)]
pub(crate) struct InstanceDir {
    files: PathBuf,
    sockets: PathBuf,
}

impl InstanceDir {
    pub(crate) fn new(instances: &Path, sockets: &Path, instance: InstanceId) -> Self {
        let name = instance.to_string();
        Self { files: instances.join(&name), sockets: sockets.join(name) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.files
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.files.join("record")
    }

    pub(crate) fn vmm(&self) -> PathBuf {
        self.files.join("vmm")
    }

    pub(crate) fn starting(&self) -> PathBuf {
        self.files.join("starting")
    }

    pub(crate) fn started(&self) -> PathBuf {
        self.files.join("started")
    }

    pub(crate) fn killed(&self) -> PathBuf {
        self.files.join("killed")
    }

    pub(crate) fn exit(&self) -> PathBuf {
        self.files.join("exit")
    }

    /// Held by the machine that watches the instance.
    pub(crate) fn lock(&self) -> PathBuf {
        self.files.join("lock")
    }

    /// The copy of a disk image that the instance writes to.
    pub(crate) fn disk(&self) -> PathBuf {
        self.files.join("disk.raw")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.files.join("logs")
    }

    /// What belongs to one run of the VMM.
    pub(crate) fn run(&self) -> PathBuf {
        self.files.join("run")
    }

    pub(crate) fn events(&self) -> PathBuf {
        Self::events_in(&self.run())
    }

    pub(crate) fn events_in(run: &Path) -> PathBuf {
        run.join("events")
    }

    pub(crate) fn vmm_log(&self) -> PathBuf {
        Self::vmm_log_in(&self.run())
    }

    pub(crate) fn vmm_log_in(run: &Path) -> PathBuf {
        run.join("vmm.log")
    }

    pub(crate) fn console(&self) -> PathBuf {
        Self::console_in(&self.run())
    }

    pub(crate) fn console_in(run: &Path) -> PathBuf {
        run.join("console")
    }

    pub(crate) fn sockets(&self) -> &Path {
        &self.sockets
    }

    pub(crate) fn api(&self) -> PathBuf {
        self.sockets.join("api")
    }

    pub(crate) fn vsock(&self) -> PathBuf {
        self.sockets.join("vsock")
    }
}

/// The id that is a directory's name.
pub(crate) fn instance(path: &Path) -> Option<InstanceId> {
    path.file_name()?.to_str()?.parse().ok()
}
