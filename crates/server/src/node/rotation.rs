//! Rotation of the authority, as one host goes through it: it trusts what the cluster trusts, shows a certificate of the authority
//! that signs, and says so.

use std::sync::Arc;
use std::time::Duration;

use ring_state::{CaConfirm, Command, State};
use ring_store::{Store, Update};
use ring_types::{MemberId, RequestId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::renewal::{Asked, Own};
use crate::pki::{Fingerprint, HostFiles};
use crate::services::{decides_trust, trusted};
use crate::tls::{HostTls, renew_now};

/// Before something that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A control node: it knows where the rotation is from its own copy of the state.
pub(super) struct OwnRotation {
    pub(super) store: Store,
    pub(super) tls: Arc<HostTls>,
    pub(super) files: HostFiles,
    pub(super) source: Arc<Own>,
    pub(super) member: MemberId,
}

impl OwnRotation {
    /// Goes along until the store is shut down.
    pub(super) async fn follow(&self) {
        let mut watch = self.store.watch();
        let mut state = watch.state;
        loop {
            while let Err(why) = self.keep_up(&state).await {
                tracing::warn!("the rotation of the authority is held up here, trying again: {why}");
                tokio::time::sleep(RETRY).await;
                state = self.store.local();
            }
            state = loop {
                match watch.changes.next().await {
                    None => return,
                    Some(Update::Lagged { state }) => break state,
                    Some(Update::Change(change)) if change.keys.iter().any(decides_trust) => break change.state,
                    Some(Update::Change(_)) => {}
                }
            };
        }
    }

    async fn keep_up(&self, state: &State) -> Result<(), String> {
        if state.meta().is_none() {
            return Ok(());
        }
        let wanted = trusted(state).map_err(|e| e.to_string())?.fingerprints();
        if !self.tls.is_current(&wanted) {
            renew_now(&self.tls, &self.files, self.source.as_ref()).await?;
            tracing::info!("this host trusts {} authorities and has a certificate of {}", wanted.len(), wanted[0]);
        }
        let Some(rotation) = state.ca_rotation().filter(|rotation| !rotation.members.contains(&self.member)) else {
            return Ok(());
        };
        let (rotation, phase) = (rotation.id, rotation.phase);
        let confirm = CaConfirm { rotation, phase, members: vec![self.member], nodes: Vec::new() };
        let done = self.store.propose(RequestId::NONE, Command::ConfirmCa(confirm)).await;
        done.map(drop).map_err(|e| e.to_string())
    }
}

/// What an agent's session said of the authorities last.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) wanted: Vec<Fingerprint>,
    /// The cluster waits to hear that it was done.
    pub(super) confirm: bool,
}

/// An agent: it does what its sessions say, until `stop`.
pub(super) async fn follow_told(
    tls: Arc<HostTls>,
    files: HostFiles,
    asked: Asked,
    mut told: watch::Receiver<Told>,
    stop: CancellationToken,
) {
    loop {
        let now = told.borrow_and_update().clone();
        let failed = match obey(&tls, &files, &asked, &now).await {
            Ok(()) => false,
            Err(why) => {
                tracing::warn!("the rotation of the authority is held up here, trying again: {why}");
                true
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = told.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
}

async fn obey(tls: &HostTls, files: &HostFiles, asked: &Asked, told: &Told) -> Result<(), String> {
    if told.wanted.is_empty() {
        return Ok(());
    }
    if !tls.is_current(&told.wanted) {
        renew_now(tls, files, asked).await?;
        tracing::info!("this host trusts {} authorities and has a certificate of {}", told.wanted.len(), told.wanted[0]);
    }
    if told.confirm { asked.confirm(tls).await } else { Ok(()) }
}
