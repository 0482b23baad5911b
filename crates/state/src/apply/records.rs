//! Namespaces, secrets and configs.

use std::sync::Arc;

use ring_types::{ConfigId, KeyId, Name, SecretId};

use super::{Done, Tx};
use crate::{ApplyConfig, Config, Deployment, Namespace, Refusal, Reply, Row, RowKey, Secret};

impl Tx<'_> {
    pub(super) fn ensure_namespace(&mut self, name: &Name) {
        if self.state.namespace(name).is_none() {
            let namespace = Namespace { name: name.clone(), created_at: self.at, version: self.revision };
            self.put(Row::Namespace(Arc::new(namespace)));
        }
    }

    pub(super) fn create_namespace(&mut self, name: &Name) -> Done {
        if self.state.namespace(name).is_some() {
            return Err(Refusal::conflict(format!("namespace '{name}' exists already")));
        }
        self.ensure_namespace(name);
        Ok(Reply::Done)
    }

    pub(super) fn delete_namespace(&mut self, name: &Name) -> Done {
        if self.state.namespace(name).is_none() {
            return Err(Refusal::not_found(format!("namespace '{name}'")));
        }
        let deployments = self.state.deployments_in(name).count();
        let secrets = self.state.secrets_in(name).count();
        let configs = self.state.configs_in(name).count();
        let volumes = self.state.volumes_in(name).count();
        let left = [(deployments, "deployment"), (secrets, "secret"), (configs, "config"), (volumes, "volume")];
        let left: Vec<_> = left.into_iter().filter(|(count, _)| *count > 0).map(counted).collect();
        if !left.is_empty() {
            let message = format!("namespace '{name}' still has {}; delete those first", left.join(", "));
            return Err(Refusal::conflict(message));
        }
        self.delete(RowKey::Namespace(name.clone()));
        Ok(Reply::Done)
    }

    pub(super) fn put_secret(
        &mut self,
        id: SecretId,
        (namespace, name): (&Name, &Name),
        (sealed, key): (&[u8], KeyId),
        create: bool,
    ) -> Done {
        self.check_key(key)?;
        let current = self.state.secret_named(namespace, name).cloned();
        match &current {
            Some(_) if create => return Err(Refusal::conflict(format!("secret '{namespace}/{name}' exists already"))),
            // The value is sealed for one identity: under another it could never be opened.
            Some(secret) if secret.id != id => {
                return Err(Refusal::conflict(format!("secret '{namespace}/{name}' was changed by somebody else; try again")));
            }
            _ => {}
        }
        self.ensure_namespace(namespace);
        let secret = Secret {
            id,
            namespace: namespace.clone(),
            name: name.clone(),
            sealed: sealed.to_vec(),
            key,
            created_at: current.map_or(self.at, |s| s.created_at),
            updated_at: self.at,
            version: self.revision,
        };
        self.put(Row::Secret(Arc::new(secret)));
        Ok(Reply::Done)
    }

    pub(super) fn delete_secret(&mut self, id: SecretId, force: bool) -> Done {
        let secret = self.state.secret(id).cloned().ok_or_else(|| Refusal::not_found(format!("secret '{id}'")))?;
        let uses = |d: &&Arc<Deployment>| !d.deleting && d.spec.secret_refs().contains(&secret.name.as_str());
        let user = self.state.deployments_in(&secret.namespace).find(uses).map(|d| d.spec.name.clone());
        if let Some(user) = user.filter(|_| !force) {
            let message =
                format!("secret '{}/{}' is used by deployment '{user}'; use force to delete it", secret.namespace, secret.name);
            return Err(Refusal::conflict(message));
        }
        self.delete(RowKey::Secret(id));
        Ok(Reply::Done)
    }

    pub(super) fn put_config(&mut self, wanted: &ApplyConfig, create: bool) -> Done {
        let (namespace, name) = (&wanted.namespace, &wanted.name);
        if create && self.state.config_named(namespace, name).is_some() {
            return Err(Refusal::conflict(format!("config '{namespace}/{name}' exists already")));
        }
        self.apply_config(wanted);
        Ok(Reply::Done)
    }

    /// Makes a config or changes it; one that is the same already is left as it is.
    pub(super) fn apply_config(&mut self, wanted: &ApplyConfig) {
        let current = self.state.config_named(&wanted.namespace, &wanted.name).cloned();
        if current.as_ref().is_some_and(|c| c.data == wanted.data && c.labels == wanted.labels) {
            return;
        }
        self.ensure_namespace(&wanted.namespace);
        let config = Config {
            id: current.as_ref().map_or(wanted.id, |c| c.id),
            namespace: wanted.namespace.clone(),
            name: wanted.name.clone(),
            data: wanted.data.clone(),
            labels: wanted.labels.clone(),
            created_at: current.map_or(self.at, |c| c.created_at),
            updated_at: self.at,
            version: self.revision,
        };
        self.put(Row::Config(Arc::new(config)));
    }

    pub(super) fn delete_config(&mut self, id: ConfigId, force: bool) -> Done {
        let config = self.state.config(id).cloned().ok_or_else(|| Refusal::not_found(format!("config '{id}'")))?;
        let mounts = |d: &&Arc<Deployment>| !d.deleting && d.spec.config_refs().contains(&config.name.as_str());
        let user = self.state.deployments_in(&config.namespace).find(mounts).map(|d| d.spec.name.clone());
        if let Some(user) = user.filter(|_| !force) {
            let message =
                format!("config '{}/{}' is used by deployment '{user}'; use force to delete it", config.namespace, config.name);
            return Err(Refusal::conflict(message));
        }
        self.delete(RowKey::Config(id));
        Ok(Reply::Done)
    }
}

fn counted((count, what): (usize, &str)) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
