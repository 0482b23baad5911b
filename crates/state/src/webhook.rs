//! Webhooks, what they are told of, and the deliveries that are still to be made or could not be.
//!
//! What happens is turned into deliveries in the entry in which it happens, one for each webhook that asks for it: no event is
//! lost between its entry and its delivery, whoever leads, and none costs an entry of its own.

use std::sync::Arc;

use ring_types::{
    ClusterId, DeliveryId, DeploymentId, EventFilter, HookKind, InstanceId, KeyId, MemberId, Name, NodeId, Revision, Timestamp,
    WebhookId,
};

use crate::State;

/// Somebody who wants to be told of events by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Identity; part of what the encryption of its secret authenticates.
    pub id: WebhookId,
    /// Where to; checked when it is made, and each time it is used.
    pub url: String,
    /// What it asks for, sorted.
    pub events: Vec<EventFilter>,
    /// The secret its deliveries are signed with: nonce and ciphertext.
    pub sealed: Vec<u8>,
    /// The data key it is sealed with; 0, the secret key itself, in rows of releases that knew no other.
    pub key: KeyId,
    /// Name of the account that made it, as it was then.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Deliveries the receiver has taken.
    pub delivered: u64,
    /// When it took the last one.
    pub delivered_at: Option<Timestamp>,
    /// Events that were dropped because too many waited for delivery.
    pub dropped: u64,
    /// When the last one was dropped.
    pub dropped_at: Option<Timestamp>,
    /// Last writer.
    pub version: Revision,
}

impl Webhook {
    /// Does it ask for this kind?
    pub fn takes(&self, kind: HookKind) -> bool {
        self.events.iter().any(|filter| filter.takes(kind))
    }
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookObject {
    /// A deployment.
    Deployment {
        /// Identity.
        id: DeploymentId,
        /// Namespace.
        namespace: Name,
        /// Name.
        name: Name,
    },
    /// A host that runs work.
    Node {
        /// Identity.
        id: NodeId,
        /// Name.
        name: Name,
    },
    /// The cluster itself.
    Cluster {
        /// Identity.
        id: ClusterId,
    },
    /// The webhook that is tried.
    Webhook {
        /// Identity.
        id: WebhookId,
    },
}

/// What a webhook is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookEvent {
    /// What happened.
    pub kind: HookKind,
    /// When.
    pub at: Timestamp,
    /// To what.
    pub object: HookObject,
    /// What it was before: a status, a number of replicas, the name of a control node. Nothing where there was nothing.
    pub before: Option<String>,
    /// What it is now.
    pub after: Option<String>,
    /// One word for why; empty when there is nothing to say.
    pub reason: String,
    /// A sentence for people; empty when there is nothing to say.
    pub message: String,
    /// The instance it happened to.
    pub instance: Option<InstanceId>,
    /// The node it happened on.
    pub node: Option<NodeId>,
}

/// An event on its way to a webhook, or one that could not be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To which.
    pub webhook: WebhookId,
    /// Number of the event; grows over the whole cluster.
    pub number: u64,
    /// What to tell.
    pub event: Arc<HookEvent>,
    /// Attempts that failed.
    pub attempts: u32,
    /// When the next attempt is due; None: there is none, it is a dead letter.
    pub due: Option<Timestamp>,
    /// When the last attempt failed.
    pub failed_at: Option<Timestamp>,
    /// Why it failed.
    pub error: String,
    /// Last writer.
    pub version: Revision,
}

impl Delivery {
    /// Its name to receivers; the same over its retries.
    pub fn id(&self) -> DeliveryId {
        DeliveryId::of(self.webhook, self.number)
    }
}

/// The control node that was last known to lead, so that a change of it is told once. There is one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Which.
    pub member: MemberId,
    /// In which term it said so first.
    pub term: u64,
    /// When.
    pub since: Timestamp,
    /// Last writer.
    pub version: Revision,
}

/// A webhook to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWebhook {
    /// Identity.
    pub id: WebhookId,
    /// Where to.
    pub url: String,
    /// What it asks for.
    pub events: Vec<EventFilter>,
    /// Its secret, sealed for `id`.
    pub sealed: Vec<u8>,
    /// The data key it is sealed with.
    pub key: KeyId,
    /// Name of the account that makes it.
    pub created_by: String,
}

