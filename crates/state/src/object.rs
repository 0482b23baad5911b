//! The objects the cluster remembers. Each has the log index that last wrote it as `version`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ring_types::{
    ClusterGeneration, ClusterId, Condition, ConfigId, DeploymentId, DeploymentSpec, DeploymentStatus, Epoch, ExitStatus,
    Generation, Goal, Health, InstanceId, InstanceState, JoinTokenId, MemberId, Name, NodeId, NodeInfo, NodeStatus, RequestId,
    Revision, Span, StopCause, Timestamp,
};

use crate::{Move, Previous, RegistryPassword, Reply, Rollout, Scale};

/// What is known of the cluster as a whole. There is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterMeta {
    /// Which cluster this is.
    pub cluster: ClusterId,
    /// When it was made.
    pub created_at: Timestamp,
    /// The id the next control node gets.
    pub next_member: MemberId,
    /// Certificate of the cluster's authority, PEM.
    pub ca_certificate: String,
    /// Key of the authority, encrypted with the cluster's secret key.
    pub ca_key_sealed: Vec<u8>,
    /// Which life of the cluster it is.
    pub generation: ClusterGeneration,
    /// Control nodes below this, which the state may have never heard of, are of earlier generations unless it has them.
    pub first_member: MemberId,
}

/// What changes with every entry; a row of its own because it is written so often. There is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Time of the latest entry; never goes back.
    pub now: Timestamp,
    /// The number the next event gets.
    pub next_event: u64,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Name.
    pub name: Name,
    /// When it was made.
    pub created_at: Timestamp,
    /// Last writer.
    pub version: Revision,
}

/// A deployment. Its specification never changes, but for the number of replicas: a changed one is a new deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Identity.
    pub id: DeploymentId,
    /// What it asks for.
    pub spec: Arc<DeploymentSpec>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Where it is in its life.
    pub status: DeploymentStatus,
    /// One word for why, empty when there is nothing to say: `node_lost`, `oom_killed`, `exit_code`, `signal`.
    pub reason: String,
    /// A sentence for people, empty when there is nothing to say.
    pub message: String,
    /// What is worth knowing beside the status, sorted.
    pub conditions: Vec<Condition>,
    /// Restarts after crashes since the last healthy window.
    pub restart_count: u32,
    /// Starts that failed before a process ran, since the last one that succeeded; decides the pause before the next.
    pub start_failures: u32,
    /// The deployment this one takes, took or was to take the place of in a rolling update.
    pub parent: Option<DeploymentId>,
    /// The deployment this one takes the place of; nothing of this starts while an instance of that may still run.
    pub replaces: Option<DeploymentId>,
    /// It is to go: instances are stopped, then the record.
    pub deleting: bool,
    /// How a job ended.
    pub exit: Option<ExitStatus>,
    /// Digest of the image it runs.
    pub image_digest: Option<String>,
    /// Why instances are missing, when placement found no node.
    pub placement_failure: Option<PlacementFailure>,
    /// How the rolling update that brings it is going, or went; None for one that was made, or replaced another at once.
    pub rollout: Option<Rollout>,
    /// What was before this one, for going back to it.
    pub previous: Option<Arc<Previous>>,
    /// What it depends on was there once: from then on it is not asked for again.
    pub released: bool,
    /// Where its load has led its number of instances to.
    pub scale: Option<Scale>,
    /// The password of `spec.config.username`. Whatever record takes the place of this one with the same registry account
    /// gets a copy.
    pub registry_password: Option<RegistryPassword>,
    /// Last writer.
    pub version: Revision,
}

/// Why instances of a deployment have no node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementFailure {
    /// How many are missing.
    pub missing: u32,
    /// Nodes by what speaks against them, most first.
    pub reasons: Vec<Unplaced>,
}

/// Why instances are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementNote {
    /// Whose.
    pub deployment: DeploymentId,
    /// None: all are placed.
    pub failure: Option<PlacementFailure>,
}

/// So many nodes are refused for this reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// What speaks against them.
    pub reason: UnplacedReason,
    /// How many.
    pub nodes: u32,
}

