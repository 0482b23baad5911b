//! Mounts of a workload, in a mount namespace of its own.
//!
//! What is to be mounted is decided when the instance is prepared ([`plan`]) and done by its supervisor before it executes the
//! workload ([`enter`]). The namespace ends with the last process in it, and everything mounted in it with it. The contents of
//! configs and secrets are on a tmpfs that exists in that namespace only.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Component, Path, PathBuf};

use ring_runtime::{RuntimeError, RuntimeErrorKind, Workload};
use ring_types::{Name, Permission, StartFailure, Volume, VolumeDriver, VolumeKind};
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change, mount_remount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::env::Order;
use crate::layout::InstanceDir;
use crate::record::{Mount, Record, Source};
use ring_runtime_host::proc::ProcessId;

/// What is to be mounted for a workload; `volumes` is where named volumes are.
pub(crate) fn plan(workload: &Workload, dir: &InstanceDir, volumes: &Path) -> Result<Vec<Mount>, RuntimeError> {
    let all = workload.spec.volumes.iter().enumerate();
    let planned = all.map(|(number, volume)| one(workload, volume, number, dir, volumes));
    let mut mounts: Vec<Mount> = planned.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    // What is above is mounted first, so that nothing is covered.
    mounts.sort_by_key(|mount| mount.destination.components().count());
    if let Some(first) = mounts.first()
        && !rustix::process::geteuid().is_root()
    {
        let message = format!(
            "the mount at '{}' needs a mount namespace, which the process runtime can make only when the agent runs as root",
            first.destination.display()
        );
        return Err(refuse(StartFailure::FileSystem, message));
    }
    Ok(mounts)
}

/// None when the workload sees it without a mount.
fn one(
    workload: &Workload,
    volume: &Volume,
    number: usize,
    dir: &InstanceDir,
    volumes: &Path,
) -> Result<Option<Mount>, RuntimeError> {
    let read_only = volume.permission == Permission::ReadOnly;
    let source = match volume.kind {
        VolumeKind::Bind => {
            let source = PathBuf::from(&volume.source);
            if !source.exists() {
                return Err(refuse(StartFailure::FileSystem, missing(volume)));
            }
            if volume.source == volume.destination && !read_only {
                return Ok(None);
            }
            Source::Path(source)
        }
        VolumeKind::Volume => Source::Path(volume_path(workload, volume, number, dir, volumes)?),
        VolumeKind::Config | VolumeKind::Secret => Source::File(file(workload, volume)?),
    };
    let read_only = read_only || matches!(source, Source::File(_));
    Ok(Some(Mount { source, destination: destination(volume, dir)?, read_only }))
}

fn missing(volume: &Volume) -> String {
    let host = rustix::system::uname();
    format!(
        "bind mount of '{}' at '{}': there is no such path on node '{}'; make it there, or name the nodes that have it in placement.nodes",
        volume.source,
        volume.destination,
        host.nodename().to_string_lossy()
    )
}

/// A destination that covers what the supervisor itself works with is refused.
fn destination(volume: &Volume, dir: &InstanceDir) -> Result<PathBuf, RuntimeError> {
    let path = PathBuf::from(&volume.destination);
    let plain = path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
    if !plain || dir.path().starts_with(&path) || path.starts_with("/proc") {
        let message = format!("the process runtime cannot mount '{}' over '{}' of the host", volume.source, volume.destination);
        return Err(refuse(StartFailure::FileSystem, message));
    }
    Ok(path)
}

fn volume_path(
    workload: &Workload,
    volume: &Volume,
    number: usize,
    dir: &InstanceDir,
    volumes: &Path,
) -> Result<PathBuf, RuntimeError> {
    if volume.driver == VolumeDriver::Nfs {
        let message = format!("volume '{}' at '{}': the process runtime cannot mount nfs", volume.source, volume.destination);
        return Err(refuse(StartFailure::FileSystem, message));
    }
    if volume.source.is_empty() {
        return Ok(dir.volume(number));
    }
    let name = Name::new(&volume.source).map_err(|error| {
        refuse(StartFailure::FileSystem, format!("volume '{}' at '{}': its name {error}", volume.source, volume.destination))
    })?;
    Ok(volumes.join(workload.spec.namespace.as_str()).join(name.as_str()))
}

