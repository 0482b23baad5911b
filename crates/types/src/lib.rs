//! The vocabulary of ring: ids, names, resources, statuses, durations, and what makes a specification valid.
//!
//! Pure: no clock, no randomness, no I/O, no hash-ordered iteration. Every other crate speaks in these types; what they
//! are called on the wire, on disk and in manifests is decided in `proto` and `api`.

mod exit;
mod health;
mod id;
mod incarnation;
mod level;
mod name;
mod node;
mod quantity;
mod spec;
mod spec_parts;
mod status;
mod time;
mod validate;
mod violation;
mod webhook;

pub use exit::{ExitStatus, Outcome, StartFailure, UnknownExit};
pub use health::{FailingCheck, Health};
pub use id::{
    ClusterId, ConfigId, DeliveryId, DeploymentId, Epoch, Generation, InstanceId, JoinTokenId, KeyId, MemberId, NodeId,
    RequestId, Revision, SecretId, TokenId, UserId, VolumeId, WebhookId,
};
pub use incarnation::{ClusterGeneration, ClusterGenerationError};
pub use level::Level;
pub use name::{Name, NameError};
pub use node::{NodeCapacity, NodeInfo, NodeStatus, RuntimeReport};
pub use quantity::{Cpu, Memory, QuantityError};
pub use spec::{DeploymentSpec, Kind, NetworkMode, OnNodeLoss, RuntimeKind};
pub use spec_parts::{
    Autoscale, CheckAction, CheckKind, Constraint, Dependency, DependencyCondition, EnvValue, HealthCheck, ImageConfig,
    Permission, Placement, Port, Protocol, PullPolicy, ResourceAmounts, Resources, RestartPolicy, Spread, UserConfig, Volume,
    VolumeDriver, VolumeKind, is_export,
};
pub use status::{Condition, DeploymentStatus, Goal, InstanceState, StopCause};
pub use time::{Span, SpanError, Timestamp};
pub use validate::validate;
pub use violation::{Rule, Violation};
pub use webhook::{EventFilter, HookKind};
