//! Deliveries to webhooks: the leader makes those that are due, and has committed how they went.
//!
//! What is to be delivered is in the state, so a new leader goes on where the last one stopped; what was under way is made
//! again. One attempt at a time is made to each webhook, in the order in which they are due, so that a receiver that hangs
//! keeps nobody waiting but itself. Results are committed together, not one by one.

mod pause;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ring_state::{AttemptResult, Command, Delivery, HookCommand, State, Webhook, limits};
use ring_store::{Committed, ProposeError, Update};
use ring_types::{ClusterId, Revision, Span, Timestamp, WebhookId};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::ControllerOptions;
use crate::cluster::{Cluster, Stream};
use crate::supervise::Controller;

pub use pause::DeliveryOptions;

/// Attempts whose results are not committed yet; at this many no new one is made.
const UNSETTLED: usize = 2 * limits::RESULTS_PER_ENTRY;

/// Longest time between two looks.
const LOOK: Duration = Duration::from_mins(1);

/// An attempt to deliver.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Whose event it is.
    pub cluster: ClusterId,
    /// To whom.
    pub webhook: Arc<Webhook>,
    /// What.
    pub delivery: Arc<Delivery>,
    /// The state both are of: the data key that seals the webhook's secret is in it.
    pub state: State,
}

/// Makes attempts.
#[async_trait]
pub trait Deliver: Send + Sync + 'static {
    /// Makes one, within a time of its own.
    ///
    /// # Errors
    /// Why the receiver has not taken it.
    async fn deliver(&self, attempt: Attempt) -> Result<(), NotTaken>;
}

/// Why a receiver has not taken a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTaken {
    /// A short sentence that is kept and shown, so it holds nothing that is secret.
    pub why: String,
    /// It asks to be left alone for so long.
    pub after: Option<Span>,
}

impl From<String> for NotTaken {
    /// One that asks for nothing.
    fn from(why: String) -> Self {
        Self { why, after: None }
    }
}

type Key = (WebhookId, u64);

/// Makes the deliveries.
#[derive(Clone)]
pub(crate) struct Deliveries {
    deliverer: Arc<dyn Deliver>,
    options: ControllerOptions,
}

impl Deliveries {
    pub(crate) fn new(deliverer: Arc<dyn Deliver>, options: ControllerOptions) -> Self {
        Self { deliverer, options }
    }
}

#[async_trait]
impl<C: Cluster> Controller<C> for Deliveries {
    async fn lead(self, cluster: C) {
        let (state, changes) = cluster.watch();
        let run = Run {
            by: self,
            cluster,
            state,
            busy: BTreeSet::new(),
            resting: BTreeMap::new(),
            attempts: JoinSet::new(),
            unsettled: BTreeMap::new(),
            settling: JoinSet::new(),
            settled: Vec::new(),
            settle_at: None,
        };
        run.go_on(changes).await;
    }
}

/// An attempt that ended.
type Ended = (Attempt, Result<(), NotTaken>);

/// Results that were proposed.
type Settled = (Vec<Key>, Result<Committed, ProposeError>);

struct Run<C> {
    by: Deliveries,
    cluster: C,
    state: State,
    /// Webhooks to which an attempt is under way.
    busy: BTreeSet<WebhookId>,
    /// Webhooks whose receivers asked to be left alone, and until when. The next leader does not know, and is told again.
    resting: BTreeMap<WebhookId, Timestamp>,
    attempts: JoinSet<Ended>,
    /// Results that are not in the state yet: what they are about is not tried again.
    unsettled: BTreeMap<Key, AttemptResult>,
    settling: JoinSet<Settled>,
    /// Results that are committed, and by which entry.
    settled: Vec<(Revision, Vec<Key>)>,
    /// When results are to be proposed.
    settle_at: Option<Instant>,
}

impl<C: Cluster> Run<C> {
    async fn go_on(mut self, mut changes: C::Changes) {
        loop {
            let due = self.start();
            self.settle();
            let now = Instant::now();
            let wakes = [due.map(|after| now + after), self.settle_at.filter(|_| self.settling.is_empty())];
            let wake = wakes.into_iter().flatten().min().unwrap_or(now + LOOK).min(now + LOOK);
            tokio::select! {
                update = changes.next() => match update {
                    Some(update) => self.take_in(update),
                    None => return,
                },
                Some(ended) = self.attempts.join_next() => match ended {
                    Ok(ended) => self.note(ended),
                    // Whoever watches over this controller starts it anew.
                    Err(error) => if let Ok(panic) = error.try_into_panic() { std::panic::resume_unwind(panic) },
                },
                Some(Ok(settled)) = self.settling.join_next() => if !self.committed(settled) { return },
                () = sleep_until(wake) => {}
            }
        }
    }

    fn take_in(&mut self, update: Update) {
        let (state, keys) = match update {
            Update::Change(change) => (change.state, Some(change.keys)),
            Update::Lagged { state } => (state, None),
        };
        let webhooks = keys.iter().flat_map(|keys| keys.iter());
        for key in webhooks {
            if let ring_state::RowKey::Webhook(id) = key
                && let (Some(old), Some(new)) = (self.state.webhook(*id), state.webhook(*id))
                && old.dropped < new.dropped
            {
                tracing::warn!(webhook = %id, dropped = new.dropped, "too many deliveries wait: the oldest are dropped");
            }
        }
        self.state = state;
        let now = self.state.revision();
        let arrived = self.settled.extract_if(.., |(revision, _)| *revision <= now).flat_map(|(_, keys)| keys);
        for key in arrived.collect::<Vec<_>>() {
            self.unsettled.remove(&key);
        }
    }

