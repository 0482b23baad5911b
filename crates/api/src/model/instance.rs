//! One execution of a deployment.

use ring_types::{InstanceId, InstanceState, NodeId, StopCause, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ExitStatus;

/// One instance: one execution on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Instance {
    /// Identity.
    #[schema(value_type = String)]
    pub id: InstanceId,
    /// Name of its node; null while it is not placed.
    pub node: Option<String>,
    /// Id of its node.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub node_id: Option<NodeId>,
    /// Where it is in its life.
    #[schema(value_type = String)]
    pub status: InstanceState,
    /// It runs and is ready to be used.
    #[serde(default)]
    pub ready: bool,
    /// Which of the deployment's places it fills, from 0.
    #[serde(default)]
    pub slot: u32,
    /// For a job: which try this is, from 1.
    #[serde(default)]
    pub attempt: u32,
    /// Address on its network.
    pub address: Option<String>,
    /// When it was made.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub created_at: Option<Timestamp>,
    /// When its process started.
    #[schema(value_type = Option<String>)]
    pub started_at: Option<Timestamp>,
    /// How it ended.
    pub exit_status: Option<ExitStatus>,
    /// Why it was told to end, when it was: `timed_out`, `scaled_down` and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub stop_cause: Option<StopCause>,
    /// What its node last said about it.
    #[serde(default)]
    pub message: Option<String>,
    /// Its health checks that fail.
    #[serde(default)]
    pub failing_checks: Vec<FailingCheck>,
}

/// A health check of an instance that failed as often as counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailingCheck {
    /// Its place in the deployment's list, from 0.
    pub check: u32,
    /// `tcp`, `http` or `command`.
    pub check_type: String,
    /// What was seen when it began to fail.
    pub message: String,
}
