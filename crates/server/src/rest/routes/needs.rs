//! What the deployments of a manifest need that is not in the manifest: said at once, though it may still come.

use ring_api::manifest::{DeploymentEntry, Manifest};
use ring_state::State;
use ring_types::{DeploymentSpec, Name, Rule, Violation, Volume, VolumeDriver, VolumeKind};

/// Mounts that contradict the volume they name.
pub(super) fn contradictions(manifest: &Manifest, state: &State) -> Vec<Violation> {
    manifest.deployments.iter().flat_map(|entry| contradiction(entry, state)).collect()
}

fn contradiction(entry: &DeploymentEntry, state: &State) -> Vec<Violation> {
    let spec = &entry.spec;
    let wrong = |mount: &Volume| {
        let known = mount.object().and_then(|name| state.volume_named(&spec.namespace, &name));
        mount.driver == VolumeDriver::Nfs && known.is_some_and(|volume| volume.driver == VolumeDriver::Local)
    };
    let violation = |(i, mount): (usize, &Volume)| {
        let message = format!("volume '{}' is a local one: leave the driver out, or name another volume", mount.source);
        let path = format!("deployments.{}.volumes[{i}].driver", entry.label);
        Violation::new(path, "deployment.volumes.driver", Rule::Mismatch, message)
    };
    spec.volumes.iter().enumerate().filter(|(_, mount)| wrong(mount)).map(violation).collect()
}

/// A warning for each secret, config, key and volume a deployment waits for, and for a number it does not begin with.
pub(super) fn missing(entry: &DeploymentEntry, manifest: &Manifest, state: &State) -> Vec<String> {
    let spec = &entry.spec;
    let (namespace, mut warnings) = (&spec.namespace, Vec::new());
    if spec.autoscale.is_some() && spec.wanted() != spec.replicas {
        let (replicas, first) = (spec.replicas, spec.wanted());
        warnings.push(format!("replicas: {replicas} is outside of the bounds of autoscale; it begins with {first}"));
    }
    let found = |name: &str| Name::new(name).ok();
    for name in spec.secret_refs() {
        if found(name).and_then(|name| state.secret_named(namespace, &name)).is_none() {
            warnings.push(format!("secret '{name}' does not exist in namespace '{namespace}' yet"));
        }
    }
    for mount in spec.volumes.iter().filter(|mount| mount.kind == VolumeKind::Config) {
        warnings.extend(config(spec, mount, manifest, state));
    }
    for (mount, volume) in state.mounted(spec) {
        if volume.is_none() && mount.driver == VolumeDriver::Nfs {
            let name = &mount.source;
            warnings.push(format!("volume '{name}' of driver nfs does not exist in namespace '{namespace}' yet"));
        }
    }
    warnings
}

fn config(spec: &DeploymentSpec, mount: &Volume, manifest: &Manifest, state: &State) -> Option<String> {
    let (namespace, name) = (&spec.namespace, Name::new(&mount.source).ok()?);
    let brought = manifest.configs.iter().find(|config| config.namespace == *namespace && config.name == name);
    let data = brought.map(|config| &config.data);
    let data = data.or_else(|| state.config_named(namespace, &name).map(|config| &config.data));
    let Some(data) = data else { return Some(format!("config '{name}' does not exist in namespace '{namespace}' yet")) };
    let key = mount.key.as_deref().unwrap_or_default();
    (!data.contains_key(key)).then(|| format!("config '{name}' in namespace '{namespace}' has no key '{key}' yet"))
}
