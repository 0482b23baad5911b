//! The replicated state machine: what the cluster remembers, and how one log entry changes it.
//!
//! Pure and deterministic: the same entries give the same state on every control node, in every release that can read them.
//! No clock, no randomness, no I/O, no hash-ordered iteration. Decisions (what should run where) are not made here but in
//! `planner`; here a decision is only checked against the facts and recorded.

mod access;
mod apply;
mod audit;
mod authority;
mod carried;
mod command;
mod cut_off;
mod dependencies;
mod generation;
mod index;
mod keys;
mod level;
mod moves;
mod node_change;
mod object;
mod people;
mod refusal;
mod reply;
mod rollout;
mod row;
mod scale;
mod state;
mod verdict;
mod webhook;

pub use access::{ApiToken, TokenRotation, TokenUse, UserUpdate};
pub use audit::{AuditEntry, AuditNote, AuditObject, AuditRecord, AuditRefusal, AuditedCommand};
pub use authority::{CaConfirm, CaPhase, CaRotation, CaStep, NewCa};
pub use carried::{CreateVolume, RegistryPassword, Volume};
pub use command::{Action, ApplyConfig, ApplyDeployment, Bootstrap, Command, EnrolMember, EnrolNode, Entry, InstanceReport};
pub use dependencies::dependency_circle;
pub use generation::{MEMBER_STEP, NewGeneration};
pub use keys::{DataKey, NewDataKey, Reseal, Resealed, SealedValue, Secret};
pub use level::{ClusterLevel, LEVEL, REPORTS_SAY_EPOCH};
pub use moves::{Move, Rebalance, Relocation};
pub use node_change::{NodeChange, NodeUpdate};
pub use object::{
    Clock, ClusterMeta, Config, Deployment, Drain, Event, EventKind, EventLevel, Instance, JoinRole, JoinToken, Member,
    MemberState, Namespace, Node, PastRequest, PlacementFailure, PlacementNote, Unplaced, UnplacedReason,
};
pub use people::{Account, Role, Scope};
pub use refusal::{Refusal, RefusalCode};
pub use reply::{Applied, ClaimOutcome, DeploymentOutcome, Outcome, Reply};
pub use rollout::{Previous, Rollout, RolloutPhase, Succession, is_exclusive, may_run, parent_keeps};
pub use row::{Row, RowChange, RowKey, Table};
pub use scale::Scale;
pub use state::{LoadError, State, Usage};
pub use verdict::Verdict;
pub use webhook::{AttemptResult, Backlog, Delivery, HookCommand, HookEvent, HookObject, Leader, NewWebhook, Webhook};

/// Limits of what is kept. Reaching one has a stated result.
pub mod limits {
    /// Events kept for each deployment; the oldest goes first.
    pub const EVENTS_PER_DEPLOYMENT: usize = 100;
    /// Answered requests remembered for deduplication; the oldest goes first.
    pub const PAST_REQUESTS: usize = 10_000;
    /// Deployments in one apply request.
    pub const DEPLOYMENTS_PER_APPLY: usize = 1_000;
    /// Actions in one plan entry.
    pub const ACTIONS_PER_PLAN: usize = 2_000;
    /// Instances of one rebalance.
    pub const MOVES_PER_REBALANCE: usize = 1_000;
    /// Longest time of a rolling update from one ready instance to the next, unless the request says otherwise; beside the start
    /// period of its checks.
    pub const ROLLOUT_DEADLINE: ring_types::Span = ring_types::Span::seconds(600);
    /// Lines of the audit record kept; the oldest goes first.
    pub const AUDIT_LINES: usize = 10_000;
    /// Age at which a line of the audit record goes: 90 days.
    pub const AUDIT_AGE: ring_types::Span = ring_types::Span::seconds(90 * 24 * 3600);
    /// Objects listed in one line of the audit record; the others are counted.
    pub const OBJECTS_PER_AUDIT_LINE: usize = 20;
    /// Uses of tokens in one entry.
    pub const USES_PER_ENTRY: usize = 1_000;
    /// Data keys at once; while so many are in use there is no further rotation.
    pub const DATA_KEYS: usize = 16;
    /// Values sealed anew in one entry.
    pub const RESEALS_PER_ENTRY: usize = 100;
    /// Bytes sealed anew in one entry, unless one value alone has more.
    pub const RESEALED_BYTES_PER_ENTRY: usize = 1 << 20;
    /// Webhooks of a cluster.
    pub const WEBHOOKS: usize = 50;
    /// Deliveries of one webhook that wait; of more the oldest are dropped, and counted.
    pub const PENDING_PER_WEBHOOK: usize = 5_000;
    /// Dead letters kept for each webhook; the oldest goes first.
    pub const DEAD_LETTERS_PER_WEBHOOK: usize = 1_000;
    /// Age at which a dead letter goes: 7 days.
    pub const DEAD_LETTER_AGE: ring_types::Span = ring_types::Span::seconds(7 * 24 * 3600);
    /// Results of attempts to deliver in one entry.
    pub const RESULTS_PER_ENTRY: usize = 500;
    /// Ended instances kept for each slot of a worker, for their logs.
    pub const ENDED_PER_SLOT: usize = 1;
}
