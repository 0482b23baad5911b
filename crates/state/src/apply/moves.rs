//! Moves of instances to other nodes.

use ring_types::{Goal, InstanceId, Kind};

use super::{Done, Tx};
use crate::{Deployment, Instance, Move, Rebalance, Refusal, RefusalCode, Relocation, Reply, limits};

impl Tx<'_> {
    pub(super) fn rebalance(&mut self, wanted: &Rebalance) -> Done {
        if wanted.moves.len() > limits::MOVES_PER_REBALANCE {
            let message = format!("at most {} instances move at once", limits::MOVES_PER_REBALANCE);
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        let last = self.state.moving().filter_map(|i| i.moving.as_deref()).map(|pending| pending.order).max();
        let mut order = last.map_or(0, |last| last + 1);
        let mut skipped = 0;
        for one in &wanted.moves {
            if !self.can_move(one) {
                skipped += 1;
                continue;
            }
            let pending = Move { to: one.to, order, until: self.at + wanted.within, begun: false };
            self.set_move(one.instance, Some(pending));
            order += 1;
        }
        Ok(Reply::Planned { skipped })
    }

    fn can_move(&self, wanted: &Relocation) -> bool {
        let Some(instance) = self.state.instance(wanted.instance) else { return false };
        let worker = self.state.deployment(instance.deployment);
        let worker = worker.is_some_and(|d| d.spec.kind == Kind::Worker && !d.deleting && d.may_surge());
        let free = instance.goal == Goal::Run && instance.state.is_live() && instance.moving.is_none();
        worker && free && instance.node != wanted.to && self.state.node(wanted.to).is_some()
    }

    fn set_move(&mut self, id: InstanceId, pending: Option<Move>) {
        if let Some(instance) = self.state.instance(id).cloned() {
            self.put_instance(Instance { moving: pending.map(Box::new), ..Instance::clone(&instance) });
        }
    }

    /// One was made beyond those that are wanted: what takes the place of the one that moves next.
    pub(super) fn begin_move(&mut self, deployment: &Deployment) {
        let Some(instance) = self.state.next_move(deployment).cloned() else { return };
        let wanted = self.state.instances_of(deployment.id).filter(|i| i.goal == Goal::Run && i.state.is_live()).count();
        if let Some(pending) = instance.moving.as_deref().filter(|_| wanted > deployment.wanted() as usize)
            && !self.state.is_drained(deployment)
        {
            self.set_move(instance.id, Some(Move { begun: true, ..*pending }));
        }
    }

    pub(super) fn drop_move(&mut self, id: InstanceId) -> bool {
        let moves = self.state.instance(id).is_some_and(|i| i.moving.is_some() && i.goal == Goal::Run);
        if moves {
            self.set_move(id, None);
        }
        moves
    }

    /// It still is to move; and it does not serve, or others do in its place.
    pub(super) fn may_move(&self, instance: &Instance) -> bool {
        let Some(deployment) = self.state.deployment(instance.deployment) else { return true };
        let replaced = !self.state.serves(instance, deployment) || self.state.serving(deployment) > deployment.wanted();
        instance.moving.is_some() && replaced
    }
}
