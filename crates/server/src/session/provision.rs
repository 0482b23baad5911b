//! What an instance needs beside its specification, put together when its claim is granted: values of secrets, files of
//! configs and secrets, credentials of its registry, exports of its volumes.

use std::collections::BTreeMap;

use ring_proto::agent::v1::{ClaimResult, MountedFile};
use ring_state::{Deployment, State};
use ring_types::{DeploymentSpec, EnvValue, InstanceId, Name, Volume, VolumeDriver, VolumeKind};

use crate::pki::SecretKey;
use crate::{registry, secrets};

/// Most bytes of all files of one instance together.
const MOST_FILES: usize = 16 << 20;

/// Fills in the answer to a granted claim, or says in it why the instance cannot start.
pub(super) fn fill(key: &SecretKey, state: &State, instance: InstanceId, granted: ClaimResult) -> ClaimResult {
    let deployment = state.instance(instance).and_then(|i| state.deployment(i.deployment));
    let Some(deployment) = deployment else { return granted };
    let bare = granted.clone();
    given(key, state, deployment, granted).unwrap_or_else(|config_error| ClaimResult { config_error, ..bare })
}

/// About how many bytes an answer has.
pub(super) fn weight(result: &ClaimResult) -> usize {
    let variables = result.secret_environment.iter().map(|(name, value)| name.len() + value.len());
    let files = result.files.iter().map(|file| file.destination.len() + file.content.len());
    variables.chain(files).sum::<usize>() + result.config_error.len() + 256
}

fn given(key: &SecretKey, state: &State, deployment: &Deployment, granted: ClaimResult) -> Result<ClaimResult, String> {
    let spec = &*deployment.spec;
    Ok(ClaimResult {
        secret_environment: environment(key, state, spec)?,
        files: files(key, state, spec)?,
        registry: registry::login(key, state, deployment)?,
        exports: exports(state, spec)?,
        ..granted
    })
}

/// The variables of an instance that come from secrets, in clear.
fn environment(key: &SecretKey, state: &State, spec: &DeploymentSpec) -> Result<BTreeMap<String, String>, String> {
    let references = spec.environment.iter().filter_map(|(variable, value)| match value {
        EnvValue::Secret(name) => Some((variable, name)),
        EnvValue::Plain(_) => None,
    });
    let open = |(variable, name): (&String, &String)| {
        let clear = secrets::open(key, state, &spec.namespace, name).map_err(|why| format!("environment.{variable}: {why}"))?;
        Ok((variable.clone(), clear))
    };
    references.map(open).collect()
}

fn files(key: &SecretKey, state: &State, spec: &DeploymentSpec) -> Result<Vec<MountedFile>, String> {
    let mut found = Vec::new();
    for (i, mount) in spec.volumes.iter().enumerate() {
        let at = |field: &str| format!("volumes[{i}].{field}");
        match mount.kind {
            VolumeKind::Config => found.push(config(state, spec, mount, at)?),
            VolumeKind::Secret => {
                let clear = secrets::open(key, state, &spec.namespace, &mount.source);
                let content = clear.map_err(|why| format!("{}: {why}", at("source")))?.into_bytes();
                found.push(MountedFile { destination: mount.destination.clone(), content, secret: true });
            }
            VolumeKind::Bind | VolumeKind::Volume => {}
        }
    }
    let bytes: usize = found.iter().map(|file| file.content.len()).sum();
    if bytes > MOST_FILES {
        return Err(format!("volumes: its configs and secrets have {bytes} bytes together, at most {MOST_FILES} can be mounted"));
    }
    Ok(found)
}

fn config(state: &State, spec: &DeploymentSpec, mount: &Volume, at: impl Fn(&str) -> String) -> Result<MountedFile, String> {
    let (name, namespace) = (&mount.source, &spec.namespace);
    let found = Name::new(name).ok().and_then(|name| state.config_named(namespace, &name));
    let found = found.ok_or_else(|| {
        format!("{}: config '{name}' not found in namespace '{namespace}': apply a manifest that defines it", at("source"))
    })?;
    let key = mount.key.as_deref().unwrap_or_default();
    let content = found.data.get(key).ok_or_else(|| {
        format!("{}: config '{name}' in namespace '{namespace}' has no key '{key}': add it, or mount another", at("key"))
    })?;
    Ok(MountedFile { destination: mount.destination.clone(), content: content.clone().into_bytes(), secret: false })
}

/// What is mounted for volumes that are on a file server.
fn exports(state: &State, spec: &DeploymentSpec) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    for (mount, volume) in state.mounted(spec) {
        let (name, namespace) = (&mount.source, &spec.namespace);
        let missing =
            || format!("volumes: volume '{name}' not found in namespace '{namespace}': create it with `ring volume create`");
        let volume = volume.ok_or_else(missing)?;
        match (&volume.source, volume.driver) {
            (Some(export), VolumeDriver::Nfs) => drop(found.insert(name.clone(), export.clone())),
            _ if mount.driver == VolumeDriver::Nfs => {
                return Err(format!("volumes: volume '{name}' of namespace '{namespace}' is a local one, not one of driver nfs"));
            }
            _ => {}
        }
    }
    Ok(found)
}
