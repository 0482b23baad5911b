//! Finding control nodes that are not where the record has them: after a move of all of them nobody can be asked where the others are.

use std::time::Duration;

use futures::future::join_all;
use ring_store::Store;
use ring_types::MemberId;
use tokio::time::{sleep, timeout};

use crate::pki::Expect;
use crate::tls::Dialer;

/// Nobody leads for so long before others are looked for: an election takes less.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(2);

/// While nobody leads, asks at each of `addresses`, and where the record has it, for each of the other voters. A certificate proves who
/// answers, so that a wrong address costs nothing.
pub(super) async fn while_leaderless(store: Store, dialer: Dialer, addresses: Vec<String>) {
    let mut leadership = store.leadership();
    while leadership.wait_for(|now| now.leader.is_none()).await.is_ok() {
        if timeout(PATIENCE, leadership.wait_for(|now| now.leader.is_some())).await.is_ok() {
            continue;
        }
        while leadership.borrow().leader.is_none() {
            look(&store, &dialer, &addresses).await;
            sleep(PAUSE).await;
        }
    }
}

async fn look(store: &Store, dialer: &Dialer, addresses: &[String]) {
    let status = store.status();
    let others = status.peers.iter().filter(|peer| peer.voter && peer.id != status.id);
    join_all(others.map(async |peer| {
        let places = std::iter::once(&peer.address).chain(addresses.iter().filter(|address| **address != peer.address));
        for place in places {
            if answers(dialer, place, peer.id).await {
                if *place != peer.address {
                    tracing::info!("control node {} ({}) was found at {place}", peer.id, peer.name);
                    store.found_at(peer.id, place);
                }
                return;
            }
        }
    }))
    .await;
}

async fn answers(dialer: &Dialer, address: &str, member: MemberId) -> bool {
    dialer.dial(address, Expect::Member(member)).await.is_ok()
}
