//! A host as a part of the cluster: how it becomes one, and how it runs.
//!
//! [`init`] makes a cluster, [`join`] enters one; both leave files in the data directory, and [`ControlNode::start`] or
//! [`AgentHost::load`] go on from these alone.

mod agent_host;
mod api;
mod error;
mod find;
mod host;
mod init;
mod join;
mod promote;
mod recover;
mod renewal;
mod reset;
mod restore;
mod rotation;
mod running;
mod start;

pub use crate::door::DoorLimits;
pub use crate::rest::CallerLimits;
pub use crate::webhooks::WebhookOptions;
pub use agent_host::AgentHost;
pub use api::{ApiSettings, ApiTlsMode, ApiWords};
pub use error::NodeError;
pub use host::{Settings, host_name};
pub use init::{FirstWords, InitOptions, init};
pub use join::{JoinOptions, join};
pub use recover::{Recovery, RecoveryPlan};
pub use reset::reset_password;
pub use restore::{RestoreOptions, Restored, restore};
pub use ring_controller::{ControllerOptions, DeliveryOptions};
pub use ring_planner::LeaseOptions;
pub use ring_store::{BackupError, BackupSummary, Timing, inspect_backup};
pub use running::ControlNode;
pub use start::{StartOptions, has_joined};
