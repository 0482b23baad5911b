//! One execution of a deployment.

use ring_types::{InstanceId, InstanceState, NodeId, Timestamp};
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
    /// What its node last said about it.
    #[serde(default)]
    pub message: Option<String>,
}
