//! The objects of the REST interface. Times are RFC 3339 UTC; `version` is the revision that last wrote an object, and
//! `revision` in a reply to a change is the log index of that change.

mod access;
mod apply;
mod audit;
mod cluster;
mod deployment;
mod exit;
mod health_check;
mod instance;
mod metrics;
mod objects;
mod plan;
mod rebalance;
mod stream;
mod webhook;

pub use access::{CreateToken, CreateUser, LoginReply, LoginRequest, Role, Token, UpdateUser, User};
pub use apply::{Applied, ApplyOutcome, ApplyReply, ApplyRequest};
pub use audit::{AuditEntry, AuditObject, AuditOutcome};
pub use cluster::{
    AuthorityPhase, AuthorityRotation, ClusterStatus, CreateJoinToken, Drain, DrainRequest, JoinRole, JoinToken, Member,
    MemberRole, Node, NodeCounts, NodePatch, TransferLeader,
};
pub use deployment::{Deployment, Network, RolloutPhase};
pub use exit::ExitStatus;
pub use health_check::{HealthCheckResult, HealthCheckStatus};
pub use instance::{FailingCheck, Instance};
pub use metrics::{DeploymentMetrics, InstanceMetrics, Usage};
pub use objects::{
    Config, CreateConfig, CreateNamespace, CreateSecret, CreateVolume, KeyRotation, Namespace, Prune, PruneReply, Secret, Volume,
};
pub use plan::{
    ApplyAnswer, FieldChange, Manner, NOT_SHOWN, PlanReply, PlannedConfig, PlannedDeployment, PlannedInstance, PlannedNamespace,
};
pub use rebalance::{Move, MoveState, Rebalance, RebalanceRequest};
pub use stream::{DeploymentEvent, EventLevel, LogGap, LogGaps, LogItem, LogLine, LogStream};
pub use webhook::{CreateWebhook, Delivery, DeliveryState, HookObject, HookPayload, Redelivered, Webhook};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Reply to a change that returns no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// Log index of the change.
    pub revision: u64,
}

/// Reply to a change that returns the object as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changed<T> {
    /// The object.
    #[serde(flatten)]
    pub object: T,
    /// Log index of the change.
    pub revision: u64,
}

/// Is the server up, and does it serve?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`, or what is missing.
    pub status: String,
    /// Name of the control node.
    #[serde(default)]
    pub node: String,
    /// Version of the program.
    #[serde(default)]
    pub version: String,
}

/// Version of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// Version of the program.
    pub version: String,
}

/// Gives a plain enum the word it has on the wire.
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word for it everywhere people and programs see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|v| v.as_str()).collect();
                    format!("'{text}' is not one of {}", known.join(", "))
                })
            }
        }
    };
}
use words;