fn file(workload: &Workload, volume: &Volume) -> Result<usize, RuntimeError> {
    workload.files.iter().position(|file| file.destination == volume.destination).ok_or_else(|| {
        let message = format!("{} '{}' for '{}' did not come with the claim", volume.kind, volume.source, volume.destination);
        refuse(StartFailure::Config, message)
    })
}

fn refuse(cause: StartFailure, message: String) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Start(cause), message)
}

/// Makes the directories of the volumes that are not there, for the user of the workload. Paths of bind mounts are there.
pub(crate) fn make_volumes(record: &Record) -> io::Result<()> {
    let paths = record.mounts.iter().filter_map(|mount| match &mount.source {
        Source::Path(path) if !path.exists() => Some(path),
        _ => None,
    });
    for path in paths {
        DirBuilder::new().mode(0o755).recursive(true).create(path)?;
        chown(path, record.user, record.group)?;
    }
    Ok(())
}

/// Gives the calling process a mount namespace with the mounts of its order in it. It may have no other thread.
pub(crate) fn enter(order: &Order, dir: &InstanceDir) -> io::Result<()> {
    if order.record.mounts.is_empty() {
        return Ok(());
    }
    leave_the_hosts()?;
    // What the host mounts and takes away later is seen here too, and nothing of here there.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    let files = write_files(order, dir)?;
    order.record.mounts.iter().try_for_each(|mount| {
        let source = match &mount.source {
            Source::Path(path) => path.clone(),
            Source::File(number) => files.join(number.to_string()),
        };
        show(&source, mount).map_err(|error| {
            let message = format!("mount of '{}' at '{}': {error}", source.display(), mount.destination.display());
            io::Error::new(error.kind(), message)
        })
    })
}

#[expect(deprecated, reason = "its successor is unsafe for the sake of another flag than this one")]
fn leave_the_hosts() -> io::Result<()> {
    Ok(rustix::thread::unshare(UnshareFlags::NEWNS)?)
}

/// Moves the calling process to where the mounts of `process` are. It may have no other thread.
pub(crate) fn join(process: ProcessId) -> io::Result<()> {
    let namespace = fs::File::open(format!("/proc/{}/ns/mnt", process.pid))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
    Ok(())
}

/// The contents go onto a tmpfs of this namespace, readable for whoever the workload runs as.
fn write_files(order: &Order, dir: &InstanceDir) -> io::Result<PathBuf> {
    let files = dir.files();
    if order.files.is_empty() {
        return Ok(files);
    }
    crate::prepare::make_dir(&files, 0o700)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("ring-files", &files, "tmpfs", flags, Some(c"mode=0700"))?;
    for (number, content) in order.files.iter().enumerate() {
        let path = files.join(number.to_string());
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(&content.0)?;
        fs::set_permissions(&path, Permissions::from_mode(0o444))?;
    }
    Ok(files)
}

fn show(source: &Path, wanted: &Mount) -> io::Result<()> {
    make_point(&wanted.destination, source.is_dir())?;
    mount_bind_recursive(source, &wanted.destination)?;
    if wanted.read_only {
        // The kernel takes the whole set anew: what the file system forbids already stays forbidden.
        let found = statvfs(&wanted.destination)?.f_flag;
        let kept = [
            (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
            (StatVfsMountFlags::NODEV, MountFlags::NODEV),
            (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        ];
        let kept = kept.into_iter().filter(|(flag, _)| found.contains(*flag)).map(|(_, flag)| flag);
        let flags = kept.fold(MountFlags::BIND | MountFlags::RDONLY, |all, flag| all | flag);
        mount_remount(&wanted.destination, flags, c"")?;
    }
    Ok(())
}

/// Makes what a mount needs to be put on, when there is nothing.
fn make_point(path: &Path, is_dir: bool) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    if is_dir {
        return fs::create_dir_all(path);
    }
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    OpenOptions::new().write(true).create(true).truncate(false).open(path).map(drop)
}
