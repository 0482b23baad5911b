//! Rotation of data keys: what is sealed with another key than the one in use is sealed anew, one batch an entry. How far it is
//! is in the state alone, so that a new leader goes on where the one before was.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ring_state::{Command, Reseal, Resealed, SealedValue, State, limits};
use ring_store::ProposeError;
use ring_types::KeyId;
use tokio::time::{Instant, sleep};

use crate::ControllerOptions;
use crate::cluster::Cluster;
use crate::supervise::Controller;

/// Between two looks whether there is a rotation under way.
const LOOK: Duration = Duration::from_millis(500);
/// Before a value that did not open is tried again.
const AGAIN: Duration = Duration::from_mins(5);

/// Seals values anew. The controllers have no keys themselves.
pub trait Sealer: Send + Sync + 'static {
    /// The bytes of a value under the data key in use.
    ///
    /// # Errors
    /// Why it does not open, in words that say nothing of the value.
    fn reseal(&self, state: &State, value: &SealedValue) -> Result<Vec<u8>, String>;
}

/// Carries rotations through.
#[derive(Clone)]
pub(crate) struct Rotation {
    sealer: Arc<dyn Sealer>,
    options: ControllerOptions,
}

impl Rotation {
    pub(crate) fn new(sealer: Arc<dyn Sealer>, options: ControllerOptions) -> Self {
        Self { sealer, options }
    }

    /// The next entry of a rotation; None when there is nothing to do. Values in `damaged` are left out, new ones come in.
    fn next(&self, state: &State, damaged: &mut BTreeSet<SealedValue>) -> Option<Command> {
        let key = state.current_data_key().filter(|key| !key.settled)?.id;
        let (mut values, mut bytes, mut left) = (Vec::new(), 0, false);
        for value in state.sealed_otherwise() {
            left = true;
            if damaged.contains(&value) {
                continue;
            }
            match self.sealer.reseal(state, &value) {
                Ok(sealed) => {
                    bytes += sealed.len();
                    values.push(Resealed { value, sealed });
                }
                Err(why) => {
                    tracing::error!(
                        ?value,
                        "a value cannot be sealed anew: {why}; the rotation waits for a new value in its place"
                    );
                    damaged.insert(value);
                }
            }
            if values.len() >= limits::RESEALS_PER_ENTRY || bytes >= limits::RESEALED_BYTES_PER_ENTRY {
                break;
            }
        }
        match (values.is_empty(), left) {
            (false, _) => Some(Command::Reseal(Reseal { key, values })),
            (true, true) => None,
            (true, false) => Some(Command::SettleDataKey { key }),
        }
    }

    /// Works on a thread that serves nobody: a batch is a megabyte of ciphertext.
    async fn decide(&self, state: State, mut damaged: BTreeSet<SealedValue>) -> (Option<Command>, BTreeSet<SealedValue>) {
        let rotation = self.clone();
        let deciding = tokio::task::spawn_blocking(move || (rotation.next(&state, &mut damaged), damaged));
        match deciding.await {
            Ok(decided) => decided,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down.
                Err(_) => (None, BTreeSet::new()),
            },
        }
    }
}

#[async_trait]
impl<C: Cluster> Controller<C> for Rotation {
    async fn lead(self, cluster: C) {
        let (mut damaged, mut since, mut last) = (BTreeSet::new(), Instant::now(), KeyId(0));
        loop {
            let state = cluster.local();
            let under_way = state.current_data_key().filter(|key| !key.settled).map(|key| key.id);
            let Some(key) = under_way else {
                sleep(LOOK).await;
                continue;
            };
            if key != last || since.elapsed() >= AGAIN {
                (damaged, since, last) = (BTreeSet::new(), Instant::now(), key);
            }
            let (command, known) = self.decide(state, damaged).await;
            damaged = known;
            let Some(command) = command else {
                sleep(LOOK).await;
                continue;
            };
            let settling = matches!(command, Command::SettleDataKey { .. });
            match cluster.propose(command).await {
                Ok(_) if settling => tracing::info!(%key, "the data key was rotated: nothing is sealed with an older one"),
                Ok(_) => {}
                Err(ProposeError::Shutdown | ProposeError::Storage(_)) => return,
                Err(error) => {
                    tracing::warn!(%error, "values sealed anew were not committed; trying again");
                    sleep(self.options.retry_after).await;
                }
            }
        }
    }
}
