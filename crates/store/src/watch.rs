//! Changes of the state as they are applied.

use std::sync::Arc;

use ring_state::{RowKey, State};
use ring_types::Revision;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::view::View;

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

impl Update {
    /// The state this update leads to.
    pub const fn state(&self) -> &State {
        match self {
            Self::Change(change) => &change.state,
            Self::Lagged { state } => state,
        }
    }
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
    pub(crate) receiver: Option<broadcast::Receiver<Update>>,
    pub(crate) seen: Revision,
    pub(crate) view: Arc<View>,
}

impl Changes {
    /// The next change; None when the store was shut down. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<Update> {
        loop {
            let update = match self.receiver.as_mut()?.recv().await {
                Ok(update) => update,
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(_)) => self.catch_up(),
            };
            let revision = update.state().revision();
            if revision > self.seen {
                self.seen = revision;
                return Some(update);
            }
        }
    }

    /// Passes over everything that waits, to the state now.
    fn catch_up(&mut self) -> Update {
        let Watch { state, changes } = self.view.watch();
        self.receiver = changes.receiver;
        Update::Lagged { state }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::log_id;

    fn state(revision: u64) -> State {
        State::from_rows(Revision(revision), []).unwrap()
    }

    fn publish(view: &View, revision: u64) {
        view.publish(&state(revision), Some(log_id(1, revision)), Arc::new([RowKey::Meta]));
    }

    #[tokio::test]
    async fn a_watcher_gets_each_change_once() {
        let view = View::new(state(1), Some(log_id(1, 1)));
        let mut watch = view.watch();
        assert_eq!(watch.state.revision(), Revision(1));
        publish(&view, 2);
        publish(&view, 4);
        for expected in [2, 4] {
            let update = watch.changes.next().await.unwrap();
            assert!(matches!(&update, Update::Change(c) if c.revision == Revision(expected)), "{update:?}");
        }
        view.close();
        assert!(watch.changes.next().await.is_none());
    }

    #[tokio::test]
    async fn who_falls_behind_gets_the_state() {
        let view = View::new(state(0), Some(log_id(1, 0)));
        let mut watch = view.watch();
        let last = CHANGES_KEPT as u64 + 10;
        (1..=last).for_each(|revision| publish(&view, revision));
        let update = watch.changes.next().await.unwrap();
        assert!(matches!(&update, Update::Lagged { state } if state.revision() == Revision(last)));
        publish(&view, last + 1);
        let update = watch.changes.next().await.unwrap();
        assert!(matches!(&update, Update::Change(c) if c.revision == Revision(last + 1)));
    }

    #[tokio::test]
    async fn a_snapshot_is_given_as_a_whole() {
        let view = View::new(state(1), Some(log_id(1, 1)));
        let mut watch = view.watch();
        view.replace(&state(9), Some(log_id(1, 9)));
        assert!(matches!(watch.changes.next().await, Some(Update::Lagged { .. })));
    }
}
