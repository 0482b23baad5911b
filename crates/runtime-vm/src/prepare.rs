//! Making an instance: is it something that can run here, its image, and its directory.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use ring_runtime::{Prepared, RuntimeError, RuntimeErrorKind, Workload};
use ring_types::{StartFailure, VolumeKind};

use crate::admission;
use crate::disk;
use crate::driver::{Shared, remove_all};
use crate::layout::InstanceDir;
use crate::observe::State;
use crate::record::{self, Boot, Record};
use crate::vault::Kept;

/// An image whose name begins with this is the path of a disk image.
const PATH: char = '/';

impl Shared {
    /// Makes the instance of a workload unless it is there. The caller holds its lock.
    pub(crate) async fn prepare(self: &Arc<Self>, workload: &Workload) -> Result<Prepared, RuntimeError> {
        if self.observe(workload.instance).await? != State::Absent {
            return self.digest(workload).await;
        }
        let (cpus, memory) = admission::allocation(&workload.spec.resources);
        admission::fits(self.config.host, (cpus, memory))?;
        self.check_wiring(workload)?;
        check_files(workload)?;
        let boot = self.image(workload).await?;
        let digest = digest(&boot);
        let record = Record::new(workload, boot, cpus, memory);
        let dir = self.dir(workload.instance);
        self.blocking(move |_| make(&dir, &record)).await.map_err(file_system)?;
        self.vault.keep(workload.instance, Kept::of(workload));
        Ok(Prepared { image_digest: digest })
    }

    async fn image(self: &Arc<Self>, workload: &Workload) -> Result<Boot, RuntimeError> {
        let image = &workload.spec.image;
        if !image.starts_with(PATH) {
            return self.roots.ensure(workload).await.map(Boot::Image);
        }
        let path = PathBuf::from(image);
        let checked = path.clone();
        let refused = self.blocking(move |_| Ok(disk::check(&checked).err())).await?;
        refused.map_or(Ok(Boot::Disk(path)), Err)
    }

    /// What was found out when it was prepared.
    async fn digest(self: &Arc<Self>, workload: &Workload) -> Result<Prepared, RuntimeError> {
        let path = self.dir(workload.instance).record();
        let record = self.blocking(move |_| record::read::<Record>(&path)).await?;
        Ok(Prepared { image_digest: record.and_then(|record| digest(&record.boot)) })
    }
}

fn digest(boot: &Boot) -> Option<String> {
    match boot {
        Boot::Image(image) => Some(image.digest.clone()),
        Boot::Disk(_) => None,
    }
}

/// Every config and secret that is mounted has come.
fn check_files(workload: &Workload) -> Result<(), RuntimeError> {
    let files = workload.spec.volumes.iter().filter(|volume| matches!(volume.kind, VolumeKind::Config | VolumeKind::Secret));
    for volume in files {
        if !workload.files.iter().any(|file| file.destination == volume.destination) {
            let message = format!("{} '{}' for '{}' did not come with the claim", volume.kind, volume.source, volume.destination);
            return Err(RuntimeError::new(RuntimeErrorKind::Start(StartFailure::Config), message));
        }
    }
    Ok(())
}

/// Makes the directory; the record is written last and makes the instance exist. All of it is on the disk on return.
fn make(dir: &InstanceDir, record: &Record) -> io::Result<()> {
    // What an attempt that was cut off left is no part of this one.
    remove_all(dir.path())?;
    for path in [dir.path(), &dir.logs(), &dir.run()] {
        make_dir(path)?;
    }
    if let Boot::Disk(image) = &record.boot {
        disk::copy(image, &dir.disk())?;
    }
    record::write(&dir.record(), record)?;
    dir.path().parent().map_or(Ok(()), record::sync_dir)
}

/// Makes a directory only we can look into; one that is there is left.
pub(crate) fn make_dir(path: &std::path::Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && fs::metadata(path)?.is_dir() => Ok(()),
        other => other,
    }
}

/// Takes a file away. Not there is no fault.
pub(crate) fn remove_file(path: &std::path::Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// An instance whose directory cannot be made is not started, for a reason its user can see.
fn file_system(error: RuntimeError) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Start(StartFailure::FileSystem), error.message)
}
