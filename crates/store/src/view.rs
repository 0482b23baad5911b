//! The applied state as the rest of the process sees it: a view to read, an index to wait for, changes to follow.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ring_state::{RowKey, State};
use ring_types::Timestamp;
use tokio::sync::broadcast;

use crate::applied::AppliedIndex;
use crate::lock::Mutex;
use crate::types::{LogId, index_of};
use crate::{CHANGES_KEPT, Change, Changes, Update, Watch};

/// A state and the last entry in it.
#[derive(Debug)]
struct Shown {
    state: State,
    last: Option<LogId>,
}

/// What the state machine publishes after each batch.
#[derive(Debug)]
pub(crate) struct View {
    state: ArcSwap<Shown>,
    applied: AppliedIndex,
    // None after the end: watchers are told by closing it.
    changes: Mutex<Option<broadcast::Sender<Update>>>,
}

impl View {
    pub(crate) fn new(state: State, last: Option<LogId>) -> Arc<Self> {
        Arc::new(Self {
            state: ArcSwap::from_pointee(Shown { state, last }),
            applied: AppliedIndex::new(index_of(last.as_ref())),
            changes: Mutex::new(Some(broadcast::channel(CHANGES_KEPT).0)),
        })
    }

    /// The state after a batch, and the rows that changed.
    pub(crate) fn publish(&self, state: &State, last: Option<LogId>, keys: Arc<[RowKey]>) {
        let before = self.state.swap(Arc::new(Shown { state: state.clone(), last }));
        if before.state.revision() != state.revision() {
            self.send(Update::Change(Change { revision: state.revision(), keys, state: state.clone() }));
        }
        self.applied.advance(index_of(last.as_ref()));
    }

    /// A state that came as a whole.
    pub(crate) fn replace(&self, state: &State, last: Option<LogId>) {
        self.state.store(Arc::new(Shown { state: state.clone(), last }));
        self.send(Update::Lagged { state: state.clone() });
        self.applied.advance(index_of(last.as_ref()));
    }

    fn send(&self, update: Update) {
        if let Some(changes) = &*self.changes.lock() {
            // Nobody watching is no fault.
            drop(changes.send(update));
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state.load().state.clone()
    }

    /// The state, and the last entry in it.
    pub(crate) fn dated(&self) -> (State, Option<LogId>) {
        let shown = self.state.load();
        (shown.state.clone(), shown.last)
    }

    /// Time of the latest entry.
    pub(crate) fn clock(&self) -> Timestamp {
        self.state.load().state.clock()
    }

    pub(crate) const fn applied(&self) -> &AppliedIndex {
        &self.applied
    }

    /// First the receiver, then the state: what happens in between is in both and passed over by [`Changes::next`].
    pub(crate) fn watch(self: &Arc<Self>) -> Watch {
        let receiver = self.changes.lock().as_ref().map(broadcast::Sender::subscribe);
        let state = self.state();
        Watch { changes: Changes { receiver, seen: state.revision(), view: Arc::clone(self) }, state }
    }

    /// No more changes.
    pub(crate) fn close(&self) {
        *self.changes.lock() = None;
    }
}
