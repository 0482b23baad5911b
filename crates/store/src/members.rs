//! Who belongs to the Raft group, and who leads it.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use ring_proto::raft::v1 as wire;
use ring_proto::raft::v1::change_members_request::{AddLearner, Change};
use ring_proto::raft::v1::refused::Reason;
use ring_types::MemberId;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;

use crate::attempt::{Failed, Leader, refused};
use crate::peers::Client;
use crate::replica::Replica;
use crate::types::{Peer, Types, node_id};
use crate::{MemberError, StoreError};

/// A learner may be this many entries behind when it gets its vote.
const CLOSE: u64 = 1_000;
/// How many of the longest election timeouts members have to answer before a change of the voters.
const ANSWER: u32 = 2;

/// A change of the membership.
#[derive(Clone, Debug)]
pub(crate) enum MemberChange {
    AddLearner(MemberId, Peer),
    Promote(MemberId),
    Remove(MemberId),
    Transfer(MemberId),
}

type Tried = Result<(), Failed<MemberError>>;
type Written<T> = Result<T, RaftError<Types, ClientWriteError<Types>>>;

impl Replica {
    pub(crate) async fn change_members(&self, change: MemberChange) -> Result<(), MemberError> {
        let changed = self.persist(|deadline| self.try_change(&change, deadline)).await;
        changed.unwrap_or_else(|up| {
            Err(if up.uncertain { MemberError::Unknown } else { MemberError::NoQuorum { missing: up.missing } })
        })
    }

    async fn try_change(&self, change: &MemberChange, deadline: Instant) -> Tried {
        if let Some(error) = self.ended() {
            return Err(Failed::Final(stopped(error)));
        }
        match self.leader() {
            Leader::Me => match timeout_at(deadline, self.change_here(change, deadline)).await {
                Ok(tried) => tried,
                Err(_) => Err(Failed::Uncertain),
            },
            Leader::Unknown => Err(Failed::Again),
            Leader::Other(id, peer) => {
                let call = |mut client: Client, request| async move { client.change_members(request).await };
                let reply = self.peers.call_leader((id, &peer), to_wire(change), deadline, call).await?;
                reply.refused.map_or(Ok(()), |refused| Err(from_refused(change, &refused)))
            }
        }
    }

    async fn change_here(&self, change: &MemberChange, deadline: Instant) -> Tried {
        let (id, known, voter) = self.find(change);
        match change {
            MemberChange::AddLearner(_, peer) => self.written(self.raft.add_learner(id, peer.clone(), false).await),
            _ if !known => Err(Failed::Final(MemberError::NotMember(MemberId(id)))),
            MemberChange::Promote(_) if voter => Ok(()),
            MemberChange::Promote(member) => self.promote(*member).await,
            MemberChange::Remove(member) => {
                let ids = BTreeSet::from([id]);
                if voter {
                    let voters = self.voters().into_iter().filter(|left| *left != id).collect();
                    self.keeps_quorum(&format!("without control node {member}"), &voters).await?;
                }
                let change = if voter { ChangeMembers::RemoveVoters(ids) } else { ChangeMembers::RemoveNodes(ids) };
                self.written(self.raft.change_membership(change, false).await)
            }
            MemberChange::Transfer(member) if !voter => {
                Err(Failed::Final(MemberError::Invalid(format!("control node {member} has no vote, it cannot lead"))))
            }
            MemberChange::Transfer(_) => self.transfer(id, deadline).await,
        }
    }

    /// The member of a change: its id, whether it is one, whether it votes.
    fn find(&self, change: &MemberChange) -> (u64, bool, bool) {
        let (MemberChange::AddLearner(id, _) | MemberChange::Promote(id) | MemberChange::Remove(id) | MemberChange::Transfer(id)) =
            change;
        let id = node_id(*id);
        let membership = self.metrics().membership_config;
        (id, membership.get_node(&id).is_some(), membership.voter_ids().any(|voter| voter == id))
    }

