//! Contact: that of agents with this control node, and that of this control node with the leader.
//!
//! Heartbeats never enter the log, nor what comes with them. Where a session ends they are noted, and twice a second they go
//! to the leader in one message; the answer to that message is also how this node knows that it has a leader to serve by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ring_proto::agent::v1::InstanceUsage;
use ring_proto::cluster::v1::control_service_client::ControlServiceClient;
use ring_proto::cluster::v1::{Contact, ContactsRequest};
use ring_store::Store;
use ring_types::{Cpu, Epoch, InstanceId, MemberId, NodeId, Span, Timestamp};
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

/// Measures that wait for a leader; the oldest go when there are more.
const UNSENT: usize = 20_000;

/// Takes note of nodes that were heard and of what they measured; the leader's controllers judge by it.
pub trait ContactSink: Send + Sync {
    /// `node` was heard at `at`, under `epoch`, by the control node `via`.
    fn heard(&self, node: NodeId, epoch: Epoch, via: MemberId, at: Timestamp);

    /// `node` measured what one of its instances uses, at `at`.
    fn measured(&self, node: NodeId, instance: InstanceId, cpu: Cpu, at: Timestamp);
}

/// The last heartbeat of a node that was not passed on yet.
struct Heard {
    epoch: Epoch,
    at: Instant,
    usage: Vec<InstanceUsage>,
}

/// The pulse of this control node. Copies are the same.
#[derive(Clone)]
pub struct Pulse {
    store: Store,
    peers: Peers,
    sink: Arc<dyn ContactSink>,
    heard: Arc<Mutex<BTreeMap<NodeId, Heard>>>,
    leader_seen: Arc<watch::Sender<Instant>>,
}

impl Pulse {
    /// A pulse that notes contacts in `sink` when this node leads.
    pub fn new(store: Store, peers: Peers, sink: Arc<dyn ContactSink>) -> Self {
        Self { store, peers, sink, heard: Arc::default(), leader_seen: Arc::new(watch::Sender::new(Instant::now())) }
    }

    /// A node was heard on a session of this control node, and said this of its instances.
    pub fn heard(&self, node: NodeId, epoch: Epoch, usage: Vec<InstanceUsage>) {
        if self.store.leadership().borrow().is_me {
            self.note(node, epoch, self.store.status().id, clock::now(), &usage);
            return;
        }
        let mut heard = self.lock();
        let before = heard.insert(node, Heard { epoch, at: Instant::now(), usage });
        // Measures come less often than heartbeats: they wait for the next message whatever came since.
        if let (Some(now), Some(before)) = (heard.get_mut(&node), before)
            && now.usage.is_empty()
            && before.usage.len() < UNSENT
        {
            now.usage = before.usage;
        }
    }

    fn note(&self, node: NodeId, epoch: Epoch, via: MemberId, at: Timestamp, usage: &[InstanceUsage]) {
        self.sink.heard(node, epoch, via, at);
        for one in usage {
            if let Ok(instance) = one.instance_id.parse() {
                self.sink.measured(node, instance, Cpu(one.cpu_millis), at);
            }
        }
    }

    /// Another control node heard these.
    pub(super) fn forwarded(&self, via: MemberId, contacts: &[Contact]) {
        for contact in contacts {
            let Ok(node) = contact.node_id.parse() else { continue };
            self.note(node, Epoch(contact.epoch), via, clock::now() - Span(contact.silent_ms), &contact.usage);
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
        for (node, heard) in kept {
            self.note(node, heard.epoch, me.id, clock::now() - Span::from(heard.at.elapsed()), &heard.usage);
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
        let contacts = kept.iter().map(|(node, heard)| contact(*node, heard)).collect();
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
    fn keep(&self, kept: BTreeMap<NodeId, Heard>) {
        let mut heard = self.lock();
        for (node, contact) in kept {
            heard.entry(node).or_insert(contact);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn contact(node: NodeId, heard: &Heard) -> Contact {
    let silent_ms = u64::try_from(heard.at.elapsed().as_millis()).unwrap_or(u64::MAX);
    Contact { node_id: node.to_string(), epoch: heard.epoch.0, silent_ms, usage: heard.usage.clone() }
}
