//! Namespaces, secrets, configs and volumes.

use std::collections::BTreeMap;

use ring_types::{ConfigId, DeploymentId, NodeId, SecretId, Timestamp, VolumeDriver, VolumeId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Namespace {
    /// Name.
    pub name: String,
    /// When it was made.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub created_at: Option<Timestamp>,
    /// Deployments in it.
    #[serde(default)]
    pub deployments: u32,
    /// Secrets in it.
    #[serde(default)]
    pub secrets: u32,
    /// Configs in it.
    #[serde(default)]
    pub configs: u32,
    /// Volumes in it.
    #[serde(default)]
    pub volumes: u32,
    /// Revision that last wrote it.
    #[serde(default)]
    pub version: u64,
}

/// Body of `POST /namespaces`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateNamespace {
    /// Name.
    pub name: String,
}

/// Body of `POST /namespaces/{name}/prune`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Prune {
    /// Every deployment, live ones too. Otherwise all but pending, creating and running ones.
    #[serde(default)]
    pub all: bool,
}

/// Reply to a prune.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PruneReply {
    /// Deployments that go.
    #[schema(value_type = Vec<String>)]
    pub deleted: Vec<DeploymentId>,
    /// Log index of the change.
    pub revision: u64,
}

/// A secret. Its value never comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Secret {
    /// Identity.
    #[schema(value_type = String)]
    pub id: SecretId,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// When it was made.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub created_at: Option<Timestamp>,
    /// When it last changed.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub updated_at: Option<Timestamp>,
    /// Revision that last wrote it.
    #[serde(default)]
    pub version: u64,
}

/// How far the rotation of the data key is, which seals secrets and registry passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyRotation {
    /// The key in use, counted from 1; 0 in a cluster that has none yet: the cluster's secret key itself seals values there.
    pub key: u64,
    /// When it was made.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub created_at: Option<Timestamp>,
    /// Nothing is sealed with another key, and older ones are gone.
    pub done: bool,
    /// Values that are still sealed with another key.
    pub left: u64,
    /// Those of the next 20 that do not open and hold the rotation up. Each needs a new value, or has to go.
    #[serde(default)]
    pub unreadable: Vec<String>,
}

/// Body of `POST /secrets`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSecret {
    /// Namespace; made when missing.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

impl std::fmt::Debug for CreateSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateSecret").field("namespace", &self.namespace).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A config: keys and their contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Config {
    /// Identity.
    #[schema(value_type = String)]
    pub id: ConfigId,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Keys and contents.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub created_at: Option<Timestamp>,
    /// When it last changed.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub updated_at: Option<Timestamp>,
    /// Revision that last wrote it.
    #[serde(default)]
    pub version: u64,
}

/// Body of `POST /configs` and `PUT /configs/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateConfig {
    /// Namespace; made when missing.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Keys and contents.
    pub data: BTreeMap<String, String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A named volume: where its data is. The data itself is on a node or on a file server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Volume {
    /// Identity.
    #[schema(value_type = String)]
    pub id: VolumeId,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `local` or `nfs`.
    #[schema(value_type = String)]
    pub driver: VolumeDriver,
    /// Of one of driver `nfs`: `server:/path`.
    #[serde(default)]
    pub source: Option<String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Name of the node that holds the data of a local one; null until the first instance that mounts it has a node. Its id
    /// when that node is not part of the cluster any more.
    #[serde(default)]
    pub node: Option<String>,
    /// Id of that node.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub node_id: Option<NodeId>,
    /// Names of the deployments that mount it.
    #[serde(default)]
    pub used_by: Vec<String>,
    /// When it was made.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub created_at: Option<Timestamp>,
    /// When it last changed.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub updated_at: Option<Timestamp>,
    /// Revision that last wrote it.
    #[serde(default)]
    pub version: u64,
}

/// Body of `POST /volumes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateVolume {
    /// Namespace; made when missing.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `local`, the default, or `nfs`. `backend_type` is an older name of it.
    #[serde(default, alias = "backend_type")]
    #[schema(value_type = String)]
    pub driver: VolumeDriver,
    /// Needed by driver `nfs`: `server:/path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Name or id of the node that has the data of a local one already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}