/// What speaks against a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnplacedReason {
    /// There are no nodes at all.
    NoNodes,
    /// Out of contact.
    NotReady,
    /// Closed to new work by an operator.
    Cordoned,
    /// It does not have the runtime, or it is not usable there.
    RuntimeMissing(String),
    /// A constraint does not hold, or the node is not one of those named.
    Constraint(String),
    /// Not enough free processors now; largest gap in millicores.
    Cpu(u64),
    /// Not enough free memory now; largest gap in bytes.
    Memory(u64),
    /// `max_per_node` is reached, or host networking is taken.
    Full,
    /// A published port is taken there.
    Port(u16),
    /// A volume it mounts has its data on another node.
    Volume {
        /// Name of the volume.
        volume: String,
        /// Name of the node that holds the data; None for one that is not part of the cluster any more.
        node: Option<String>,
    },
    /// Its agent is of a release that does not stop instances when it is cut off.
    AgentTooOld,
}

/// One instance: bound to a node once, executed at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Identity.
    pub id: InstanceId,
    /// Whose.
    pub deployment: DeploymentId,
    /// Which of the wanted replicas, from 0.
    pub slot: u32,
    /// Which attempt of a job, or which life of a slot, from 1.
    pub attempt: u32,
    /// Where.
    pub node: NodeId,
    /// Epoch of the registration that claimed it.
    pub claim: Option<Epoch>,
    /// Version of what its node is told about it; grows with the goal.
    pub generation: Generation,
    /// What is wanted of it.
    pub goal: Goal,
    /// Where it is.
    pub state: InstanceState,
    /// Its address, when it has one.
    pub address: Option<Box<str>>,
    /// Digest of its image.
    pub image_digest: Option<Box<str>>,
    /// When it was bound.
    pub created_at: Timestamp,
    /// When its process started.
    pub started_at: Option<Timestamp>,
    /// How it ended.
    pub exit: Option<Box<ExitStatus>>,
    /// Why it was told to end, when it was.
    pub stop_cause: Option<StopCause>,
    /// What its node's checks say; None until they said something.
    pub health: Option<Box<Health>>,
    /// Since when it has been ready without a break, by the leader's clock.
    pub ready_at: Option<Timestamp>,
    /// When its process was first heard to run, by the leader's clock: its node's own may be off by any amount.
    pub running_since: Option<Timestamp>,
    /// Another is to take its place on another node.
    pub moving: Option<Box<Move>>,
    /// Last writer.
    pub version: Revision,
}

impl Instance {
    /// It runs, and passes the checks that decide whether it may be used.
    pub fn is_ready(&self, spec: &DeploymentSpec) -> bool {
        self.state == InstanceState::Running && (!spec.is_gated() || self.ready_at.is_some())
    }

    /// It counts in its node's usage: only what may still run does, on a lost node too, since what runs there still holds its
    /// memory.
    pub fn holds(&self) -> bool {
        self.state <= InstanceState::Lost
    }

    /// It may be sent requests: ready, and not told to end.
    pub fn serves(&self, spec: &DeploymentSpec) -> bool {
        self.goal == Goal::Run && self.is_ready(spec)
    }

    /// How long it serves on after it was told to end: time for whoever sends it requests to hear that it does not serve any
    /// more. Nothing where others do not take its place, nor where nothing says that it can be used.
    pub fn linger(&self, spec: &DeploymentSpec) -> Span {
        use StopCause::{Drained, MakesRoom, Rebalanced, ScaledDown, Superseded};
        let moving = [Superseded, MakesRoom, ScaledDown, Drained, Rebalanced];
        let moves = self.stop_cause.is_some_and(|cause| moving.contains(&cause));
        let lingers = self.goal > Goal::Run && moves && !spec.health_checks.is_empty() && self.is_ready(spec);
        if lingers { LINGER } else { Span::ZERO }
    }
}

/// From the moment an instance does not count as ready any more, because another takes its place or fewer are wanted, to its
/// SIGTERM. Twice what a proxy that looks once a second needs.
const LINGER: Span = Span::seconds(2);

/// A node is being emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Since when.
    pub since: Timestamp,
    /// From this time on what is still there is told to end: jobs, and workers nothing could take the place of.
    pub deadline: Timestamp,
    /// The agent asked for it because it stops: over when it is there again. Needs level 2.
    pub until_return: bool,
}

