//! What an apply would do: the reply to `POST /deployments?dry_run=true`.

use ring_types::{DeploymentId, Kind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words;
use super::{ApplyOutcome, ApplyReply};

/// Stands for a value that is never shown.
pub const NOT_SHOWN: &str = "(not shown)";

/// One field that would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// Which: `environment.LOG_LEVEL`, `ports[0].published`.
    pub path: String,
    /// Its value now; null when it is not set.
    #[schema(value_type = Object)]
    pub from: serde_json::Value,
    /// Its value then; null when it would not be set any more.
    #[schema(value_type = Object)]
    pub to: serde_json::Value,
}

/// How a deployment would get from what it is to what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// There is none of that name.
    Create,
    /// The same instances, more or fewer of them.
    Scale,
    /// One instance at a time.
    Rolling,
    /// The old one ends, then the new one begins.
    Replace,
    /// The rolling update under way is called off.
    Restore,
}

words!(Manner { Create = "create", Scale = "scale", Rolling = "rolling", Replace = "replace", Restore = "restore" });

/// An instance that would come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedInstance {
    /// Its place among the replicas, from 0.
    pub slot: u32,
    /// Name of the node that would take it.
    #[serde(default)]
    pub node: Option<String>,
    /// Why no node would.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What would become of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedNamespace {
    /// Its name.
    pub name: String,
    /// `created` or `unchanged`.
    pub outcome: ApplyOutcome,
}

/// What would become of a config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedConfig {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `created`, `updated` or `unchanged`.
    pub outcome: ApplyOutcome,
    /// What of it.
    #[serde(default)]
    pub changes: Vec<FieldChange>,
}

/// What would become of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedDeployment {
    /// Its key in the manifest.
    pub label: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Worker or job.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// What would be done.
    pub outcome: ApplyOutcome,
    /// How; null when nothing would be.
    #[serde(default)]
    pub how: Option<Manner>,
    /// The record that stands for the name now.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub current_id: Option<DeploymentId>,
    /// What of it. Of a new one: what is not at its default.
    #[serde(default)]
    pub changes: Vec<FieldChange>,
    /// Where its new instances would go, as things are now.
    #[serde(default)]
    pub placement: Vec<PlannedInstance>,
    /// What it would wait for before anything of it starts.
    #[serde(default)]
    pub waits_for: Option<String>,
    /// What the writer should know.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Reply to `POST /deployments?dry_run=true`, in the order of the manifest. Nothing has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanReply {
    /// Every namespace the manifest touches.
    #[serde(default)]
    pub namespaces: Vec<PlannedNamespace>,
    /// Every config of the manifest.
    #[serde(default)]
    pub configs: Vec<PlannedConfig>,
    /// Every deployment of the manifest.
    pub deployments: Vec<PlannedDeployment>,
    /// Log index of the state this was worked out from.
    pub revision: u64,
}

impl PlanReply {
    /// Would anything change?
    pub fn changes_anything(&self) -> bool {
        let namespaces = self.namespaces.iter().map(|namespace| namespace.outcome);
        let configs = self.configs.iter().map(|config| config.outcome);
        let deployments = self.deployments.iter().map(|deployment| deployment.outcome);
        namespaces.chain(configs).chain(deployments).any(|outcome| outcome != ApplyOutcome::Unchanged)
    }

    /// Leaves only what would change.
    pub fn drop_unchanged(&mut self) {
        self.namespaces.retain(|namespace| namespace.outcome != ApplyOutcome::Unchanged);
        self.configs.retain(|config| config.outcome != ApplyOutcome::Unchanged);
        self.deployments.retain(|deployment| deployment.outcome != ApplyOutcome::Unchanged);
    }
}

/// What `POST /deployments` answers: what was done, or with `dry_run` what would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ApplyAnswer {
    /// Done.
    Applied(ApplyReply),
    /// Would be done.
    Planned(PlanReply),
}
