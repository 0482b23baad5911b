//! What a store says about itself.

use std::time::Duration;

use ring_types::{ClusterId, Level, MemberId};

/// Whose data directory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The member.
    pub member: MemberId,
    /// Version of the data format.
    pub format: u32,
}

/// Who leads, as far as this member knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader; None during an election.
    pub leader: Option<MemberId>,
    /// Its term.
    pub term: u64,
    /// It is this member, and it has committed an entry of its term.
    pub is_me: bool,
}

/// A member of the Raft group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its id.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// Its cluster port.
    pub address: String,
    /// It votes; otherwise it is a learner.
    pub voter: bool,
    /// Last log index known to be on its disk; only the leader knows.
    pub matched: Option<u64>,
    /// How long ago it last answered; only the leader knows. None: never since this leader was elected.
    pub last_ack: Option<Duration>,
}

/// What a member's release understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberLevel {
    /// Its id.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// The highest level it speaks; None: it does not answer.
    pub speaks: Option<Level>,
}

/// What a store says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// Its own id.
    pub id: MemberId,
    /// Term it knows.
    pub term: u64,
    /// Leader it knows.
    pub leader: Option<MemberId>,
    /// Members that vote.
    pub voters: Vec<MemberId>,
    /// Members that only receive the log.
    pub learners: Vec<MemberId>,
    /// Last entry in its log.
    pub last_log: u64,
    /// Last entry it knows to be on a quorum.
    pub committed: u64,
    /// Last entry in its state.
    pub applied: u64,
    /// Last entry of its snapshot; 0 without one.
    pub snapshot: u64,
    /// Every member, this one too.
    pub peers: Vec<PeerStatus>,
    /// How long ago a quorum last confirmed that this member leads; None when it does not lead.
    pub quorum_ack_age: Option<Duration>,
}
