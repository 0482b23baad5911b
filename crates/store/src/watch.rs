//! Changes of the state as they are applied.

use std::sync::Arc;

use ring_state::{RowKey, State};
use ring_types::Revision;
use tokio::sync::broadcast;

/// Changes a watcher may be behind before it gets the state as a whole instead.
pub const CHANGES_KEPT: usize = 1024;

/// What one batch of entries changed.
#[derive(Clone, Debug)]
pub struct Change {
    /// Index of the last entry of the batch.
    pub revision: Revision,
    /// Rows that were written or deleted, each once.
    pub keys: Arc<[RowKey]>,
    /// The state afterwards.
    pub state: State,
}

/// What a watcher gets.
#[derive(Clone, Debug)]
pub enum Update {
    /// The next change.
    Change(Change),
    /// Changes were missed, or a snapshot replaced the state: this is the state now, and what follows comes after it.
    Lagged {
        /// The state now.
        state: State,
    },
}

/// The state at one moment, and everything after it.
#[derive(Debug)]
pub struct Watch {
    /// The state when the watch began.
    pub state: State,
    /// What came after.
    pub changes: Changes,
}

/// The changes after some moment.
#[derive(Debug)]
pub struct Changes {
    pub(crate) receiver: broadcast::Receiver<Update>,
    pub(crate) seen: Revision,
}

impl Changes {
    /// The next change; None when the store was shut down.
    pub async fn next(&mut self) -> Option<Update> {
        unimplemented!("{:?} {}", self.receiver, self.seen)
    }
}
