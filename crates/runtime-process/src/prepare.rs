//! Making an instance: is it something this runtime can run, and its directory.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::Path;

use ring_runtime::{RuntimeError, RuntimeErrorKind, Workload};
use ring_types::{StartFailure, UserConfig, Volume, VolumeKind};

use crate::layout::InstanceDir;
use crate::record::{self, Limits, Record};

/// Refuses what cannot be run as a process of the host, before anything is made.
pub(crate) fn check(workload: &Workload) -> Result<(), RuntimeError> {
    if workload.spec.command.is_empty() {
        return Err(refuse(StartFailure::Create, "the process runtime needs a command: there is no image to take one from"));
    }
    check_user(workload.spec.config.user)?;
    workload.spec.volumes.iter().try_for_each(check_volume)
}

fn check_user(user: UserConfig) -> Result<(), RuntimeError> {
    let (own_user, own_group) = (rustix::process::geteuid(), rustix::process::getegid());
    let other = user.id.is_some_and(|id| id != own_user.as_raw()) || user.group.is_some_and(|id| id != own_group.as_raw());
    if other && !own_user.is_root() {
        return Err(refuse(StartFailure::Create, "config.user asks for another user, and the agent does not run as root"));
    }
    Ok(())
}

/// A process sees the host's files where they are; it has no mounts.
fn check_volume(volume: &Volume) -> Result<(), RuntimeError> {
    match volume.kind {
        VolumeKind::Bind if volume.source != volume.destination => Err(refuse(
            StartFailure::FileSystem,
            &format!(
                "the process runtime cannot show '{}' as '{}': both have to be the same path",
                volume.source, volume.destination
            ),
        )),
        VolumeKind::Bind if !Path::new(&volume.source).exists() => {
            Err(refuse(StartFailure::FileSystem, &format!("'{}' is not there on this host", volume.source)))
        }
        VolumeKind::Bind => Ok(()),
        VolumeKind::Volume => Err(refuse(StartFailure::FileSystem, "the process runtime has no named volumes")),
        VolumeKind::Config | VolumeKind::Secret => {
            Err(refuse(StartFailure::Config, "the process runtime cannot mount configs and secrets"))
        }
    }
}

fn refuse(cause: StartFailure, message: &str) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Start(cause), message)
}

/// The record of a workload.
pub(crate) fn record(workload: &Workload) -> Record {
    let spec = &workload.spec;
    Record {
        deployment: workload.deployment,
        generation: workload.generation,
        command: spec.command.clone(),
        user: spec.config.user.id,
        group: spec.config.user.group,
        limits: Limits::new(spec.resources.limits.cpu, spec.resources.limits.memory),
    }
}

/// Makes the directory; the record is written last and makes the instance exist. All of it is on the disk on return.
pub(crate) fn make(dir: &InstanceDir, record: &Record) -> io::Result<()> {
    make_dir(dir.path(), 0o711)?;
    make_dir(&dir.logs(), 0o700)?;
    make_dir(&dir.work(), 0o700)?;
    if record.user.is_some() || record.group.is_some() {
        chown(dir.work(), record.user, record.group)?;
    }
    record::write(&dir.record(), record)?;
    dir.path().parent().map_or(Ok(()), record::sync_dir)
}

/// Makes a directory of this mode, whatever the umask; one that is there is left.
pub(crate) fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
