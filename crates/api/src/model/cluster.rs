//! The cluster: members, nodes, join tokens.

use std::collections::BTreeMap;

use ring_types::{ClusterId, JoinTokenId, MemberId, NodeCapacity, NodeId, NodeStatus, RuntimeReport, Span, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words;

/// How far the drain of a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drain {
    /// Since when.
    #[schema(value_type = String)]
    pub since: Timestamp,
    /// When what is left is told to end.
    #[schema(value_type = String)]
    pub deadline: Timestamp,
    /// The agent asked for it because it stops: over when it is there again.
    #[serde(default)]
    pub until_return: bool,
    /// Instances of workers that are still there.
    pub workers: u32,
    /// Jobs that still run there.
    pub jobs: u32,
}

impl Drain {
    /// Nothing is left.
    pub const fn is_over(&self) -> bool {
        self.workers == 0 && self.jobs == 0
    }
}

/// A host that runs work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Identity.
    #[schema(value_type = String)]
    pub id: NodeId,
    /// Name.
    pub name: String,
    /// Its connection.
    #[schema(value_type = String)]
    pub status: NodeStatus,
    /// It is out of contact for so long that it would be lost, were not so many nodes silent at once.
    #[serde(default)]
    pub held: bool,
    /// What to do when it is out of contact.
    #[serde(default)]
    pub message: Option<String>,
    /// Takes new work.
    pub schedulable: bool,
    /// It is being emptied, or was.
    #[serde(default)]
    pub drain: Option<Drain>,
    /// Labels that hold: its own, and those set through the API, which win.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What there is.
    #[schema(value_type = Object)]
    pub capacity: NodeCapacity,
    /// What instances have set aside.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub reserved: NodeCapacity,
    /// Live instances.
    #[serde(default)]
    pub instances: u32,
    /// What can run there.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub runtimes: Vec<RuntimeReport>,
    /// Address other hosts reach it at.
    #[serde(default)]
    pub address: String,
    /// Host name.
    #[serde(default)]
    pub hostname: String,
    /// `linux/x86_64` and the like.
    #[serde(default)]
    pub platform: String,
    /// Version of its agent.
    #[serde(default)]
    pub agent_version: String,
    /// When it joined.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub created_at: Option<Timestamp>,
    /// When its status last changed.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub status_since: Option<Timestamp>,
    /// Revision that last wrote it.
    #[serde(default)]
    pub version: u64,
}

/// Body of `PATCH /nodes/{id}`; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodePatch {
    /// Labels to set; null takes one away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
    /// Whether it takes new work; true ends a drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedulable: Option<bool>,
    /// Has it emptied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainRequest>,
    /// Says that it is out of contact and does not come back: its work counts as lost now. Only for an `unreachable` node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

/// How a host is to be emptied. Workers leave one by one, each when another instance serves in its place; jobs run to their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// What is left after so long is told to end, such as `30m`; `0s`: all of it now. Without it an hour, at most 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub deadline: Option<Span>,
}

/// A member's vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// Counts for the quorum.
    Voter,
    /// Receives the log only.
    Learner,
}

words!(MemberRole { Voter = "voter", Learner = "learner" });

/// A control node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// Identity in the quorum.
    #[schema(value_type = u64)]
    pub id: MemberId,
    /// Name.
    pub name: String,
    /// Where other nodes reach it.
    pub address: String,
    /// Where its REST interface is.
    #[serde(default)]
    pub api_address: String,
    /// Its vote.
    pub role: MemberRole,
    /// Leads now.
    pub leader: bool,
    /// Answered the leader lately; null when the answering node cannot know.
    #[serde(default)]
    pub reachable: Option<bool>,
    /// Last log index it is known to have.
    #[serde(default)]
    pub last_log: Option<u64>,
    /// Entries it is behind the leader.
    #[serde(default)]
    pub lag: Option<u64>,
}

/// How many nodes are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeCounts {
    /// All of them.
    pub total: u32,
    /// In contact.
    pub ready: u32,
}

/// Body of `GET /cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterStatus {
    /// Identity of the cluster.
    #[schema(value_type = String)]
    pub id: ClusterId,
    /// The member that answers.
    #[schema(value_type = u64)]
    pub member: MemberId,
    /// Who leads, as far as the answering member knows.
    #[schema(value_type = Option<u64>)]
    pub leader: Option<MemberId>,
    /// Control nodes.
    pub members: Vec<Member>,
    /// A majority is in contact, so writes work.
    pub quorum: bool,
    /// Hosts that run work.
    pub nodes: NodeCounts,
    /// Last log index in the state of the answering member.
    pub revision: u64,
    /// Digest of that state; equal on every member at the same revision.
    pub state_digest: String,
    /// The generation of the cluster: `1`, and another one each time it was restored from a snapshot or recovered from one survivor.
    #[serde(default)]
    pub generation: String,
    /// Version of the answering server.
    #[serde(default)]
    pub server_version: String,
    /// The level of the cluster: what may be in its log. It is raised when every control node speaks a higher one.
    #[serde(default)]
    pub level: u32,
    /// The level the release of the answering server speaks.
    #[serde(default)]
    pub level_of_release: u32,
    /// Names of the control nodes that do not speak that level, or do not say; empty when the cluster is at it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lagging: Vec<String>,
    /// Fingerprint of the authority that signs certificates: what join tokens pin.
    #[serde(default)]
    pub authority: String,
    /// The rotation of the authority that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_rotation: Option<AuthorityRotation>,
}

/// A rotation of the cluster's authority. Both authorities are trusted until it is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuthorityRotation {
    /// Where it is.
    pub phase: AuthorityPhase,
    /// Fingerprint of the new authority.
    pub next: String,
    /// When it began.
    #[schema(value_type = String)]
    pub started_at: Timestamp,
    /// Names of control nodes and nodes that have not done their part of the phase; at most 100.
    pub missing: Vec<String>,
    /// How many there are.
    pub missing_count: u64,
}

/// A phase of such a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthorityPhase {
    /// Every host learns to trust the new authority.
    Trust,
    /// Every host gets a certificate of it.
    Renew,
}

/// Body of `POST /cluster/transfer-leader`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferLeader {
    /// To whom; the most up-to-date other voter when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub to: Option<MemberId>,
}

/// What a joining host becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JoinRole {
    /// A control node.
    Control,
    /// A host that runs work.
    Agent,
}

words!(JoinRole { Control = "control", Agent = "agent" });

/// Body of `POST /cluster/tokens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateJoinToken {
    /// What it admits.
    pub role: JoinRole,
    /// How long it is good; one day when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expires_in: Option<Span>,
    /// How often; without limit until it expires when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
}

/// A token that admits hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinToken {
    /// Identity; not the secret.
    #[schema(value_type = String)]
    pub id: JoinTokenId,
    /// What it admits.
    pub role: JoinRole,
    /// The token itself: only in the reply that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The command to type on the new host: only in the reply that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_command: Option<String>,
    /// When it stops working.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
    /// How often it still works; null without limit.
    #[serde(default)]
    pub uses_left: Option<u32>,
    /// When it was made.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub created_at: Option<Timestamp>,
    /// Revision that last wrote it.
    #[serde(default)]
    pub version: u64,
}
