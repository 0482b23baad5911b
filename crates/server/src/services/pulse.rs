//! Contact: that of agents with this control node, and that of this control node with the leader.
//!
//! Heartbeats never enter the log. Where a session ends they are noted, and twice a second they go to the leader in one
//! message; the answer to that message is also how this node knows that it has a leader to serve by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ring_proto::cluster::v1::control_service_client::ControlServiceClient;
use ring_proto::cluster::v1::{Contact, ContactsRequest};
use ring_store::Store;
use ring_types::{Epoch, MemberId, NodeId, Span, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Peers;
use crate::clock;

/// Between two messages to the leader.
const BEAT: Duration = Duration::from_millis(500);
/// Longest wait for the leader's answer.
const ANSWER: Duration = Duration::from_secs(1);
/// Without the leader's answer for so long a control node serves no agents.
pub(crate) const ISOLATED_AFTER: Duration = Duration::from_secs(3);

/// Takes note of nodes that were heard; the leader's controllers judge by it.
pub trait ContactSink: Send + Sync {
    /// `node` was heard at `at`, under `epoch`, by the control node `via`.
    fn heard(&self, node: NodeId, epoch: Epoch, via: MemberId, at: Timestamp);
}

/// The pulse of this control node. Copies are the same.
#[derive(Clone)]
pub struct Pulse {
    store: Store,
    peers: Peers,
    sink: Arc<dyn ContactSink>,
    heard: Arc<Mutex<BTreeMap<NodeId, (Epoch, Instant)>>>,
    leader_seen: Arc<watch::Sender<Instant>>,
}

impl Pulse {
    /// A pulse that notes contacts in `sink` when this node leads.
    pub fn new(store: Store, peers: Peers, sink: Arc<dyn ContactSink>) -> Self {
        Self { store, peers, sink, heard: Arc::default(), leader_seen: Arc::new(watch::Sender::new(Instant::now())) }
    }

    /// A node was heard on a session of this control node.
    pub fn heard(&self, node: NodeId, epoch: Epoch) {
        if self.store.leadership().borrow().is_me {
            self.sink.heard(node, epoch, self.store.status().id, clock::now());
        } else {
            self.lock().insert(node, (epoch, Instant::now()));
        }
    }

    /// Another control node heard these.
    pub(super) fn forwarded(&self, via: MemberId, contacts: &[Contact]) {
        for contact in contacts {
            let Ok(node) = contact.node_id.parse() else { continue };
            self.sink.heard(node, Epoch(contact.epoch), via, clock::now() - Span(contact.silent_ms));
        }
    }

    /// How long ago this node last knew that it was in touch with the leader.
    pub fn silence(&self) -> Duration {
        self.leader_seen.borrow().elapsed()
    }

    /// This node has had no contact with a leader for too long to serve agents.
    pub fn isolated(&self) -> bool {
        self.silence() > ISOLATED_AFTER
    }

    /// Resolves when this node is isolated.
    pub async fn until_isolated(&self) {
        let mut seen = self.leader_seen.subscribe();
        loop {
            let end = *seen.borrow_and_update() + ISOLATED_AFTER;
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                changed = seen.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Resolves when this node is in touch with a leader.
    pub async fn until_in_touch(&self) {
        let mut seen = self.leader_seen.subscribe();
        while self.isolated() {
            if seen.changed().await.is_err() {
                return;
            }
        }
    }

    /// Beats until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.beat().await,
            }
        }
    }

    async fn beat(&self) {
        let leadership = *self.store.leadership().borrow();
        let begun = Instant::now();
        match leadership.leader {
            Some(_) if leadership.is_me => self.note_quorum(),
            Some(leader) if leader != self.store.status().id => match self.report_to(leader).await {
                Ok(()) => self.saw_leader(begun),
                Err(why) => tracing::debug!("no contact with the leader, control node {leader}: {why}"),
            },
            _ => {}
        }
    }

    /// A leader is in touch with itself as far as a quorum follows it.
    fn note_quorum(&self) {
        let kept = std::mem::take(&mut *self.lock());
        let me = self.store.status();
        for (node, (epoch, at)) in kept {
            self.sink.heard(node, epoch, me.id, clock::now() - Span::from(at.elapsed()));
        }
        if let Some(at) = me.quorum_ack_age.and_then(|age| Instant::now().checked_sub(age)) {
            self.saw_leader(at);
        }
    }

    fn saw_leader(&self, at: Instant) {
        self.leader_seen.send_if_modified(|seen| {
            let later = at > *seen;
            *seen = at.max(*seen);
            later
        });
    }

    async fn report_to(&self, leader: MemberId) -> Result<(), String> {
        let kept = std::mem::take(&mut *self.lock());
        let contacts = kept.iter().map(|(node, (epoch, at))| contact(*node, *epoch, *at)).collect();
        let request = ContactsRequest { member_id: self.store.status().id.0, contacts };
        let sent = tokio::time::timeout(ANSWER, self.send(leader, request)).await;
        let result = sent.map_err(|_| "no answer in time".to_owned()).and_then(|r| r);
        if result.is_err() {
            self.keep(kept);
        }
        result
    }

    async fn send(&self, leader: MemberId, request: ContactsRequest) -> Result<(), String> {
        let channel = self.peers.channel(leader).await.map_err(|e| e.to_string())?;
        ControlServiceClient::new(channel).contacts(request).await.map(drop).map_err(|e| e.message().to_owned())
    }

    /// What was not delivered goes with the next message, unless something newer was heard.
    fn keep(&self, kept: BTreeMap<NodeId, (Epoch, Instant)>) {
        let mut heard = self.lock();
        for (node, contact) in kept {
            heard.entry(node).or_insert(contact);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, (Epoch, Instant)>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn contact(node: NodeId, epoch: Epoch, at: Instant) -> Contact {
    let silent_ms = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
    Contact { node_id: node.to_string(), epoch: epoch.0, silent_ms }
}
