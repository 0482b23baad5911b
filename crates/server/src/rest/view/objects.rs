//! Namespaces, secrets and configs.

use ring_api::model;
use ring_state::{Config, Namespace, Secret, State};

pub(in crate::rest) fn namespace(state: &State, namespace: &Namespace) -> model::Namespace {
    let deployments = state.deployments_in(&namespace.name).filter(|d| !d.deleting).count();
    model::Namespace {
        name: namespace.name.to_string(),
        created_at: Some(namespace.created_at),
        deployments: u32::try_from(deployments).unwrap_or(u32::MAX),
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
