//! A cluster that is begun anew: from a snapshot on an empty host, or from one survivor of a quorum that is lost for good.

use ring_types::{ClusterGeneration, MemberId, Name};

use crate::{MemberState, State};

/// A generation gives its control nodes ids from the next multiple of this on, plus one: the generation before may have given out
/// ids that this one never heard of.
pub const MEMBER_STEP: u64 = 1_000;

/// Another generation of the cluster, of one control node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGeneration {
    /// Which; its number is higher than the one before.
    pub generation: ClusterGeneration,
    /// The control node there is: a survivor keeps its id, a new host has one of [`State::next_generation_member`].
    pub member: MemberId,
    /// Its name.
    pub name: Name,
    /// Its cluster port, as others reach it.
    pub address: String,
    /// Its REST API, as others reach it.
    pub api_address: String,
}

impl State {
    /// The generation of the cluster.
    pub fn generation(&self) -> ClusterGeneration {
        self.meta().map(|meta| meta.generation).unwrap_or_default()
    }

    /// The lowest id the next generation may give to a control node.
    pub fn next_generation_member(&self) -> MemberId {
        let next = self.meta().map_or(0, |meta| meta.next_member.0);
        MemberId((next / MEMBER_STEP + 1) * MEMBER_STEP + 1)
    }

    /// Is this control node out of the cluster: removed, or of an earlier generation that the state never heard of?
    pub fn is_dismissed(&self, id: MemberId) -> bool {
        match self.member(id) {
            Some(member) => member.state == MemberState::Removed,
            None => self.meta().is_some_and(|meta| id < meta.first_member),
        }
    }
}
