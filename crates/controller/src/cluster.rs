//! What the controllers need of the store, so that their tests need no disk and no quorum.

use async_trait::async_trait;
use ring_state::{Command, State};
use ring_store::{Changes, Committed, Leadership, MemberError, MemberLevel, ProposeError, Store, StoreStatus, Update};
use ring_types::{MemberId, RequestId, Timestamp};
use tokio::sync::watch;
use uuid::Uuid;

/// The replicated state, as a controller sees it.
#[async_trait]
pub(crate) trait Cluster: Clone + Send + Sync + 'static {
    /// Changes after a moment.
    type Changes: Stream;

    /// Has a command committed.
    async fn propose(&self, command: Command) -> Result<Committed, ProposeError>;

    /// Now by the cluster's time, which decisions go by.
    fn now(&self) -> Timestamp;

    /// The state as it is here.
    fn local(&self) -> State;

    /// The state and everything after it.
    fn watch(&self) -> (State, Self::Changes);

    /// The members, as this one sees them.
    fn members(&self) -> StoreStatus;

    /// What each member understands.
    async fn levels(&self) -> Vec<MemberLevel>;

    /// Takes a member out of the quorum.
    async fn remove_member(&self, id: MemberId) -> Result<(), MemberError>;

    /// Who leads.
    fn leadership(&self) -> watch::Receiver<Leadership>;
}

/// Changes, one after another.
#[async_trait]
pub(crate) trait Stream: Send + 'static {
    /// The next one; None when the store was shut down. Nothing is lost when the future is dropped.
    async fn next(&mut self) -> Option<Update>;
}

#[async_trait]
impl Cluster for Store {
    type Changes = Changes;

    async fn propose(&self, command: Command) -> Result<Committed, ProposeError> {
        // What controllers propose is checked against the facts when it is applied, but a plan that came a second time much
        // later could bring back an instance that was forgotten in between.
        let request = match &command {
            Command::Plan { .. } => RequestId(Uuid::now_v7()),
            _ => RequestId::NONE,
        };
        Store::propose(self, request, command).await
    }

    fn now(&self) -> Timestamp {
        Store::now(self)
    }

    fn local(&self) -> State {
        Store::local(self)
    }

    fn watch(&self) -> (State, Changes) {
        let watch = Store::watch(self);
        (watch.state, watch.changes)
    }

    fn members(&self) -> StoreStatus {
        self.status()
    }

    async fn levels(&self) -> Vec<MemberLevel> {
        Store::levels(self).await
    }

    async fn remove_member(&self, id: MemberId) -> Result<(), MemberError> {
        self.remove(id).await
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        Store::leadership(self)
    }
}

#[async_trait]
impl Stream for Changes {
    async fn next(&mut self) -> Option<Update> {
        Changes::next(self).await
    }
}
