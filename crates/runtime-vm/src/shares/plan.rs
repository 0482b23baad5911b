//! Which mounts become shares, and the directories behind them.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use ring_types::{DeploymentSpec, Name, Permission, Volume, VolumeDriver, VolumeKind};

use super::{Places, Planned, SharesConfig};

/// What is shared of a specification, with the number of the mount.
pub(super) fn shared(spec: &DeploymentSpec) -> impl Iterator<Item = (usize, &Volume)> {
    let is_shared = |volume: &Volume| matches!(volume.kind, VolumeKind::Bind | VolumeKind::Volume);
    spec.volumes.iter().enumerate().filter(move |(_, volume)| is_shared(volume))
}

/// The shares of a specification. The directories of its volumes are there afterwards, and belong to the user of the workload when
/// they are new.
pub(super) fn plan(config: &SharesConfig, places: Places<'_>, spec: &DeploymentSpec) -> Result<Vec<Planned>, String> {
    shared(spec).map(|(number, volume)| one(config, places, spec, number, volume)).collect()
}

/// Would there be a plan? Makes nothing.
pub(super) fn check(config: &SharesConfig, places: Places<'_>, spec: &DeploymentSpec) -> Result<(), String> {
    shared(spec).try_for_each(|(number, volume)| match volume.kind {
        VolumeKind::Bind => bound(volume).map(drop),
        _ => volume_path(config, places, spec, number, volume).map(drop),
    })
}

fn one(
    config: &SharesConfig,
    places: Places<'_>,
    spec: &DeploymentSpec,
    number: usize,
    volume: &Volume,
) -> Result<Planned, String> {
    let source = if volume.kind == VolumeKind::Bind {
        bound(volume)?
    } else {
        let path = volume_path(config, places, spec, number, volume)?;
        make(&path, spec)
            .map_err(|error| format!("volume '{}' at '{}': {}: {error}", volume.source, volume.destination, path.display()))?;
        path
    };
    let read_only = volume.permission == Permission::ReadOnly;
    Ok(Planned { tag: format!("ring{number}"), source, destination: volume.destination.clone(), read_only })
}

/// Without links, so that what is shared is what is there now.
fn bound(volume: &Volume) -> Result<PathBuf, String> {
    let refuse = |why: &str| format!("bind mount of '{}' at '{}': {why}", volume.source, volume.destination);
    match Path::new(&volume.source).canonicalize() {
        Ok(path) if path.is_dir() || path.is_file() => Ok(path),
        Ok(_) => Err(refuse("it is neither a directory nor a file, and a micro-VM can see nothing else of its host")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let host = rustix::system::uname();
            let node = host.nodename().to_string_lossy();
            Err(refuse(&format!(
                "there is no such path on node '{node}'; make it there, or name the nodes that have it in placement.nodes"
            )))
        }
        Err(error) => Err(refuse(&error.to_string())),
    }
}

fn volume_path(
    config: &SharesConfig,
    places: Places<'_>,
    spec: &DeploymentSpec,
    number: usize,
    volume: &Volume,
) -> Result<PathBuf, String> {
    let refuse = |why: String| format!("volume '{}' at '{}': {why}", volume.source, volume.destination);
    if volume.driver == VolumeDriver::Nfs {
        return Err(refuse(
            "the cloud-hypervisor runtime cannot mount nfs; mount it on the host and bind it, or mount it in the guest"
                .to_owned(),
        ));
    }
    if volume.source.is_empty() {
        return Ok(places.instance.join("volumes").join(number.to_string()));
    }
    let name = Name::new(&volume.source).map_err(|error| refuse(format!("its name {error}")))?;
    Ok(config.volumes.join(spec.namespace.as_str()).join(name.as_str()))
}

fn make(path: &Path, spec: &DeploymentSpec) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        DirBuilder::new().mode(0o711).recursive(true).create(parent)?;
    }
    DirBuilder::new().mode(0o755).create(path)?;
    let user = spec.config.user;
    if user.id.is_some() || user.group.is_some() { chown(path, user.id, user.group) } else { Ok(()) }
}
