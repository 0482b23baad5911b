//! What deployments carry with them beside their specification: volumes and registry passwords.

use std::collections::BTreeMap;

use ring_types::{KeyId, Name, NodeId, Revision, Timestamp, VolumeDriver, VolumeId};

/// A named volume. What it holds is on a node or on a file server; this says where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Identity.
    pub id: VolumeId,
    /// Namespace.
    pub namespace: Name,
    /// Name.
    pub name: Name,
    /// Where its data lives.
    pub driver: VolumeDriver,
    /// Of one on a file server: `server:/path`.
    pub source: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The node that holds the data of a local one; None until the first instance that mounts it is bound. Instances that
    /// mount it go nowhere else.
    pub node: Option<NodeId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Last writer.
    pub version: Revision,
}

/// A registry password that came with a manifest, encrypted for the namespace and name of its deployment.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryPassword {
    /// Nonce and ciphertext.
    pub sealed: Vec<u8>,
    /// The data key it is sealed with.
    pub key: KeyId,
    /// What tells two passwords apart without opening them: the same one gives the same digest, which says nothing to
    /// whoever lacks the cluster's secret key. Sealing gives other bytes each time.
    pub digest: [u8; 32],
}

impl std::fmt::Debug for RegistryPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegistryPassword(..)")
    }
}

/// A volume to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateVolume {
    /// Identity.
    pub id: VolumeId,
    /// Namespace; made when missing.
    pub namespace: Name,
    /// Name.
    pub name: Name,
    /// Where its data lives.
    pub driver: VolumeDriver,
    /// `server:/path` of one on a file server.
    pub source: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Where the data of a local one is already.
    pub node: Option<NodeId>,
}
