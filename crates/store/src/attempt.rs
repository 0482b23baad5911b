//! Trying something at the leader until it is done, is refused, or time is up.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use rand::Rng;
use ring_proto::raft::v1 as wire;
use ring_proto::raft::v1::refused::Reason;
use tokio::time::{Instant, sleep_until};

use crate::peers::{Client, Lane, Peers, never_arrived};
use crate::replica::Replica;
use crate::types::{Peer, node_id};
use crate::{MissingMember, StoreError};

/// Pause after the first failed try; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// A try is not begun with less time than this.
const SHORTEST_TRY: Duration = Duration::from_millis(100);

/// Why a try did not do it.
pub(crate) enum Failed<E> {
    /// Nothing happened: another try may do it.
    Again,
    /// It may or may not have happened.
    Uncertain,
    /// Another try would give the same.
    Final(E),
}

/// Who leads, as far as is known.
pub(crate) enum Leader {
    Me,
    Other(u64, Peer),
    Unknown,
}

/// Time was up.
pub(crate) struct TimeUp {
    /// A try may have done it.
    pub(crate) uncertain: bool,
    /// Members that do not answer.
    pub(crate) missing: Vec<MissingMember>,
}

impl Replica {
    pub(crate) fn leader(&self) -> Leader {
        // Asked for each write and read: nothing is copied but the leader's address.
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        match metrics.current_leader {
            Some(id) if id == node_id(self.config.member) => Leader::Me,
            Some(id) => match metrics.membership_config.get_node(&id) {
                Some(peer) => Leader::Other(id, peer.clone()),
                None => Leader::Unknown,
            },
            None => Leader::Unknown,
        }
    }

    /// Tries until it is done or time is up. `attempt` is told when that is.
    pub(crate) async fn persist<T, E, F>(&self, mut attempt: impl FnMut(Instant) -> F) -> Result<Result<T, E>, TimeUp>
    where
        F: Future<Output = Result<T, Failed<E>>>,
    {
        let deadline = Instant::now() + self.config.patience;
        let (mut pause, mut uncertain) = (FIRST_PAUSE, false);
        let mut leadership = self.leadership.clone();
        loop {
            match attempt(deadline).await {
                Ok(done) => return Ok(Ok(done)),
                Err(Failed::Final(error)) => return Ok(Err(error)),
                Err(Failed::Uncertain) => uncertain = true,
                Err(Failed::Again) => {}
            }
            let now = Instant::now();
            let wait = pause.mul_f64(rand::rng().random_range(0.5..1.0));
            // A try that cannot be answered in time would only make the outcome uncertain.
            if now + wait + SHORTEST_TRY >= deadline {
                let missing = self.peers.missing(&self.metrics()).await;
                return Err(TimeUp { uncertain, missing });
            }
            tokio::select! {
                // A new leader is worth a try at once; one that is gone is not.
                _ = leadership.wait_for(|l| l.leader.is_some()), if self.leadership.borrow().leader.is_none() => {}
                () = sleep_until(now + wait) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The store's own end, when it is one.
    pub(crate) fn ended(&self) -> Option<StoreError> {
        self.failure.get().or_else(|| self.stopping().then_some(StoreError::Shutdown))
    }
}

impl Peers {
    /// One call to the member that leads.
    pub(crate) async fn call_leader<T, R, E, F>(
        &self,
        (id, peer): (u64, &Peer),
        message: T,
        deadline: Instant,
        call: impl FnOnce(Client, tonic::Request<T>) -> F,
    ) -> Result<R, Failed<E>>
    where
        F: Future<Output = Result<tonic::Response<R>, tonic::Status>>,
    {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut request = self.address(id, message);
        request.set_timeout(left);
        let sent = async {
            let client = self.client(id, &peer.address, Lane::Forward).await.map_err(|_| Failed::Again)?;
            call(client, request).await.map_err(|status| {
                tracing::debug!(leader = id, %status, "a call to the leader failed");
                if status.code() == tonic::Code::Unavailable {
                    self.forget(id, Lane::Forward);
                }
                if never_arrived(&status) { Failed::Again } else { Failed::Uncertain }
            })
        };
        match tokio::time::timeout(left, sent).await {
            Ok(result) => result.map(tonic::Response::into_inner),
            Err(_) => Err(Failed::Uncertain),
        }
    }
}

/// The message that says why not.
pub(crate) fn refused(reason: Reason, detail: u64, message: impl ToString) -> wire::Refused {
    wire::Refused { reason: reason.into(), detail, message: message.to_string() }
}
