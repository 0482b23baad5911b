//! How a control node learns that its cluster has removed it.
//!
//! The quorum shrinks first, so the entry that says so need not reach the one it removes. It is learnt from the own state when
//! the entry did come, else from the others: their guard refuses a removed member with a reason that stands for a committed
//! entry. Silence, and every other answer, means nothing.

use std::time::Duration;

use ring_proto::cluster::v1::ContactsRequest;
use ring_proto::cluster::v1::control_service_client::ControlServiceClient;
use ring_state::{MemberState, RowKey, State};
use ring_store::{PeerStatus, Store, Update};
use ring_types::MemberId;
use tokio::time::{sleep, timeout};

use super::guard::{names_generation, names_removed};
use super::{Pulse, control_addresses};
use crate::pki::{Expect, MemberRecord};
use crate::tls::Dialer;

/// Without an answer of the leader for so long the others are asked.
const DOUBT: Duration = Duration::from_millis(1_500);
/// Between two rounds of asking.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest wait for one answer, connecting included.
const ANSWER: Duration = Duration::from_secs(3);

/// Learns whether one control node was removed.
pub(crate) struct Dismissal {
    pub(crate) member: MemberRecord,
    pub(crate) store: Store,
    pub(crate) pulse: Pulse,
    pub(crate) dialer: Dialer,
    /// Where it found the others when it joined or started; the state may know more.
    pub(crate) addresses: Vec<String>,
}

impl Dismissal {
    /// Resolves when this member was removed, with who says so.
    pub(crate) async fn known(self) -> String {
        tokio::select! {
            () = self.seen_here() => "its own copy of the state says so".to_owned(),
            says = self.told() => says,
        }
    }

    async fn seen_here(&self) {
        let mut watch = self.store.watch();
        let mut state = watch.state;
        while !removed(&state, self.member.id) {
            state = match watch.changes.next().await {
                // The store ends; that is for others to see.
                None => return std::future::pending().await,
                Some(Update::Lagged { state }) => state,
                Some(Update::Change(change)) if change.keys.contains(&RowKey::Member(self.member.id)) => change.state,
                Some(Update::Change(_)) => continue,
            };
        }
    }

    async fn told(&self) -> String {
        loop {
            let silence = self.pulse.silence();
            let doubtful = if silence < DOUBT { self.silent_followers() } else { self.others() };
            if doubtful.is_empty() {
                sleep(DOUBT.saturating_sub(silence)).await;
                continue;
            }
            for address in doubtful {
                match timeout(ANSWER, self.ask(&address)).await {
                    Ok(Ok(Some(says))) => return format!("the control node at {address} says so{says}"),
                    Ok(Ok(None)) => {}
                    Ok(Err(why)) => tracing::debug!("{address} does not say whether this is a member: {why}"),
                    Err(_) => tracing::debug!("{address} does not say whether this is a member: no answer"),
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Those who give no answer to this member as their leader. One of them may have become the cluster by itself meanwhile, and the
    /// quorum that this one leads is of an earlier generation.
    fn silent_followers(&self) -> Vec<String> {
        let status = self.store.status();
        if status.leader != Some(self.member.id) {
            return Vec::new();
        }
        let silent = |peer: &&PeerStatus| peer.id != self.member.id && peer.last_ack.is_none_or(|age| age > DOUBT);
        status.peers.iter().filter(silent).map(|peer| peer.address.clone()).collect()
    }

    fn others(&self) -> Vec<String> {
        let mut all = control_addresses(&self.store.local());
        all.extend(self.addresses.iter().cloned());
        all.sort();
        all.dedup();
        all.retain(|address| *address != self.member.address);
        all
    }

    /// Any call to a control node passes its guard; this one changes nothing. Says more about the removal when there is more to say.
    async fn ask(&self, address: &str) -> Result<Option<String>, String> {
        let channel = self.dialer.dial(address, Expect::AnyMember).await.map_err(|e| e.to_string())?;
        let request = ContactsRequest { member_id: self.member.id.0, contacts: Vec::new() };
        match ControlServiceClient::new(channel).contacts(request).await {
            Err(status) if names_removed(&status, self.member.id) => {
                Ok(Some(names_generation(&status).map_or_else(String::new, |g| {
                    format!(": the cluster was restored or recovered, and goes on without it under generation {g}")
                })))
            }
            Err(_) | Ok(_) => Ok(None),
        }
    }
}

fn removed(state: &State, id: MemberId) -> bool {
    state.member(id).is_some_and(|member| member.state == MemberState::Removed)
}
