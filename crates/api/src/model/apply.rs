//! The request that applies a manifest, and its reply.

use std::collections::BTreeMap;

use ring_types::DeploymentId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words;

/// Body of `POST /deployments`: a manifest as JSON. It is read by [`crate::manifest::Manifest::from_json`]; this type only
/// documents its shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApplyRequest {
    /// Namespaces, by label.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub namespaces: BTreeMap<String, serde_json::Value>,
    /// Configs, by label.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub configs: BTreeMap<String, serde_json::Value>,
    /// Deployments, by label.
    #[schema(value_type = Object)]
    pub deployments: BTreeMap<String, serde_json::Value>,
}

/// What applying did to one deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApplyOutcome {
    /// There was none of that name.
    Created,
    /// A rolling update began, or only the number of replicas changed.
    Updated,
    /// The old one goes, a new one comes.
    Replaced,
    /// A rolling update under way is called off: the version before stays.
    Restored,
    /// It was as asked for already.
    Unchanged,
}

words!(ApplyOutcome {
    Created = "created",
    Updated = "updated",
    Replaced = "replaced",
    Restored = "restored",
    Unchanged = "unchanged",
});

/// One deployment of an applied manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// Its key in the manifest.
    pub label: String,
    /// Its record.
    #[schema(value_type = String)]
    pub id: DeploymentId,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// What was done.
    pub outcome: ApplyOutcome,
    /// What the writer should know.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Reply to `POST /deployments`, in the order of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApplyReply {
    /// Every deployment of the manifest.
    pub deployments: Vec<Applied>,
    /// Log index of the change.
    pub revision: u64,
}
