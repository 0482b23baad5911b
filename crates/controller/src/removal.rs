//! Control nodes that are dead for too long leave the cluster, where the operator wants that.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use ring_state::{AuditNote, AuditedCommand, Command};
use ring_store::{MemberError, StoreStatus};
use ring_types::{MemberId, Span};
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::supervise::Controller;

/// Between two looks there is a part of the time after which one is dead, within these bounds.
const LOOKS: u32 = 10;
const OFTEN: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_mins(1);

/// Removes voters that have not answered for a time. Whether those that are left can go on is judged where memberships are changed.
#[derive(Clone)]
pub(crate) struct Removal {
    after: Duration,
}

impl Removal {
    /// `after` is how long a voter may be silent, counted at most from when this control node began to lead.
    pub(crate) fn new(after: Duration) -> Self {
        Self { after }
    }

    async fn look<C: Cluster>(&self, cluster: &C, leads: Duration) {
        let status = cluster.members();
        let Some((id, name, silent)) = longest_silent(&status, leads).filter(|(_, _, silent)| *silent >= self.after) else {
            return;
        };
        let silent = Span(silent.as_secs());
        match cluster.remove_member(id).await {
            Ok(()) => {
                tracing::warn!("control node {id} ({name}) has not answered for {silent}: it is taken out of the cluster");
            }
            Err(MemberError::Shutdown) => return,
            Err(error) => {
                tracing::warn!("control node {id} ({name}) has not answered for {silent}, and cannot be taken out: {error}");
                return;
            }
        }
        let by = status.peers.iter().find(|peer| peer.id == status.id).map(|peer| peer.name.clone()).unwrap_or_default();
        if let Err(error) = cluster.propose(removed(id, by)).await {
            tracing::warn!("the record still has control node {id} ({name}): {error}; `ring cluster remove {name}` finishes it");
        }
    }
}

/// The other voter that has been silent for longest, and for how long.
fn longest_silent(status: &StoreStatus, leads: Duration) -> Option<(MemberId, String, Duration)> {
    let others = status.peers.iter().filter(|peer| peer.voter && peer.id != status.id);
    // One that never answered this leader was silent at least since it leads.
    let silent = others.map(|peer| (peer.id, peer.name.clone(), peer.last_ack.unwrap_or(leads).min(leads)));
    silent.max_by_key(|(id, _, silent)| (*silent, std::cmp::Reverse(*id)))
}

/// The command with its line of the audit record.
fn removed(id: MemberId, by: String) -> Command {
    let note = AuditNote::unattended("member.delete", "server.members.remove_dead_after", by);
    Command::Audited(Box::new(AuditedCommand { note, command: Box::new(Command::RemoveMember { id }) }))
}

#[async_trait]
impl<C: Cluster> Controller<C> for Removal {
    async fn lead(self, cluster: C) {
        let (begun, pause) = (Instant::now(), (self.after / LOOKS).clamp(OFTEN, SELDOM));
        loop {
            sleep(pause).await;
            self.look(&cluster, begun.elapsed()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use ring_state::{Bootstrap, MemberState};
    use ring_store::PeerStatus;
    use ring_types::{ClusterId, UserId};
    use uuid::Uuid;

    use super::*;
    use crate::tests::fake::Fake;

    type Ack = (u64, bool, Option<u64>);

    /// A leader, with how long ago each of the members answered it, in seconds; 1 is itself.
    fn status(fake: &Fake, acks: &[Ack]) -> StoreStatus {
        let peer = |(id, voter, ack): &Ack| PeerStatus {
            id: MemberId(*id),
            name: format!("c{id}"),
            address: String::new(),
            voter: *voter,
            matched: None,
            last_ack: ack.map(Duration::from_secs),
        };
        StoreStatus { peers: acks.iter().map(peer).collect(), ..fake.members() }
    }

    fn found(acks: &[Ack], leads: u64) -> Option<(u64, u64)> {
        let status = status(&Fake::with_nodes(0), acks);
        longest_silent(&status, Duration::from_secs(leads)).map(|(id, _, silent)| (id.0, silent.as_secs()))
    }

    #[test]
    fn silence_counts_from_the_beginning_of_the_lead_at_most() {
        let acks = [(1, true, Some(0)), (2, true, Some(1)), (3, true, None), (4, false, None)];
        assert_eq!(found(&acks, 90), Some((3, 90)), "never heard since it leads; a learner has no vote to lose");
        assert_eq!(found(&[(1, true, Some(0)), (2, true, Some(500)), (3, true, Some(2))], 90), Some((2, 90)));
        assert_eq!(found(&[(1, true, Some(0))], 90), None, "never itself");
    }

    fn with_member() -> Fake {
        let fake = Fake::with_nodes(0);
        fake.apply(Command::Bootstrap(Bootstrap {
            cluster: ClusterId(Uuid::from_u128(1)),
            ca_certificate: "ca".to_owned(),
            ca_key_sealed: vec![1],
            data_key_sealed: Vec::new(),
            member_name: "c1".parse().unwrap(),
            address: "127.0.0.1:1".to_owned(),
            api_address: "127.0.0.1:2".to_owned(),
            admin: UserId(Uuid::from_u128(9)),
            admin_password_hash: "hash".to_owned(),
            level: ring_state::LEVEL,
        }));
        fake
    }

    #[tokio::test]
    async fn who_is_silent_for_too_long_is_removed_and_it_is_written_down() {
        let fake = with_member();
        let removal = Removal::new(Duration::from_mins(1));
        // The record knows the first one only; in the place of the leader it is another here.
        fake.set_members(StoreStatus {
            id: MemberId(2),
            ..status(&fake, &[(1, true, Some(61)), (2, true, Some(0)), (3, true, Some(59))])
        });
        removal.look(&fake, Duration::from_secs(59)).await;
        assert_eq!(fake.members().peers.len(), 3, "it has not led for long enough to know");
        removal.look(&fake, Duration::from_secs(100)).await;
        assert_eq!(fake.members().peers.iter().map(|peer| peer.id.0).collect::<Vec<_>>(), [2, 3]);
        let state = fake.state();
        assert_eq!(state.member(MemberId(1)).unwrap().state, MemberState::Removed);
        let line = state.audit().last().unwrap().clone();
        let note = &line.record.note;
        let told = (note.action.as_str(), note.token_name.as_str(), note.served_by.as_str());
        assert_eq!(told, ("member.delete", "server.members.remove_dead_after", "c2"));
    }

    #[tokio::test]
    async fn nothing_is_written_when_the_quorum_does_not_allow_it() {
        let fake = with_member();
        fake.set_members(StoreStatus { id: MemberId(2), ..status(&fake, &[(1, true, None), (2, true, Some(0))]) });
        let before = fake.proposals();
        Removal::new(Duration::from_mins(1)).look(&fake, Duration::from_mins(5)).await;
        assert_eq!((fake.members().peers.len(), fake.proposals()), (2, before));
    }
}