    fn voters(&self) -> BTreeSet<u64> {
        self.metrics().membership_config.voter_ids().collect()
    }

    /// Whether most of those that would vote answer this leader: a change is committed by a majority of the old voters and one of the
    /// new, and without the second nothing could be written any more, nor the change be taken back. Only answers from now on count: one
    /// that has just died answered a moment ago.
    async fn keeps_quorum(&self, when: &str, voters: &BTreeSet<u64>) -> Tried {
        let (begun, patience) = (Instant::now(), self.config.timing.election_max * ANSWER);
        loop {
            let judged = self.judge_quorum(when, voters, begun.elapsed());
            if judged.is_ok() || begun.elapsed() >= patience {
                return judged;
            }
            sleep(self.config.timing.heartbeat).await;
        }
    }

    fn judge_quorum(&self, when: &str, voters: &BTreeSet<u64>, within: Duration) -> Tried {
        let peers = self.status().peers;
        let answers = |id: u64| peers.iter().any(|peer| peer.id.0 == id && peer.last_ack.is_some_and(|age| age <= within));
        let silent: Vec<u64> = voters.iter().copied().filter(|id| !answers(*id)).collect();
        // No voter at all is openraft's to refuse.
        if (voters.len() - silent.len()) * 2 > voters.len() || voters.is_empty() {
            return Ok(());
        }
        let named = |id: &u64| match peers.iter().find(|peer| peer.id.0 == *id) {
            Some(peer) => format!("{} ({})", peer.name, peer.address),
            None => format!("control node {id}"),
        };
        let silent: Vec<String> = silent.iter().map(named).collect();
        Err(Failed::Final(MemberError::LosesQuorum(format!(
            "{when} there would be {} to vote, and no majority of them answers: nothing could be written any more. No answer from {}: start \
             it, or remove what will not come back",
            voters.len(),
            silent.join(", ")
        ))))
    }

    async fn promote(&self, member: MemberId) -> Tried {
        let metrics = self.metrics();
        let matched = metrics.replication.as_ref().and_then(|r| r.get(&member.0)).and_then(|m| m.as_ref()).map_or(0, |m| m.index);
        let behind = metrics.last_log_index.unwrap_or(0).saturating_sub(matched);
        if behind > CLOSE {
            return Err(Failed::Final(MemberError::Behind { id: member, behind }));
        }
        let voters = self.voters().into_iter().chain([member.0]).collect();
        self.keeps_quorum(&format!("with control node {member}"), &voters).await?;
        let change = ChangeMembers::AddVoterIds(BTreeSet::from([member.0]));
        self.written(self.raft.change_membership(change, true).await)
    }

    async fn transfer(&self, to: u64, deadline: Instant) -> Tried {
        if self.metrics().current_leader == Some(to) {
            return Ok(());
        }
        self.raft.trigger().transfer_leader(to).await.map_err(|fatal| Failed::Final(stopped(self.fatal(&fatal))))?;
        let mut leadership = self.leadership.clone();
        // One try takes an election; when the other did not win it, it is tried again.
        let patience = deadline.min(Instant::now() + self.config.timing.election_max);
        let moved = timeout_at(patience, leadership.wait_for(|l| l.leader == Some(MemberId(to)))).await;
        if matches!(moved, Ok(Ok(_))) { Ok(()) } else { Err(Failed::Again) }
    }

