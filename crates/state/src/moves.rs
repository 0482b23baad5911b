//! Moves of workers' instances to other nodes for an even spread: what was asked for, and how far it is.
//!
//! An instance that is to move says so in its own row. One of its deployment goes at a time: another instance begins on the node
//! it is to go to, and when that serves the first is told to end. Which are next follows from the rows.

use std::sync::Arc;

use ring_types::{Goal, InstanceId, Kind, NodeId, Span, Timestamp};

use crate::{Deployment, Instance, State};

/// An instance is to go to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Where another begins in its place.
    pub to: NodeId,
    /// Its place among all moves: what goes to the same node begins in this order.
    pub order: u64,
    /// If it has not gone by then it stays.
    pub until: Timestamp,
    /// What is to take its place was made.
    pub begun: bool,
}

/// Instances that are to move. What does not fit the facts any more is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebalance {
    /// In the order they are to begin; at most [`crate::limits::MOVES_PER_REBALANCE`].
    pub moves: Vec<Relocation>,
    /// What has not moved after so long stays where it is.
    pub within: Span,
}

/// One move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Which instance.
    pub instance: InstanceId,
    /// To which node.
    pub to: NodeId,
}

impl Instance {
    /// Its move, as long as it is wanted and may run.
    pub fn pending_move(&self) -> Option<&Move> {
        self.moving.as_deref().filter(|_| self.goal == Goal::Run && self.state.is_live())
    }
}

impl State {
    /// Live instances that are to move or, when they were told to end, still do; by id.
    pub fn moving(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.moving.iter().filter_map(|id| self.instances.get(id))
    }

    /// The instance of a deployment that moves, or is to move next.
    pub fn next_move(&self, deployment: &Deployment) -> Option<&Arc<Instance>> {
        if self.moving.is_empty() {
            return None;
        }
        let order = |i: &&Arc<Instance>| i.pending_move().map_or(u64::MAX, |pending| pending.order);
        self.instances_of(deployment.id).filter(|i| i.pending_move().is_some()).min_by_key(order)
    }

    /// For a moment there may be one more instance of it, for what takes another's place.
    pub(crate) fn is_giving_way(&self, deployment: &Deployment) -> bool {
        let moves = || deployment.spec.kind == Kind::Worker && self.next_move(deployment).is_some();
        deployment.may_surge() && (self.is_drained(deployment) || moves())
    }
}
