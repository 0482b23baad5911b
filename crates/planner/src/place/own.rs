//! Where the other instances of a deployment are.

use std::collections::BTreeMap;

use ring_state::{Node, State};
use ring_types::{DeploymentSpec, InstanceId, NodeId, Spread};

use super::filter::label;
use crate::view::View;

/// Live instances of a deployment by node, and by the value of the label they are spread over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    nodes: BTreeMap<NodeId, u32>,
    groups: BTreeMap<String, u32>,
}

impl Own {
    /// Counts what may still run.
    pub(crate) fn of(state: &State, spec: &DeploymentSpec, views: &[View<'_>]) -> Self {
        let mut own = Self::default();
        for view in views.iter().filter(|view| view.may_run()) {
            own.add(state.node(view.node).map(|node| &**node), view.node, spec);
        }
        own
    }

    /// As they will be when all have moved that are to move, but for one of them.
    pub(crate) fn after_moves(state: &State, spec: &DeploymentSpec, views: &[View<'_>], but: InstanceId) -> Self {
        let mut own = Self::default();
        for view in views.iter().filter(|view| view.may_run()) {
            let pending = view.pending_move().filter(|_| view.id != but);
            let node = pending.map_or(view.node, |pending| pending.to);
            own.add(state.node(node).map(|node| &**node), node, spec);
        }
        own
    }

    pub(super) fn add(&mut self, node: Option<&Node>, id: NodeId, spec: &DeploymentSpec) {
        *self.nodes.entry(id).or_default() += 1;
        if let (Some(node), Spread::Label(key)) = (node, &spec.placement.spread) {
            let value = label(node, key).unwrap_or_default();
            *self.groups.entry(value.to_owned()).or_default() += 1;
        }
    }

    /// As if one on this node were gone.
    pub(super) fn without(&self, node: &Node, spec: &DeploymentSpec) -> Self {
        let mut rest = self.clone();
        if let Some(count) = rest.nodes.get_mut(&node.id) {
            *count = count.saturating_sub(1);
        }
        if let Spread::Label(key) = &spec.placement.spread
            && let Some(count) = rest.groups.get_mut(label(node, key).unwrap_or_default())
        {
            *count = count.saturating_sub(1);
        }
        rest
    }

    pub(super) fn on(&self, node: NodeId) -> u32 {
        self.nodes.get(&node).copied().unwrap_or(0)
    }

    pub(super) fn in_group(&self, value: &str) -> u32 {
        self.groups.get(value).copied().unwrap_or(0)
    }
}
