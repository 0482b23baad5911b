//! Namespaces, secrets, configs and volumes.

use std::collections::BTreeMap;

use ring_api::model;
use ring_state::{Config, Namespace, Secret, State, Volume};
use ring_types::Name;

/// How much there is in each namespace: counted once for a whole list.
#[derive(Default)]
pub(in crate::rest) struct Contents<'a>(BTreeMap<&'a Name, Counts>);

#[derive(Clone, Copy, Default)]
struct Counts {
    deployments: u32,
    secrets: u32,
    configs: u32,
    volumes: u32,
}

impl<'a> Contents<'a> {
    pub(in crate::rest) fn of(state: &'a State) -> Self {
        let mut counts: BTreeMap<&Name, Counts> = BTreeMap::new();
        for deployment in state.deployments().filter(|d| !d.deleting) {
            counts.entry(&deployment.spec.namespace).or_default().deployments += 1;
        }
        state.secrets().for_each(|s| counts.entry(&s.namespace).or_default().secrets += 1);
        state.configs().for_each(|c| counts.entry(&c.namespace).or_default().configs += 1);
        state.volumes().for_each(|v| counts.entry(&v.namespace).or_default().volumes += 1);
        Self(counts)
    }
}

pub(in crate::rest) fn namespace(contents: &Contents<'_>, namespace: &Namespace) -> model::Namespace {
    let Counts { deployments, secrets, configs, volumes } = contents.0.get(&namespace.name).copied().unwrap_or_default();
    model::Namespace {
        name: namespace.name.to_string(),
        created_at: Some(namespace.created_at),
        deployments,
        secrets,
        configs,
        volumes,
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
