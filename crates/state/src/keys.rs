//! Secrets, and the data keys that seal them, registry passwords and what signs the deliveries to webhooks.
//!
//! A data key is in the state, encrypted with the cluster's secret key; a sealed value names the data key it is sealed with. The
//! highest one is in use. A rotation brings a new one, the leader seals every value anew, and the state says how far that is: it
//! is over when nothing is sealed with another key.

use std::sync::Arc;

use ring_types::{DeploymentId, KeyId, Name, Revision, SecretId, Timestamp, WebhookId};

use crate::{Deployment, RegistryPassword, State};

/// A secret. Its value is encrypted before it gets here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Identity; part of what the encryption authenticates.
    pub id: SecretId,
    /// Namespace.
    pub namespace: Name,
    /// Name.
    pub name: Name,
    /// Nonce and ciphertext.
    pub sealed: Vec<u8>,
    /// The data key it is sealed with.
    pub key: KeyId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Last writer.
    pub version: Revision,
}

/// A data key.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey {
    /// Which.
    pub id: KeyId,
    /// Nonce and ciphertext, sealed with the cluster's secret key.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Nothing is sealed with an older key any more.
    pub settled: bool,
    /// Last writer.
    pub version: Revision,
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataKey").field("id", &self.id).field("settled", &self.settled).finish_non_exhaustive()
    }
}

/// A data key to be used from now on.
#[derive(Clone, PartialEq, Eq)]
pub struct NewDataKey {
    /// The one after the last one; another is refused, for somebody else was faster.
    pub id: KeyId,
    /// Nonce and ciphertext, sealed with the cluster's secret key.
    pub sealed: Vec<u8>,
}

impl std::fmt::Debug for NewDataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewDataKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A sealed value as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SealedValue {
    /// Of a secret.
    Secret {
        /// Which.
        id: SecretId,
        /// The version that was read.
        version: Revision,
    },
    /// The registry password of a deployment, and of the one it can go back to when it is the same.
    Password {
        /// Whose.
        deployment: DeploymentId,
        /// Which: passwords have another digest when they are changed.
        digest: [u8; 32],
    },
    /// What signs the deliveries to a webhook. It is never changed, so the key says whether it is still the same: the row has
    /// another version after every delivery.
    Webhook {
        /// Which.
        id: WebhookId,
        /// The key it was sealed with.
        key: KeyId,
    },
}

/// Values sealed anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reseal {
    /// The key they are sealed with; nothing is done when it is not the one in use.
    pub key: KeyId,
    /// At most [`crate::limits::RESEALS_PER_ENTRY`]. One that was changed since it was read is passed over.
    pub values: Vec<Resealed>,
}

/// One value sealed anew.
#[derive(Clone, PartialEq, Eq)]
pub struct Resealed {
    /// Which.
    pub value: SealedValue,
    /// Nonce and ciphertext.
    pub sealed: Vec<u8>,
}

impl std::fmt::Debug for Resealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resealed").field("value", &self.value).finish_non_exhaustive()
    }
}

impl State {
    /// A data key.
    pub fn data_key(&self, id: KeyId) -> Option<&Arc<DataKey>> {
        self.data_keys.get(&id)
    }

    /// The data key in use; None in a cluster that has none yet, where the secret key itself seals.
    pub fn current_data_key(&self) -> Option<&Arc<DataKey>> {
        self.data_keys.get_max().map(|(_, key)| key)
    }

    /// The id of the key that seals now.
    pub fn sealing_key(&self) -> KeyId {
        self.current_data_key().map_or(KeyId(0), |key| key.id)
    }

    /// What was sealed with it can be taken in: it is there, and not on its way out for good.
    pub fn seals_with(&self, key: KeyId) -> bool {
        if key == KeyId(0) { self.current_data_key().is_none_or(|key| !key.settled) } else { self.data_key(key).is_some() }
    }

    /// Values that are not sealed with the key in use, in a fixed order.
    pub fn sealed_otherwise(&self) -> impl Iterator<Item = SealedValue> + '_ {
        let key = self.sealing_key();
        let secrets = self.secrets().filter(move |secret| secret.key != key);
        let secrets = secrets.map(|secret| SealedValue::Secret { id: secret.id, version: secret.version });
        let webhooks = self.webhooks().filter(move |webhook| webhook.key != key);
        let webhooks = webhooks.map(|webhook| SealedValue::Webhook { id: webhook.id, key: webhook.key });
        secrets.chain(webhooks).chain(self.deployments().flat_map(move |deployment| old_passwords(deployment, key)))
    }

    /// A registry password of a deployment or of the one it can go back to.
    pub fn registry_password(&self, deployment: DeploymentId, digest: &[u8; 32], not_with: KeyId) -> Option<&RegistryPassword> {
        passwords(self.deployment(deployment)?).find(|password| password.digest == *digest && password.key != not_with)
    }
}

/// The registry passwords a record holds.
fn passwords(deployment: &Deployment) -> impl Iterator<Item = &RegistryPassword> {
    let previous = deployment.previous.as_ref().and_then(|previous| previous.registry_password.as_ref());
    deployment.registry_password.iter().chain(previous)
}

fn old_passwords(deployment: &Deployment, key: KeyId) -> impl Iterator<Item = SealedValue> + use<> {
    let mut digests: Vec<_> = passwords(deployment).filter(|password| password.key != key).map(|one| one.digest).collect();
    digests.dedup();
    let deployment = deployment.id;
    digests.into_iter().map(move |digest| SealedValue::Password { deployment, digest })
}
