//! Drains of nodes, and moves for an even spread: nobody serves with fewer because of one before its deadline.

use ring_state::{RowKey, State};
use ring_types::{Goal, InstanceId, StopCause};

use super::run::Sim;

impl Sim {
    /// An instance that serves leaves a node early, or moves to another, only where enough others do.
    pub(crate) fn check_drain(&mut self, before: &State, after: &State, keys: &[RowKey], id: InstanceId) -> Result<(), String> {
        let told = |cause: StopCause| {
            move |id: InstanceId| {
                let now = after.instance(id).is_some_and(|i| i.goal > Goal::Run && i.stop_cause == Some(cause));
                now && before.instance(id).is_some_and(|i| i.goal == Goal::Run)
            }
        };
        let moved = told(StopCause::Rebalanced);
        let leaves = |id: InstanceId| told(StopCause::Drained)(id) || moved(id);
        if !leaves(id) {
            return Ok(());
        }
        let count = if moved(id) { &mut self.summary.moved } else { &mut self.summary.drained };
        *count += 1;
        let (Some(old), Some(deployment)) =
            (before.instance(id), before.instance(id).and_then(|old| after.deployment(old.deployment)))
        else {
            return Ok(());
        };
        let due =
            !moved(id) && after.node(old.node).and_then(|node| node.drain).is_none_or(|drain| drain.deadline <= after.clock());
        // Of what is on a lost node nobody knows that it serves.
        if due || !before.serves(old, deployment) {
            return Ok(());
        }
        // Another action of the same plan may have ended some for another reason.
        let changed = keys.iter().filter_map(|key| if let RowKey::Instance(id) = key { Some(*id) } else { None });
        let otherwise = changed.filter(|id| {
            let goal = |state: &State| state.instance(*id).map(|i| (i.deployment, i.goal));
            goal(before) == Some((deployment.id, Goal::Run)) && goal(after) != goal(before) && !leaves(*id)
        });
        let serving = after.serving(deployment) + otherwise.count() as u32;
        if serving >= deployment.wanted() {
            return Ok(());
        }
        Err(format!("{id} left its node and {} of {} serve", serving, deployment.wanted()))
    }
}
