//! From an admitted control node to a voter: it asks until it is one.

use std::time::Duration;

use ring_proto::cluster::v1::PromoteRequest;
use ring_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use ring_state::{Command, MemberState};
use ring_store::{ProposeError, Store};
use ring_types::RequestId;

use crate::pki::{Expect, HostRecord, MemberRecord};
use crate::tls::Dialer;

const RETRY: Duration = Duration::from_secs(1);

/// Asks the other control nodes to be added and promoted, and to record its addresses, until that is so. A voter that has moved writes
/// that itself where it can: it may be the leader, or the others may not find the leader any more.
pub(super) async fn until_voter(store: Store, dialer: Dialer, record: HostRecord) {
    let Some(member) = record.member.clone() else { return };
    while !settled(&store, &member) {
        if let Err(why) = write_move(&store, &member).await {
            tracing::warn!("the cluster does not know yet that this control node is at {}: {why}", member.address);
        }
        if settled(&store, &member) {
            return;
        }
        let others = record.control_addresses.iter().filter(|address| **address != member.address);
        for address in others {
            match ask(&dialer, address, &member).await {
                Ok(()) => return,
                Err(why) => tracing::warn!("not a voter yet: {address}: {why}"),
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn write_move(store: &Store, member: &MemberRecord) -> Result<(), ProposeError> {
    let voter = store.local().member(member.id).is_some_and(|known| known.state == MemberState::Active);
    if !voter || store.leadership().borrow().leader.is_none() {
        return Ok(());
    }
    let (address, api_address) = (member.address.clone(), member.api_address.clone());
    store.propose(RequestId::NONE, Command::UpdateMember { id: member.id, address, api_address }).await.map(drop)
}

/// The cluster knows it as a voter, at the addresses it has.
pub(super) fn settled(store: &Store, member: &MemberRecord) -> bool {
    let state = store.local();
    state.member(member.id).is_some_and(|known| {
        known.state != MemberState::Joining && known.address == member.address && known.api_address == member.api_address
    })
}

async fn ask(dialer: &Dialer, address: &str, member: &MemberRecord) -> Result<(), String> {
    let channel = dialer.dial(address, Expect::AnyMember).await.map_err(|e| e.to_string())?;
    let request =
        PromoteRequest { member_id: member.id.0, address: member.address.clone(), api_address: member.api_address.clone() };
    let reply = ClusterServiceClient::new(channel).promote(request).await.map_err(|s| s.message().to_owned())?;
    let mut progress = reply.into_inner();
    while let Some(step) = progress.message().await.map_err(|s| s.message().to_owned())? {
        tracing::info!("joining: {} ({} of {} entries)", step.stage, step.log_index, step.target_index);
        if step.stage == "voter" {
            return Ok(());
        }
    }
    Err("the connection ended before it was promoted".to_owned())
}
