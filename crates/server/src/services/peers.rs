//! Channels to the other control nodes, each dialled once and kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ring_store::Store;
use ring_types::MemberId;
use tonic::transport::Channel;

use crate::pki::Expect;
use crate::tls::{DialError, Dialer};

/// Channels to the other control nodes. Copies share them.
#[derive(Clone)]
pub struct Peers {
    store: Store,
    dialer: Dialer,
    open: Arc<Mutex<HashMap<MemberId, (String, Channel)>>>,
}

impl Peers {
    /// Dials the members `store` knows.
    pub fn new(store: Store, dialer: Dialer) -> Self {
        Self { store, dialer, open: Arc::default() }
    }

    /// A channel to a member.
    ///
    /// # Errors
    /// [`DialError`] when it cannot be reached, or is not known.
    pub async fn channel(&self, member: MemberId) -> Result<Channel, DialError> {
        let address = self.address(member)?;
        if let Some(channel) = self.kept(member, &address) {
            return Ok(channel);
        }
        let channel = self.dialer.dial(&address, Expect::Member(member)).await?;
        self.lock().insert(member, (address, channel.clone()));
        Ok(channel)
    }

    /// The members other than this one.
    pub fn others(&self) -> Vec<MemberId> {
        let me = self.store.status().id;
        super::enrol::members(&self.store.local()).map(|m| m.id).filter(|id| *id != me).collect()
    }

    fn address(&self, member: MemberId) -> Result<String, DialError> {
        let state = self.store.local();
        let known = state.member(member).map(|m| m.address.clone());
        // Before its own row is there a new member is known to the log alone.
        let known = known.or_else(|| self.store.status().peers.into_iter().find(|p| p.id == member).map(|p| p.address));
        known.ok_or_else(|| DialError::Unreachable { address: format!("member {member}"), why: "it is not known".to_owned() })
    }

    fn kept(&self, member: MemberId, address: &str) -> Option<Channel> {
        self.lock().get(&member).filter(|(known, _)| known == address).map(|(_, channel)| channel.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<MemberId, (String, Channel)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
