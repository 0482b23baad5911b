//! Secrets, configs and volumes a deployment needs before anything of it can start.

use std::fmt;

use ring_state::State;
use ring_types::{DeploymentSpec, EnvValue, Name, VolumeDriver, VolumeKind};

/// Something a specification names that is not there: what, where it is named, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    fault: Fault,
    /// The field that names it.
    field: String,
    namespace: Name,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    Secret(String),
    Config(String),
    /// The config is there, this key of it is not.
    Key(String, String),
    /// Only one on a file server can be missing for long: a local one is made when it is named.
    Volume(String, VolumeDriver),
    /// It is a local one, mounted as one on a file server.
    NotExported(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, field, namespace } = self;
        let of = format!("in namespace '{namespace}', named in {field}");
        match fault {
            Fault::Secret(name) => {
                write!(f, "secret '{name}' does not exist {of}: create it with `ring secret create {name} -n {namespace}`")
            }
            Fault::Config(name) => write!(f, "config '{name}' does not exist {of}: apply a manifest that defines it"),
            Fault::Key(name, key) => {
                write!(f, "config '{name}' has no key '{key}' {of}: add the key to the config, or mount another one")
            }
            Fault::Volume(name, driver) => {
                let source = if *driver == VolumeDriver::Nfs { " --driver nfs --source SERVER:/PATH" } else { "" };
                write!(
                    f,
                    "volume '{name}' does not exist {of}: create it with `ring volume create {name} -n {namespace}{source}`"
                )
            }
            Fault::NotExported(name) => {
                write!(f, "volume '{name}' is a local one {of} with driver nfs: leave the driver out, or name another volume")
            }
        }
    }
}

/// The first thing that is missing.
pub(crate) fn missing(state: &State, spec: &DeploymentSpec) -> Option<Missing> {
    let found = secret(state, spec).or_else(|| config(state, spec)).or_else(|| volume(state, spec));
    found.map(|(fault, field)| Missing { fault, field, namespace: spec.namespace.clone() })
}

fn secret(state: &State, spec: &DeploymentSpec) -> Option<(Fault, String)> {
    let environment = spec.environment.iter().filter_map(|(variable, value)| match value {
        EnvValue::Secret(name) => Some((name, format!("environment.{variable}"))),
        EnvValue::Plain(_) => None,
    });
    let mounts = spec.volumes.iter().enumerate().filter(|(_, volume)| volume.kind == VolumeKind::Secret);
    let mounts = mounts.map(|(i, volume)| (&volume.source, format!("volumes[{i}].source")));
    let pull = spec.config.image_pull_secret.iter().map(|name| (name, "config.image_pull_secret".to_owned()));
    let there = |name: &str| Name::new(name).is_ok_and(|name| state.secret_named(&spec.namespace, &name).is_some());
    let mut all = environment.chain(mounts).chain(pull);
    all.find(|(name, _)| !there(name)).map(|(name, field)| (Fault::Secret(name.clone()), field))
}

fn config(state: &State, spec: &DeploymentSpec) -> Option<(Fault, String)> {
    let mut mounts = spec.volumes.iter().enumerate().filter(|(_, volume)| volume.kind == VolumeKind::Config);
    mounts.find_map(|(i, volume)| {
        let name = &volume.source;
        let found = Name::new(name).ok().and_then(|name| state.config_named(&spec.namespace, &name));
        let Some(config) = found else { return Some((Fault::Config(name.clone()), format!("volumes[{i}].source"))) };
        let key = volume.key.as_ref().filter(|key| !config.data.contains_key(*key))?;
        Some((Fault::Key(name.clone(), key.clone()), format!("volumes[{i}].key")))
    })
}

fn volume(state: &State, spec: &DeploymentSpec) -> Option<(Fault, String)> {
    spec.volumes.iter().enumerate().find_map(|(i, mount)| {
        let name = mount.object()?;
        let field = format!("volumes[{i}].source");
        match state.volume_named(&spec.namespace, &name) {
            None => Some((Fault::Volume(name.to_string(), mount.driver), field)),
            Some(volume) if mount.driver == VolumeDriver::Nfs && volume.driver == VolumeDriver::Local => {
                Some((Fault::NotExported(name.to_string()), field))
            }
            Some(_) => None,
        }
    })
}
