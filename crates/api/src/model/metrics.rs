//! What a deployment uses.

use ring_types::{DeploymentId, InstanceId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the instances of a deployment use now, measured on their nodes when asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentMetrics {
    /// Which deployment.
    #[schema(value_type = String)]
    pub deployment_id: DeploymentId,
    /// Thousandths of a processor in use, of all measured instances together.
    pub cpu_millis: u64,
    /// Memory in use, of all measured instances together.
    pub memory_bytes: u64,
    /// Each instance that runs, by slot; also those that could not be measured.
    pub instances: Vec<InstanceMetrics>,
}

/// What one instance uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstanceMetrics {
    /// Which instance.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// Name of its node.
    pub node: String,
    /// Which of the deployment's places it fills.
    pub slot: u32,
    /// What was measured; null when it could not be.
    pub usage: Option<Usage>,
    /// Why it could not be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Use at one moment. Counters grow from the start of the instance; null where its runtime does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// When it was measured, by its node's clock.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Thousandths of a processor in use over the last seconds.
    pub cpu_millis: u64,
    /// Processor time used so far, microseconds.
    pub cpu_time_us: u64,
    /// Memory in use, without what the kernel could take back.
    pub memory_bytes: u64,
    /// Its limit.
    pub memory_limit_bytes: Option<u64>,
    /// Bytes received over its network.
    pub network_received_bytes: Option<u64>,
    /// Bytes sent.
    pub network_sent_bytes: Option<u64>,
    /// Bytes read from block devices.
    pub block_read_bytes: Option<u64>,
    /// Bytes written.
    pub block_written_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
}