    /// Starts what is due; yields how long until the next is.
    fn start(&mut self) -> Option<Duration> {
        let cluster = self.state.meta().map(|meta| meta.cluster)?;
        let now = self.cluster.now();
        self.resting.retain(|_, until| *until > now);
        let mut next: Option<Timestamp> = None;
        for webhook in self.state.webhooks() {
            if self.busy.contains(&webhook.id) || self.unsettled.len() >= UNSETTLED {
                continue;
            }
            let open = |(_, number): &(Timestamp, u64)| !self.unsettled.contains_key(&(webhook.id, *number));
            let Some((at, number)) = self.state.due_deliveries(webhook.id).find(open) else { continue };
            let at = self.resting.get(&webhook.id).map_or(at, |until| at.max(*until));
            if at > now {
                next = Some(next.map_or(at, |next| next.min(at)));
                continue;
            }
            let Some(delivery) = self.state.delivery(webhook.id, number).cloned() else { continue };
            let attempt = Attempt { cluster, webhook: webhook.clone(), delivery, state: self.state.clone() };
            let deliverer = self.by.deliverer.clone();
            self.busy.insert(webhook.id);
            self.attempts.spawn(async move {
                let result = deliverer.deliver(attempt.clone()).await;
                (attempt, result)
            });
        }
        next.map(|at| at.since(now).duration())
    }

    fn note(&mut self, (Attempt { webhook, delivery, .. }, result): Ended) {
        self.busy.remove(&webhook.id);
        let options = &self.by.options.deliveries;
        let attempt = delivery.attempts + 1;
        let failed = result.err();
        let again = failed.is_some() && attempt < options.attempts;
        let now = self.cluster.now();
        let asked = failed.as_ref().and_then(|failed| failed.after).map(|after| options.bounded(after));
        if let Some(asked) = asked {
            self.resting.insert(webhook.id, now + asked);
        }
        let retry_at = again.then(|| now + options.pause(attempt).max(asked.unwrap_or_default()));
        let error = failed.map(|failed| failed.why);
        if let Some(error) = &error {
            let id = delivery.id();
            if again {
                tracing::debug!(webhook = %webhook.id, delivery = %id, attempt, error, "not delivered; it is tried again");
            } else {
                tracing::warn!(webhook = %webhook.id, delivery = %id, attempt, error, "not delivered; it is a dead letter now");
            }
        }
        let (key, webhook) = ((webhook.id, delivery.number), webhook.id);
        self.unsettled.insert(key, AttemptResult { webhook, number: delivery.number, attempt, error, retry_at });
        self.settle_at.get_or_insert_with(|| Instant::now() + self.by.options.deliveries.settle_after);
    }

    /// Proposes the results there are, when it is time; one proposal at a time.
    fn settle(&mut self) {
        let time = self.settle_at.is_some_and(|at| at <= Instant::now()) || self.unsettled.len() >= limits::RESULTS_PER_ENTRY;
        if !self.settling.is_empty() {
            return;
        }
        let committed: BTreeSet<Key> = self.settled.iter().flat_map(|(_, keys)| keys).copied().collect();
        let open = self.unsettled.iter().filter(|(key, _)| !committed.contains(key)).take(limits::RESULTS_PER_ENTRY);
        let (keys, results): (Vec<Key>, Vec<_>) = open.map(|(key, result)| (*key, result.clone())).unzip();
        if keys.is_empty() && time {
            self.settle_at = None;
        }
        let idle = keys.is_empty() && self.settled.is_empty() && self.settle_at.is_none();
        let forget = idle && !self.state.expired_dead_letters(self.cluster.now()).is_empty();
        if !(time && !keys.is_empty() || forget) {
            return;
        }
        self.settle_at = None;
        let cluster = self.cluster.clone();
        self.settling.spawn(async move { (keys, cluster.propose(Command::Hook(HookCommand::Settle { results })).await) });
    }

    /// False when the store is gone.
    fn committed(&mut self, (keys, result): Settled) -> bool {
        match result {
            Ok(committed) if committed.revision <= self.state.revision() => {
                for key in keys {
                    self.unsettled.remove(&key);
                }
            }
            Ok(committed) => self.settled.push((committed.revision, keys)),
            Err(ProposeError::Shutdown | ProposeError::Storage(_)) => return false,
            Err(error) => {
                tracing::warn!(%error, "how deliveries went was not committed; it is proposed again");
                self.settle_at = Some(Instant::now() + self.by.options.retry_after);
                return true;
            }
        }
        let waiting = self.settled.iter().map(|(_, keys)| keys.len()).sum::<usize>() < self.unsettled.len();
        if waiting {
            self.settle_at.get_or_insert_with(|| Instant::now() + self.by.options.deliveries.settle_after);
        }
        true
    }
}
