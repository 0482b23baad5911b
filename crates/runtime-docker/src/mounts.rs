//! From the mounts of a specification to those of a container, and the named volumes that have to be there for them.
//!
//! | mount | in the container | with the instance |
//! |---|---|---|
//! | `bind` | the path of the host | stays |
//! | `volume` with a name | volume `ring_<namespace>_<name>` of the engine | stays |
//! | `volume` with driver `nfs`, source `server:/path` | volume `ring_<namespace>_nfs_<digest>`, mounted by the engine | stays |
//! | `volume` without a source | an anonymous volume | goes |
//! | `config`, `secret` | one file on a file system in memory, read-only | goes |

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{Mount, MountType, MountVolumeOptions, VolumeCreateRequest};
use ring_runtime::{RuntimeError, RuntimeErrorKind, Workload};
use ring_types::{Name, Permission, StartFailure, Volume, VolumeDriver, VolumeKind};
use sha2::{Digest, Sha256};

use crate::client::{Client, told};

/// Label of a named volume: whose it is.
const NAMESPACE: &str = "ring_namespace";

/// Label of a named volume: what its manifest calls it.
const VOLUME: &str = "ring_volume";

/// So many bytes of a digest tell file servers' paths apart.
const DIGEST: usize = 8;

/// The mounts of a workload. `files` are the paths of its files, in its order.
pub(crate) fn mounts(workload: &Workload, files: &[PathBuf]) -> Result<Vec<Mount>, RuntimeError> {
    workload.spec.volumes.iter().map(|volume| mount(workload, volume, files)).collect()
}

fn mount(workload: &Workload, volume: &Volume, files: &[PathBuf]) -> Result<Mount, RuntimeError> {
    let (typ, source, read_only) = match volume.kind {
        VolumeKind::Bind => (MountType::BIND, Some(volume.source.clone()), volume.permission == Permission::ReadOnly),
        VolumeKind::Volume => {
            let name = request(&workload.spec.namespace, volume)?.and_then(|request| request.name);
            (MountType::VOLUME, name, volume.permission == Permission::ReadOnly)
        }
        VolumeKind::Config | VolumeKind::Secret => (MountType::BIND, Some(file(workload, volume, files)?), true),
    };
    // What an image has at the destination goes into a new volume, as engines do it, but never onto a file server.
    let shared = volume.kind == VolumeKind::Volume && volume.driver == VolumeDriver::Nfs;
    Ok(Mount {
        typ: Some(typ),
        source,
        target: Some(volume.destination.clone()),
        read_only: Some(read_only),
        volume_options: shared.then(|| MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
        ..Mount::default()
    })
}

fn file(workload: &Workload, volume: &Volume, files: &[PathBuf]) -> Result<String, RuntimeError> {
    let mut pairs = workload.files.iter().zip(files);
    let found = pairs.find(|(file, _)| file.destination == volume.destination);
    found.map(|(_, path)| path.display().to_string()).ok_or_else(|| {
        let message = format!("{} '{}' for '{}' did not come with the claim", volume.kind, volume.source, volume.destination);
        RuntimeError::new(RuntimeErrorKind::Start(StartFailure::Config), message)
    })
}

/// Makes sure that the named volumes of a workload are there; the engine keeps what is in them.
pub(crate) async fn ensure_volumes(client: &Client, workload: &Workload) -> Result<(), RuntimeError> {
    for volume in &workload.spec.volumes {
        if let Some(request) = request(&workload.spec.namespace, volume)? {
            ensure(client, &workload.spec.namespace, volume, request).await?;
        }
    }
    Ok(())
}

/// An engine answers with the volume of that name when there is one. Two namespaces can spell the same name (`a_b` and `c`, `a`
/// and `b_c`): the one that comes second is refused.
async fn ensure(client: &Client, namespace: &Name, volume: &Volume, request: VolumeCreateRequest) -> Result<(), RuntimeError> {
    let failed = |why: &str| {
        let message = format!("volume '{}' at '{}': {why}", volume.source, volume.destination);
        RuntimeError::new(RuntimeErrorKind::Start(StartFailure::FileSystem), message)
    };
    let made = client.ask(|docker| async move { docker.create_volume(request).await }).await?;
    let made = made.map_err(|error| failed(&told(&error)))?;
    match made.labels.get(NAMESPACE) {
        Some(owner) if owner != namespace.as_str() => {
            Err(failed(&format!("the engine's volume '{}' is one of namespace '{owner}'", made.name)))
        }
        _ => Ok(()),
    }
}

/// What the engine is asked to make for a mount; None when it is no named volume.
fn request(namespace: &Name, volume: &Volume) -> Result<Option<VolumeCreateRequest>, RuntimeError> {
    if volume.kind != VolumeKind::Volume || volume.source.is_empty() && volume.driver == VolumeDriver::Local {
        return Ok(None);
    }
    let (name, options) = match volume.driver {
        VolumeDriver::Local => (format!("ring_{namespace}_{}", volume.source), HashMap::new()),
        VolumeDriver::Nfs => {
            let digest = hex::encode(&Sha256::digest(nfs_key(volume))[..DIGEST]);
            (format!("ring_{namespace}_nfs_{digest}"), nfs(volume)?)
        }
    };
    let labels = [(NAMESPACE, namespace.as_str()), (VOLUME, &volume.source)];
    Ok(Some(VolumeCreateRequest {
        name: Some(name),
        driver: Some("local".to_owned()),
        driver_opts: Some(options),
        labels: Some(labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()),
        ..VolumeCreateRequest::default()
    }))
}

/// Read-only and read-write are different mounts of the engine, and so different volumes.
fn nfs_key(volume: &Volume) -> String {
    format!("{} {}", volume.source, volume.permission)
}

/// What the engine's `local` driver mounts with.
fn nfs(volume: &Volume) -> Result<HashMap<String, String>, RuntimeError> {
    let parts = volume.source.split_once(":/").filter(|(server, _)| !server.is_empty());
    let (server, path) = parts.ok_or_else(|| {
        let message = format!(
            "volume '{}' at '{}': with driver nfs the source is written 'server:/path'",
            volume.source, volume.destination
        );
        RuntimeError::new(RuntimeErrorKind::Start(StartFailure::FileSystem), message)
    })?;
    let options = [
        ("type", "nfs".to_owned()),
        ("o", format!("addr={server},{},nfsvers=4", volume.permission)),
        ("device", format!(":/{path}")),
    ];
    Ok(options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// What to say when the engine does not find the path of a bind mount.
pub(crate) fn missing_path(workload: &Workload, message: &str, host: &str) -> Option<String> {
    let absent = ["bind source path does not exist", "no such file or directory"];
    let missing = absent.iter().any(|words| message.contains(words));
    let named = |volume: &&Volume| missing && message.contains(&volume.source);
    binds(workload).filter(named).max_by_key(|volume| volume.source.len()).map(|volume| no_such_path(volume, host))
}

/// The same for an engine that would notice only at the start, and runs on this host.
pub(crate) fn missing_here(workload: &Workload, host: &str) -> Option<String> {
    binds(workload).find(|volume| !Path::new(&volume.source).exists()).map(|volume| no_such_path(volume, host))
}

fn binds(workload: &Workload) -> impl Iterator<Item = &Volume> {
    workload.spec.volumes.iter().filter(|volume| volume.kind == VolumeKind::Bind)
}

fn no_such_path(volume: &Volume, host: &str) -> String {
    format!(
        "bind mount of '{}' at '{}': there is no such path on node '{host}'; make it there, or name the nodes that have it in placement.nodes",
        volume.source, volume.destination
    )
}

#[cfg(test)]
mod tests;
