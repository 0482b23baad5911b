//! What instances use. Measured often, so it never enters the log: the leader keeps the last measures in memory, and a new
//! leader begins without any.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring_planner::Load;
use ring_state::State;
use ring_types::{Cpu, InstanceId, NodeId, Span, Timestamp};

/// Measures of an instance that are taken together; the oldest goes.
const TOGETHER: usize = 6;

/// The last measures of one instance.
#[derive(Debug)]
struct Window {
    node: NodeId,
    measures: VecDeque<(Timestamp, Cpu)>,
}

/// The last measures of all instances whose deployments scale. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loads(Arc<Mutex<BTreeMap<InstanceId, Window>>>);

impl Loads {
    /// A node measured one of its instances.
    pub(crate) fn measured(&self, node: NodeId, instance: InstanceId, cpu: Cpu, at: Timestamp) {
        let mut all = self.lock();
        let window = all.entry(instance).or_insert_with(|| Window { node, measures: VecDeque::new() });
        if window.node != node || window.measures.back().is_some_and(|(last, _)| *last >= at) {
            return;
        }
        if window.measures.len() >= TOGETHER {
            window.measures.pop_front();
        }
        window.measures.push_back((at, cpu));
    }

    /// What the planner decides by: of each instance the mean of its measures that are not older than `kept`.
    pub(crate) fn snapshot(&self, now: Timestamp, kept: Span) -> BTreeMap<InstanceId, Load> {
        self.lock().iter().filter_map(|(id, window)| Some((*id, window.load(now - kept)?))).collect()
    }

    /// Forgets instances that are no more, and everything told of an instance by a node that does not have it.
    pub(crate) fn prune(&self, state: &State) {
        self.lock().retain(|id, window| state.instance(*id).is_some_and(|instance| instance.node == window.node));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn load(&self, since: Timestamp) -> Option<Load> {
        let recent: Vec<_> = self.measures.iter().filter(|(at, _)| *at >= since).collect();
        let (at, _) = recent.last()?;
        let sum: u64 = recent.iter().fold(0, |sum, (_, cpu)| sum.saturating_add(cpu.0));
        let samples = recent.len() as u32;
        Some(Load { node: self.node, cpu: Cpu(sum / u64::from(samples)), samples, at: *at })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const NODE: NodeId = NodeId(Uuid::from_u128(1));
    const ONE: InstanceId = InstanceId(Uuid::from_u128(2));

    #[test]
    fn the_mean_of_the_last_measures_counts() {
        let loads = Loads::default();
        for (second, cpu) in (0..10).zip([9000, 9000, 9000, 9000, 100, 200, 300, 400, 500, 600]) {
            loads.measured(NODE, ONE, Cpu(cpu), Timestamp(second * 1000));
        }
        let now = Timestamp(10_000);
        let load = |kept| loads.snapshot(now, Span(kept)).get(&ONE).map(|load| (load.cpu.0, load.samples));
        assert_eq!(load(60_000), Some((350, 6)), "no more than so many");
        assert_eq!(load(2000), Some((550, 2)), "nor older ones");
        assert_eq!(load(500), None);
    }

    #[test]
    fn a_measure_that_comes_again_or_from_elsewhere_changes_nothing() {
        let loads = Loads::default();
        loads.measured(NODE, ONE, Cpu(100), Timestamp(1000));
        loads.measured(NODE, ONE, Cpu(900), Timestamp(1000));
        loads.measured(NODE, ONE, Cpu(900), Timestamp(500));
        loads.measured(NodeId(Uuid::nil()), ONE, Cpu(900), Timestamp(2000));
        let load = loads.snapshot(Timestamp(2000), Span(60_000))[&ONE];
        assert_eq!((load.cpu, load.samples), (Cpu(100), 1));
        loads.prune(&State::default());
        assert!(loads.snapshot(Timestamp(2000), Span(60_000)).is_empty());
    }
}
