//! Data keys, and values sealed anew.

use std::sync::Arc;

use ring_types::{DeploymentId, KeyId, Revision, SecretId, WebhookId};

use super::{Done, Tx};
use crate::{
    DataKey, Deployment, NewDataKey, Previous, Refusal, RefusalCode, RegistryPassword, Reply, Reseal, Row, RowKey, SealedValue,
    Secret, Webhook, limits,
};

impl Tx<'_> {
    /// The first data key of a new cluster: nothing is sealed with anything else.
    pub(super) fn first_data_key(&mut self, sealed: &[u8]) {
        self.put_data_key(DataKey {
            id: KeyId(1),
            sealed: sealed.to_vec(),
            created_at: self.at,
            settled: true,
            version: self.revision,
        });
    }

    fn put_data_key(&mut self, key: DataKey) {
        self.put(Row::DataKey(Arc::new(key)));
    }

    pub(super) fn rotate_data_key(&mut self, wanted: &NewDataKey) -> Done {
        if wanted.id != self.state.sealing_key().next() {
            let message = "the data key was rotated by somebody else at the same moment; see `ring secret rotate-key --status`";
            return Err(Refusal::conflict(message));
        }
        if self.state.data_keys.len() >= limits::DATA_KEYS {
            let message = format!(
                "{} data keys are in use, at most {} can be: wait for the rotation under way, see `ring secret rotate-key --status`",
                self.state.data_keys.len(),
                limits::DATA_KEYS
            );
            return Err(Refusal::new(RefusalCode::LimitReached, message));
        }
        self.put_data_key(DataKey {
            id: wanted.id,
            sealed: wanted.sealed.clone(),
            created_at: self.at,
            settled: false,
            version: self.revision,
        });
        Ok(Reply::Done)
    }

    /// Refuses what was sealed with a key that has gone since: it could never be opened.
    pub(super) fn check_key(&self, key: KeyId) -> Result<(), Refusal> {
        if self.state.seals_with(key) {
            return Ok(());
        }
        Err(Refusal::new(RefusalCode::Stale, "the data key was rotated at the same moment; send the request again"))
    }

    pub(super) fn reseal(&mut self, wanted: &Reseal) -> Done {
        let mut skipped = 0;
        for one in &wanted.values {
            let fits = wanted.key == self.state.sealing_key()
                && match &one.value {
                    SealedValue::Secret { id, version } => self.reseal_secret(*id, *version, wanted.key, &one.sealed),
                    SealedValue::Password { deployment, digest } => {
                        self.reseal_password(*deployment, digest, wanted.key, &one.sealed)
                    }
                    SealedValue::Webhook { id, key } => self.reseal_webhook(*id, *key, wanted.key, &one.sealed),
                };
            skipped += u32::from(!fits);
        }
        Ok(Reply::Planned { skipped })
    }

    fn reseal_secret(&mut self, id: SecretId, version: Revision, key: KeyId, sealed: &[u8]) -> bool {
        let Some(secret) = self.state.secret(id).filter(|secret| secret.version == version) else { return false };
        let secret = Secret { sealed: sealed.to_vec(), key, version: self.revision, ..Secret::clone(secret) };
        self.put(Row::Secret(Arc::new(secret)));
        true
    }

    fn reseal_password(&mut self, id: DeploymentId, digest: &[u8; 32], key: KeyId, sealed: &[u8]) -> bool {
        let Some(found) = self.state.deployment(id).filter(|_| self.state.registry_password(id, digest, key).is_some()) else {
            return false;
        };
        let anew = |password: &RegistryPassword| {
            if password.digest == *digest && password.key != key {
                RegistryPassword { sealed: sealed.to_vec(), key, ..password.clone() }
            } else {
                password.clone()
            }
        };
        let previous = |before: &Arc<Previous>| {
            let registry_password = before.registry_password.as_ref().map(anew);
            Arc::new(Previous { registry_password, ..Previous::clone(before) })
        };
        let deployment = Deployment {
            registry_password: found.registry_password.as_ref().map(anew),
            previous: found.previous.as_ref().map(previous),
            version: self.revision,
            ..Deployment::clone(found)
        };
        self.put(Row::Deployment(Arc::new(deployment)));
        true
    }

    fn reseal_webhook(&mut self, id: WebhookId, was: KeyId, key: KeyId, sealed: &[u8]) -> bool {
        let Some(found) = self.state.webhook(id).filter(|webhook| webhook.key == was && was != key) else { return false };
        let webhook = Webhook { sealed: sealed.to_vec(), key, ..Webhook::clone(found) };
        self.put_webhook(webhook);
        true
    }

    pub(super) fn settle_data_key(&mut self, key: KeyId) -> Done {
        let Some(current) = self.state.data_key(key).filter(|key| key.id == self.state.sealing_key() && !key.settled).cloned()
        else {
            return Ok(Reply::Planned { skipped: 1 });
        };
        if self.state.sealed_otherwise().next().is_some() {
            return Ok(Reply::Planned { skipped: 1 });
        }
        let old: Vec<_> = self.state.data_keys.keys().copied().filter(|id| *id != key).collect();
        for id in old {
            self.delete(RowKey::DataKey(id));
        }
        self.put_data_key(DataKey { settled: true, version: self.revision, ..DataKey::clone(&current) });
        Ok(Reply::Planned { skipped: 0 })
    }
}
