//! Secrets and configs a deployment needs before anything of it can start.

use std::fmt;

use ring_state::State;
use ring_types::{DeploymentSpec, Name, VolumeKind};

/// Something a specification names that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Secret(String),
    Config(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(name) => write!(f, "secret '{name}' does not exist: create it with `ring secret create {name}`"),
            Self::Config(name) => write!(f, "config '{name}' does not exist: apply a manifest that defines it"),
        }
    }
}

/// Names of the secrets a specification needs, in environment, mounts and image credentials.
pub(crate) fn secrets(spec: &DeploymentSpec) -> impl Iterator<Item = &str> {
    let mounts = spec.volumes.iter().filter(|v| v.kind == VolumeKind::Secret).map(|v| v.source.as_str());
    spec.secret_refs().into_iter().chain(mounts).chain(spec.config.image_pull_secret.as_deref())
}

/// Names of the configs a specification mounts.
pub(crate) fn configs(spec: &DeploymentSpec) -> impl Iterator<Item = &str> {
    spec.volumes.iter().filter(|v| v.kind == VolumeKind::Config).map(|v| v.source.as_str())
}

/// The first thing that is missing.
pub(crate) fn missing(state: &State, spec: &DeploymentSpec) -> Option<Missing> {
    let has = |name: &str, there: &dyn Fn(&Name) -> bool| Name::new(name).is_ok_and(|name| there(&name));
    let secret = |name: &Name| state.secret_named(&spec.namespace, name).is_some();
    let config = |name: &Name| state.config_named(&spec.namespace, name).is_some();
    secrets(spec)
        .find(|name| !has(name, &secret))
        .map(|name| Missing::Secret(name.to_owned()))
        .or_else(|| configs(spec).find(|name| !has(name, &config)).map(|name| Missing::Config(name.to_owned())))
}
