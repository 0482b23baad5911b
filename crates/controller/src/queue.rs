//! Which deployments are to be looked at, and when.

use std::collections::{BTreeMap, BTreeSet};

use ring_planner::{Plan, Waiting, affected};
use ring_state::State;
use ring_store::Update;
use ring_types::{DeploymentId, Timestamp};

/// Deployments of one activation. What is left comes next, after what has changed meanwhile.
const BATCH: usize = 512;

/// What is to be looked at. A cache: a full sweep builds it anew.
pub(crate) struct Queue {
    pub(crate) view: State,
    /// Changed, or to be looked at now.
    dirty: BTreeSet<DeploymentId>,
    /// The rest of a sweep, which gives way to what has changed.
    sweep: BTreeSet<DeploymentId>,
    waiting: Waiting,
    timers: BTreeMap<DeploymentId, Timestamp>,
}

impl Queue {
    /// Everything is to be looked at.
    pub(crate) fn new(view: State) -> Self {
        let waiting = Waiting::of(&view);
        let mut queue = Self { view, dirty: BTreeSet::new(), sweep: BTreeSet::new(), waiting, timers: BTreeMap::new() };
        queue.sweep();
        queue
    }

    /// Everything is to be looked at once more.
    fn sweep(&mut self) {
        self.sweep = self.view.deployments().map(|deployment| deployment.id).collect();
    }

    /// The state has changed.
    pub(crate) fn take_in(&mut self, update: Update) {
        match update {
            Update::Change(change) => {
                let found = affected(&self.view, &change.keys, &change.state, &mut self.waiting);
                self.dirty.extend(found);
                self.view = change.state;
            }
            Update::Lagged { state } => *self = Self { timers: std::mem::take(&mut self.timers), ..Self::new(state) },
        }
    }

    /// These are to be looked at again.
    pub(crate) fn again(&mut self, ids: impl IntoIterator<Item = DeploymentId>) {
        self.dirty.extend(ids);
    }

    /// These are to be looked at again at a later time.
    pub(crate) fn later(&mut self, ids: &BTreeSet<DeploymentId>, at: Timestamp) {
        for id in ids {
            let timer = self.timers.entry(*id).or_insert(at);
            *timer = at.min(*timer);
        }
    }

    /// What is to be looked at now; empty when there is nothing.
    pub(crate) fn next_batch(&mut self, now: Timestamp) -> BTreeSet<DeploymentId> {
        let due: Vec<_> = self.timers.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        self.dirty.extend(due);
        let source = if self.dirty.is_empty() { &mut self.sweep } else { &mut self.dirty };
        let batch: BTreeSet<_> = source.iter().take(BATCH).copied().collect();
        for id in &batch {
            source.remove(id);
            self.timers.remove(id);
        }
        batch
    }

    /// A batch was planned.
    pub(crate) fn planned(&mut self, plan: &Plan) {
        self.dirty.extend(&plan.remaining);
        self.timers.extend(plan.wakes.iter().map(|(id, at)| (*id, *at)));
    }

    /// Is anything to be looked at without waiting?
    pub(crate) fn is_idle(&self) -> bool {
        self.dirty.is_empty() && self.sweep.is_empty()
    }

    /// When the next timer runs out.
    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        self.timers.values().min().copied()
    }
}
