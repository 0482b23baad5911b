//! Changes of who may do what. Each member decides by its own copy whom it lets write and which hosts it answers, so such a
//! change is acknowledged when every member in contact has applied it.

use std::time::Duration;

use futures::future::join_all;
use openraft::Instant as _;
use ring_proto::raft::v1 as wire;
use ring_state::Command;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::peers::Lane;
use crate::replica::Replica;
use crate::types::{Peer, node_id};

/// Longest wait for the others. Who answers no sooner is not in contact.
const LIMIT: Duration = Duration::from_secs(1);
/// A link may have broken unnoticed; a second one is made anew.
const TRIES: usize = 2;

/// Whether a command takes something away from an account, a token or a host, or may do so.
pub(crate) fn changes_access(command: &Command) -> bool {
    matches!(
        command.bare(),
        Command::RevokeTokens { .. }
            | Command::RotateToken(_)
            | Command::UpdateUser(_)
            | Command::DeleteUser { .. }
            | Command::RemoveMember { .. }
            | Command::RemoveNode { .. }
    )
}

impl Replica {
    /// Waits, as the leader, until the members in contact have applied `index`; `deadline` or [`LIMIT`] at most.
    pub(crate) async fn spread(&self, index: u64, deadline: Instant) {
        self.peers.hurry.please();
        let deadline = deadline.min(Instant::now() + LIMIT);
        let others = self.in_contact();
        let spread = others.iter().map(async |(id, peer)| {
            if timeout_at(deadline, self.has_applied(*id, peer, index)).await != Ok(true) {
                tracing::info!(
                    member = *id,
                    index,
                    "a change of access is acknowledged and this control node has not applied it"
                );
            }
        });
        join_all(spread).await;
    }

    /// Members whose last word is not older than an election's patience, and those never heard by this leader.
    fn in_contact(&self) -> Vec<(u64, Peer)> {
        let metrics = self.metrics();
        let acked = |id: &u64| metrics.heartbeat.as_ref().and_then(|acks| acks.get(id)).and_then(Option::as_ref);
        let silent = |id: &u64| acked(id).is_some_and(|at| at.elapsed() > self.config.timing.election_max);
        let others = metrics.membership_config.nodes().filter(|(id, _)| **id != node_id(self.config.member) && !silent(id));
        others.map(|(id, peer)| (*id, peer.clone())).collect()
    }

    async fn has_applied(&self, id: u64, peer: &Peer, index: u64) -> bool {
        for _ in 0..TRIES {
            match self.ask_applied(id, peer, index).await {
                Ok(()) => return true,
                Err(status) => tracing::debug!(member = id, %status, "whether an entry is applied"),
            }
            self.peers.forget(id, Lane::Control);
        }
        false
    }

    async fn ask_applied(&self, id: u64, peer: &Peer, index: u64) -> Result<(), Status> {
        let client = self.peers.client(id, &peer.address, Lane::Control).await;
        let mut client = client.map_err(|error| Status::unavailable(error.to_string()))?;
        client.wait_applied(self.peers.address(id, wire::WaitAppliedRequest { index })).await.map(drop)
    }

    /// Answers when this member has applied an entry.
    pub(crate) async fn wait_applied_for(&self, message: wire::WaitAppliedRequest) -> Result<wire::WaitAppliedReply, Status> {
        if self.reach(message.index, Instant::now() + LIMIT).await {
            return Ok(wire::WaitAppliedReply {});
        }
        Err(Status::deadline_exceeded(format!("entry {} was not applied in time", message.index)))
    }
}
