//! Making an instance: is it something this runtime can run, and its directory.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::Path;

use ring_runtime::{RuntimeError, RuntimeErrorKind, Workload};
use ring_types::{StartFailure, UserConfig};

use crate::layout::InstanceDir;
use crate::mounts::make_volumes;
use crate::record::{self, Limits, Mount, Record};

/// Refuses what cannot be run as a process of the host, before anything is made.
pub(crate) fn check(workload: &Workload) -> Result<(), RuntimeError> {
    if workload.spec.command.is_empty() {
        return Err(refuse(StartFailure::Create, "the process runtime needs a command: there is no image to take one from"));
    }
    check_user(workload.spec.config.user)
}

fn check_user(user: UserConfig) -> Result<(), RuntimeError> {
    let (own_user, own_group) = (rustix::process::geteuid(), rustix::process::getegid());
    let other = user.id.is_some_and(|id| id != own_user.as_raw()) || user.group.is_some_and(|id| id != own_group.as_raw());
    if other && !own_user.is_root() {
        return Err(refuse(StartFailure::Create, "config.user asks for another user, and the agent does not run as root"));
    }
    Ok(())
}

fn refuse(cause: StartFailure, message: &str) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Start(cause), message)
}

/// The record of a workload.
pub(crate) fn record(workload: &Workload, mounts: Vec<Mount>) -> Record {
    let spec = &workload.spec;
    Record {
        deployment: workload.deployment,
        generation: workload.generation,
        command: spec.command.clone(),
        user: spec.config.user.id,
        group: spec.config.user.group,
        limits: Limits::new(spec.resources.limits.cpu, spec.resources.limits.memory),
        mounts,
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
    make_volumes(record)?;
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
