//! The store's handle.

use std::path::Path;
use std::sync::Arc;

use ring_state::{Command, Reply, State};
use ring_types::{MemberId, RequestId, Revision};

use crate::{
    Identity, Leadership, MemberError, PeerConnector, ProposeError, ReadError, StoreConfig, StoreError, StoreStatus, Watch,
};

/// A command was committed and applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Index of its entry; for a repeated request of the entry that answered it first.
    pub revision: Revision,
    /// Its answer.
    pub reply: Reply,
}

/// A member's store. A handle: copies are the same store.
#[derive(Clone)]
pub struct Store;

impl Store {
    /// Makes a cluster of one member and writes its first entry.
    pub async fn create(config: StoreConfig, connector: Arc<dyn PeerConnector>, bootstrap: Command) -> Result<Self, StoreError> {
        unimplemented!("{config:?} {bootstrap:?} {}", Arc::strong_count(&connector))
    }

    /// Opens a store again, or, with an empty directory, as a member that waits to be added to its cluster.
    pub async fn open(config: StoreConfig, connector: Arc<dyn PeerConnector>) -> Result<Self, StoreError> {
        unimplemented!("{config:?} {}", Arc::strong_count(&connector))
    }

    /// Whose data is in a directory; None when there is none.
    pub fn exists(data_dir: &Path) -> Result<Option<Identity>, StoreError> {
        unimplemented!("{data_dir:?}")
    }

    /// Has a command committed and applied, through whichever member leads.
    pub async fn propose(&self, request: RequestId, command: Command) -> Result<Committed, ProposeError> {
        unimplemented!("{request:?} {command:?}")
    }

    /// This member's state; it may be behind the cluster.
    pub fn local(&self) -> State {
        unimplemented!()
    }

    /// The state with everything that was acknowledged before this call.
    pub async fn read(&self) -> Result<State, ReadError> {
        unimplemented!()
    }

    /// This member's state and everything after it.
    pub fn watch(&self) -> Watch {
        unimplemented!()
    }

    /// Who leads, and every change of that.
    pub fn leadership(&self) -> tokio::sync::watch::Receiver<Leadership> {
        unimplemented!()
    }

    /// What it says about itself.
    pub fn status(&self) -> StoreStatus {
        unimplemented!()
    }

    /// Adds a member that receives the log but does not vote. Returns when the change is committed.
    pub async fn add_learner(&self, id: MemberId, name: &str, address: &str) -> Result<(), MemberError> {
        unimplemented!("{id} {name} {address}")
    }

    /// Gives a learner that has caught up its vote.
    pub async fn promote(&self, id: MemberId) -> Result<(), MemberError> {
        unimplemented!("{id}")
    }

    /// Takes a member out, voter or learner.
    pub async fn remove(&self, id: MemberId) -> Result<(), MemberError> {
        unimplemented!("{id}")
    }

    /// Hands the lead to another voter. Returns when it leads.
    pub async fn transfer_leader(&self, to: MemberId) -> Result<(), MemberError> {
        unimplemented!("{to}")
    }

    /// Resolves when storage or replication failed: the process has to exit with that message.
    pub async fn failed(&self) -> StoreError {
        unimplemented!()
    }

    /// Stops replication and closes the data directory.
    pub async fn shutdown(&self) {
        unimplemented!()
    }
}
