//! openraft's types, made concrete in one place.

use std::fmt;

use bytes::Bytes;
use openraft::type_config::alias;
use ring_types::MemberId;

use crate::Committed;
use crate::machine::Machine;

/// An entry of the state's log, encoded once by the leader that accepted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded(pub(crate) Bytes);

impl fmt::Display for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What applying an entry answers; None for entries that carry no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer(pub(crate) Option<Committed>);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(committed) => write!(f, "revision {}", committed.revision),
            None => f.write_str("none"),
        }
    }
}

/// Where a member is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: String,
}

openraft::declare_raft_types!(
    /// One leader per term, so a log id is a term and an index.
    pub(crate) Types:
        D = Encoded,
        R = Answer,
        NodeId = u64,
        Node = Peer,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
);

pub(crate) type Leader = alias::CommittedLeaderIdOf<Types>;
pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, Peer>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub(crate) type Raft = openraft::Raft<Types, Machine>;
pub(crate) type Metrics = openraft::RaftMetrics<Types>;
pub(crate) type ServerMetrics = openraft::metrics::RaftServerMetrics<Types>;
pub(crate) type DataMetrics = openraft::metrics::RaftDataMetrics<Types>;

/// The id of a log position.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(Leader::new(term), index)
}

/// Index of a position; 0 for none. Entry 0 is the membership a cluster starts with, which changes no state.
pub(crate) fn index_of(id: Option<&LogId>) -> u64 {
    id.map_or(0, |id| id.index)
}

/// The id openraft knows a member by.
pub(crate) const fn node_id(member: MemberId) -> u64 {
    member.0
}