/// A host that runs work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Identity, also in its certificate.
    pub id: NodeId,
    /// Name, unique.
    pub name: Name,
    /// What its agent said of it.
    pub info: NodeInfo,
    /// Labels set through the API; they win over those of the agent.
    pub labels: BTreeMap<String, String>,
    /// Contact.
    pub status: NodeStatus,
    /// It is out of contact for so long that it would be lost, were not so many nodes silent at once. An operator may say that
    /// it is.
    pub held: bool,
    /// New work may come here.
    pub schedulable: bool,
    /// What is here is to go; then no new work may come either.
    pub drain: Option<Drain>,
    /// Which registration of its agent counts.
    pub epoch: Epoch,
    /// Which run of its agent registered: a new one is a new epoch.
    pub boot: RequestId,
    /// The control node on the same host, if there is one.
    pub member: Option<MemberId>,
    /// When it was enrolled.
    pub joined_at: Timestamp,
    /// When its status last changed.
    pub status_since: Timestamp,
    /// When it was heard of last, for one that is out of contact; for one in contact, when that was last recorded. None: nobody said.
    pub silent_since: Option<Timestamp>,
    /// Last writer.
    pub version: Revision,
}

impl Node {
    /// Labels of the agent's configuration and of the API together.
    pub fn all_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.info.labels.clone();
        labels.extend(self.labels.clone());
        labels
    }
}

/// A config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Identity.
    pub id: ConfigId,
    /// Namespace.
    pub namespace: Name,
    /// Name.
    pub name: Name,
    /// Key to content.
    pub data: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Last writer.
    pub version: Revision,
}

/// As what a join token admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JoinRole {
    /// A host that runs work.
    Agent,
    /// A control node (with or without an agent beside it).
    Control,
}

/// A token that admits hosts. Only a hash is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// Identity.
    pub id: JoinTokenId,
    /// SHA-256 of its secret part.
    pub hash: [u8; 32],
    /// As what it admits.
    pub role: JoinRole,
    /// Hosts it may still admit.
    pub uses_left: u32,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Taken back.
    pub revoked: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Last writer.
    pub version: Revision,
}

/// Where a control node is in its life. Only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// Has an id and a certificate; catches up.
    Joining,
    /// Was promoted to a voter once.
    Active,
    /// Removed; its certificate is refused.
    Removed,
}

/// A control node as the state knows it; the Raft membership itself is the store's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Raft id, never given twice.
    pub id: MemberId,
    /// Name, unique among members that are not removed.
    pub name: Name,
    /// `ip:port` of its cluster port.
    pub address: String,
    /// `ip:port` of its REST API.
    pub api_address: String,
    /// Where it is in its life.
    pub state: MemberState,
    /// When it was admitted.
    pub joined_at: Timestamp,
    /// Last writer.
    pub version: Revision,
}

/// How serious an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventLevel {
    /// To be expected.
    Info,
    /// Look at it.
    Warning,
    /// Something failed.
    Error,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// The deployment was made.
    Created,
    /// Its replicas were changed.
    Scaled,
    /// It was asked to go.
    Deleting,
    /// Its status changed.
    StatusChanged,
    /// An instance was bound to a node.
    InstanceAssigned,
    /// An instance's process was seen alive.
    InstanceStarted,
    /// An instance ended.
    InstanceExited,
    /// An instance's node was declared lost.
    InstanceLost,
    /// The truth about a lost instance arrived.
    ExitCorrected,
    /// Placement found no node.
    NotPlaced,
    /// A health check of an instance failed as often as counts.
    HealthCheckFailed,
    /// No health check of an instance fails any more.
    HealthCheckRecovered,
    /// An instance passed its readiness checks.
    InstanceReady,
    /// An instance was told to end.
    InstanceStopping,
    /// A rolling update began.
    RolloutStarted,
    /// A rolling update is over: the new version has taken the place of the old.
    RolloutCompleted,
    /// A rolling update came to nothing: the old version stays.
    RolloutFailed,
    /// A restart was asked for.
    RestartRequested,
    /// The number of replicas follows the load.
    Autoscaled,
    /// A job is tried again.
    Retried,
}

/// Something that happened to a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Number; grows over the whole cluster.
    pub id: u64,
    /// Of what.
    pub deployment: DeploymentId,
    /// When.
    pub at: Timestamp,
    /// How serious.
    pub level: EventLevel,
    /// What.
    pub kind: EventKind,
    /// For people.
    pub message: String,
    /// Which instance.
    pub instance: Option<InstanceId>,
    /// Where.
    pub node: Option<NodeId>,
}

/// A request that was answered, so that the same request again gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRequest {
    /// Which.
    pub id: RequestId,
    /// The entry that answered it.
    pub revision: Revision,
    /// The answer.
    pub reply: Reply,
}
