//! What health checks found.

use ring_types::{DeploymentId, InstanceId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words;

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthCheckStatus {
    /// It passed.
    Success,
    /// It failed.
    Failed,
    /// There was no answer in time.
    Timeout,
    /// No probe: the node of the instance could not be asked for its probes.
    Unreachable,
}

words!(HealthCheckStatus { Success = "success", Failed = "failed", Timeout = "timeout", Unreachable = "unreachable" });

/// One probe of one health check of one instance; or, with status `unreachable`, an instance whose probes are not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthCheckResult {
    /// The same probe has the same id in every reply.
    pub id: String,
    /// Whose.
    #[schema(value_type = String)]
    pub deployment_id: DeploymentId,
    /// Which instance was probed.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// Name of its node.
    #[serde(default)]
    pub node: String,
    /// Which check, by its place in the deployment's list, from 0; null with `unreachable`.
    pub check: Option<u32>,
    /// `tcp`, `http` or `command`; null with `unreachable`.
    pub check_type: Option<String>,
    /// How it ended.
    pub status: HealthCheckStatus,
    /// What was seen.
    pub message: Option<String>,
    /// When the node recorded it; null with `unreachable`.
    #[schema(value_type = Option<String>)]
    pub created_at: Option<Timestamp>,
    /// When it began, by the clock of the node; null with `unreachable`.
    #[schema(value_type = Option<String>)]
    pub started_at: Option<Timestamp>,
    /// When it was over; null with `unreachable`.
    #[schema(value_type = Option<String>)]
    pub finished_at: Option<Timestamp>,
}
