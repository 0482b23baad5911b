//! Signs of life of nodes, and what they measured. They come often and never enter the log: the leader keeps the last of each
//! in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring_planner::Contact;
use ring_state::State;
use ring_types::{Cpu, Epoch, InstanceId, MemberId, NodeId, Timestamp};

use crate::loads::Loads;

/// The last sign of life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Under which registration of its agent.
    pub epoch: Epoch,
    /// The control node that has its session.
    pub via: MemberId,
    /// When, by the clock of whoever keeps this.
    pub at: Timestamp,
}

/// Signs of life of all nodes, and what they measured. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Contacts {
    sightings: Arc<Mutex<BTreeMap<NodeId, Sighting>>>,
    loads: Loads,
}

impl Contacts {
    /// Nobody has been heard of.
    pub fn new() -> Self {
        Self::default()
    }

    /// A node was heard of: `at` is when, by this control node's clock, also for what another one passed on. An older sign,
    /// or one of an older registration, changes nothing.
    pub fn heard(&self, node: NodeId, epoch: Epoch, via: MemberId, at: Timestamp) {
        let mut sightings = self.lock();
        let newer = sightings.get(&node).is_none_or(|last| (last.epoch, last.at) <= (epoch, at));
        if newer {
            sightings.insert(node, Sighting { epoch, via, at });
        }
    }

    /// A node measured how many processors one of its instances uses, at about this time by this control node's clock.
    pub fn measured(&self, node: NodeId, instance: InstanceId, cpu: Cpu, at: Timestamp) {
        self.loads.measured(node, instance, cpu, at);
    }

    pub(crate) const fn loads(&self) -> &Loads {
        &self.loads
    }

    /// The last sign of life of a node.
    pub fn last(&self, node: NodeId) -> Option<Sighting> {
        self.lock().get(&node).copied()
    }

    /// What the planner judges by.
    pub(crate) fn snapshot(&self) -> BTreeMap<NodeId, Contact> {
        let contact = |sighting: &Sighting| Contact { epoch: sighting.epoch, last_heard: sighting.at };
        self.lock().iter().map(|(node, sighting)| (*node, contact(sighting))).collect()
    }

    /// Forgets nodes that are no more. One that has registered since it was heard of was alive then.
    pub(crate) fn follow(&self, state: &State, now: Timestamp) {
        self.lock().retain(|id, sighting| {
            let Some(node) = state.node(*id) else { return false };
            let contact = Contact { epoch: sighting.epoch, last_heard: sighting.at }.renewed(node, now);
            (sighting.epoch, sighting.at) = (contact.epoch, contact.last_heard);
            true
        });
    }

    /// Forgets every sign of life: they are dated by a clock that was set since.
    pub(crate) fn forget_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Sighting>> {
        self.sightings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