/// How an attempt to deliver went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptResult {
    /// To which webhook.
    pub webhook: WebhookId,
    /// Number of the event.
    pub number: u64,
    /// Which attempt, from 1. A failure of another one than the next is passed over: the delivery was begun anew meanwhile.
    pub attempt: u32,
    /// Why it failed; None: the receiver has taken it.
    pub error: Option<String>,
    /// When to try again; None: never.
    pub retry_at: Option<Timestamp>,
}

/// Changes of webhooks, and of what they are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookCommand {
    /// Makes a webhook.
    Create(NewWebhook),
    /// Deletes a webhook and all that was to be delivered to it.
    Delete {
        /// Which.
        webhook: WebhookId,
    },
    /// Has a test delivered to a webhook.
    Test {
        /// Which.
        webhook: WebhookId,
    },
    /// Begins dead letters anew.
    Redeliver {
        /// Of which webhook.
        webhook: WebhookId,
        /// Number of the event; None: all of them.
        number: Option<u64>,
    },
    /// How attempts went, and an occasion to forget dead letters that are too old.
    Settle {
        /// In the order they ended.
        results: Vec<AttemptResult>,
    },
    /// A control node leads.
    NoteLeader {
        /// Which.
        member: MemberId,
        /// In which term.
        term: u64,
    },
}

/// How many deliveries of a webhook there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Still to be made.
    pub pending: usize,
    /// Dead letters.
    pub dead: usize,
}

impl State {
    /// A webhook.
    pub fn webhook(&self, id: WebhookId) -> Option<&Arc<Webhook>> {
        self.webhooks.get(&id)
    }

    /// All webhooks by id.
    pub fn webhooks(&self) -> impl Iterator<Item = &Arc<Webhook>> {
        self.webhooks.values()
    }

    /// A delivery.
    pub fn delivery(&self, webhook: WebhookId, number: u64) -> Option<&Arc<Delivery>> {
        self.deliveries.get(&(webhook, number))
    }

    /// Deliveries of a webhook, pending and dead, oldest first.
    pub fn deliveries_of(&self, webhook: WebhookId) -> impl Iterator<Item = &Arc<Delivery>> {
        self.deliveries.range((webhook, 0)..=(webhook, u64::MAX)).map(|(_, delivery)| delivery)
    }

    /// How many deliveries of a webhook there are.
    pub fn backlog(&self, webhook: WebhookId) -> Backlog {
        self.backlogs.get(&webhook).copied().unwrap_or_default()
    }

    /// When the pending deliveries of a webhook are due, and their numbers: the one that is due first comes first.
    pub fn due_deliveries(&self, webhook: WebhookId) -> impl Iterator<Item = (Timestamp, u64)> + '_ {
        let range = (webhook, Timestamp(i64::MIN), 0)..=(webhook, Timestamp(i64::MAX), u64::MAX);
        self.due.range(range).map(|(_, at, number)| (*at, *number))
    }

    /// Pending deliveries of a webhook by number, oldest first.
    pub(crate) fn pending_deliveries(&self, webhook: WebhookId) -> impl Iterator<Item = u64> + '_ {
        self.pending.range((webhook, 0)..=(webhook, u64::MAX)).map(|(_, number)| *number)
    }

    /// Dead letters of a webhook by number, oldest first.
    pub(crate) fn dead_letters(&self, webhook: WebhookId) -> impl Iterator<Item = u64> + '_ {
        self.dead.range((webhook, 0)..=(webhook, u64::MAX)).map(|(_, number)| *number)
    }

    /// Dead letters that are to be forgotten: of each webhook those that died too long ago, and the oldest of too many.
    pub fn expired_dead_letters(&self, now: Timestamp) -> Vec<(WebhookId, u64)> {
        let mut found = Vec::new();
        for webhook in self.webhooks.keys() {
            let mut left = self.backlog(*webhook).dead;
            for number in self.dead_letters(*webhook) {
                let failed_at = self.delivery(*webhook, number).and_then(|d| d.failed_at);
                let old = failed_at.is_none_or(|at| at + crate::limits::DEAD_LETTER_AGE < now);
                if !old && left <= crate::limits::DEAD_LETTERS_PER_WEBHOOK {
                    break;
                }
                left -= 1;
                found.push((*webhook, number));
            }
        }
        found
    }

    /// The control node that was last known to lead.
    pub fn leader(&self) -> Option<&Arc<Leader>> {
        self.leader.as_ref()
    }
}