    fn written<T>(&self, result: Written<T>) -> Tried {
        let error = match result {
            Ok(_) => return Ok(()),
            Err(RaftError::Fatal(fatal)) => return Err(Failed::Final(stopped(self.fatal(&fatal)))),
            Err(RaftError::APIError(error)) => error,
        };
        Err(match error {
            ClientWriteError::ForwardToLeader(_) | ClientWriteError::PreconditionFailed(_) => Failed::Again,
            ClientWriteError::LogEntryDiscarded(_) => Failed::Uncertain,
            // A leader that has not committed an entry of its term yet.
            ClientWriteError::ChangeMembershipError(ChangeMembershipError::UncommittedLeaderLog(_)) => Failed::Again,
            ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)) => Failed::Final(MemberError::Busy),
            ClientWriteError::ChangeMembershipError(error) => Failed::Final(MemberError::Invalid(error.to_string())),
        })
    }

    /// A change that another member forwards: one try; trying again is the other's.
    pub(crate) async fn change_members_for(
        &self,
        message: wire::ChangeMembersRequest,
    ) -> Result<wire::ChangeMembersReply, Status> {
        let change = from_wire(message).ok_or_else(|| Status::invalid_argument("a change of the membership without a change"))?;
        let tried = match self.leader() {
            Leader::Me => self.try_change(&change, Instant::now() + self.config.patience).await,
            Leader::Other(..) | Leader::Unknown => Err(Failed::Again),
        };
        Ok(wire::ChangeMembersReply { refused: tried.err().map(to_refused) })
    }
}

fn stopped(error: StoreError) -> MemberError {
    match error {
        StoreError::Shutdown => MemberError::Shutdown,
        error => MemberError::Storage(error),
    }
}

fn to_wire(change: &MemberChange) -> wire::ChangeMembersRequest {
    let change = match change {
        MemberChange::AddLearner(id, peer) => {
            let peer = wire::Peer { name: peer.name.clone(), address: peer.address.clone() };
            Change::AddLearner(AddLearner { member: id.0, peer: Some(peer) })
        }
        MemberChange::Promote(id) => Change::Promote(id.0),
        MemberChange::Remove(id) => Change::Remove(id.0),
        MemberChange::Transfer(id) => Change::Transfer(id.0),
    };
    wire::ChangeMembersRequest { change: Some(change) }
}

fn from_wire(message: wire::ChangeMembersRequest) -> Option<MemberChange> {
    Some(match message.change? {
        Change::AddLearner(add) => {
            let peer = add.peer?;
            MemberChange::AddLearner(MemberId(add.member), Peer { name: peer.name, address: peer.address })
        }
        Change::Promote(id) => MemberChange::Promote(MemberId(id)),
        Change::Remove(id) => MemberChange::Remove(MemberId(id)),
        Change::Transfer(id) => MemberChange::Transfer(MemberId(id)),
    })
}

fn to_refused(failed: Failed<MemberError>) -> wire::Refused {
    match failed {
        Failed::Again => refused(Reason::NotLeader, 0, ""),
        Failed::Uncertain => refused(Reason::Uncertain, 0, ""),
        Failed::Final(MemberError::Busy) => refused(Reason::Busy, 0, ""),
        Failed::Final(MemberError::NotMember(_)) => refused(Reason::NotMember, 0, ""),
        Failed::Final(MemberError::Behind { behind, .. }) => refused(Reason::Behind, behind, ""),
        Failed::Final(MemberError::LosesQuorum(message)) => refused(Reason::LosesQuorum, 0, message),
        Failed::Final(MemberError::Invalid(message)) => refused(Reason::Invalid, 0, message),
        Failed::Final(error) => refused(Reason::Stopped, 0, error),
    }
}

fn from_refused(change: &MemberChange, refused: &wire::Refused) -> Failed<MemberError> {
    let (MemberChange::AddLearner(id, _) | MemberChange::Promote(id) | MemberChange::Remove(id) | MemberChange::Transfer(id)) =
        change;
    match refused.reason() {
        Reason::NotLeader => Failed::Again,
        Reason::Busy => Failed::Final(MemberError::Busy),
        Reason::NotMember => Failed::Final(MemberError::NotMember(*id)),
        Reason::Behind => Failed::Final(MemberError::Behind { id: *id, behind: refused.detail }),
        Reason::LosesQuorum => Failed::Final(MemberError::LosesQuorum(refused.message.clone())),
        Reason::Invalid => Failed::Final(MemberError::Invalid(refused.message.clone())),
        Reason::Unspecified | Reason::Uncertain | Reason::TooLarge | Reason::Stopped => Failed::Uncertain,
    }
}
