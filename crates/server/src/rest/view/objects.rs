//! Namespaces, secrets, configs and volumes.

use ring_api::model;
use ring_state::{Config, Namespace, Secret, State, Volume};

pub(in crate::rest) fn namespace(state: &State, namespace: &Namespace) -> model::Namespace {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let name = &namespace.name;
    model::Namespace {
        name: name.to_string(),
        created_at: Some(namespace.created_at),
        deployments: count(state.deployments_in(name).filter(|d| !d.deleting).count()),
        secrets: count(state.secrets().filter(|s| s.namespace == *name).count()),
        configs: count(state.configs().filter(|c| c.namespace == *name).count()),
        volumes: count(state.volumes().filter(|v| v.namespace == *name).count()),
        version: namespace.version.0,
    }
}

pub(in crate::rest) fn secret(secret: &Secret) -> model::Secret {
    model::Secret {
        id: secret.id,
        namespace: secret.namespace.to_string(),
        name: secret.name.to_string(),
        created_at: Some(secret.created_at),
        updated_at: Some(secret.updated_at),
        version: secret.version.0,
    }
}

pub(in crate::rest) fn config(config: &Config) -> model::Config {
    model::Config {
        id: config.id,
        namespace: config.namespace.to_string(),
        name: config.name.to_string(),
        data: config.data.clone(),
        labels: config.labels.clone(),
        created_at: Some(config.created_at),
        updated_at: Some(config.updated_at),
        version: config.version.0,
    }
}

pub(in crate::rest) fn volume(state: &State, volume: &Volume) -> model::Volume {
    let node_name = |node| state.node(node).map_or_else(|| node.to_string(), |n| n.name.to_string());
    let mut used_by: Vec<_> = state.users_of(volume).map(|d| d.spec.name.to_string()).collect();
    used_by.sort_unstable();
    used_by.dedup();
    model::Volume {
        id: volume.id,
        namespace: volume.namespace.to_string(),
        name: volume.name.to_string(),
        driver: volume.driver,
        source: volume.source.clone(),
        labels: volume.labels.clone(),
        node: volume.node.map(node_name),
        node_id: volume.node,
        used_by,
        created_at: Some(volume.created_at),
        updated_at: Some(volume.updated_at),
        version: volume.version.0,
    }
}
