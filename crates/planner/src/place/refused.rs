//! Why no node takes an instance.

use ring_state::{Node, PlacementFailure, Unplaced, UnplacedReason};
use ring_types::{DeploymentSpec, NodeStatus};

/// Nothing fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Nodes by what speaks against them, most first.
    pub(crate) reasons: Vec<Unplaced>,
    /// No node of the cluster could hold it even if it were empty.
    pub(crate) never: bool,
}

impl Refused {
    /// As it is recorded, for so many instances.
    pub(crate) fn failure(&self, missing: u32) -> PlacementFailure {
        PlacementFailure { missing, reasons: self.reasons.clone() }
    }
}

/// The refusals of one search.
#[derive(Debug, Default)]
pub(super) struct Tally {
    reasons: Vec<Unplaced>,
    /// Nodes with the runtime that are too small even when empty.
    too_small: u32,
    /// Nodes that could hold it, or of which nobody knows yet.
    could_hold: u32,
}

impl Tally {
    pub(super) fn add(&mut self, node: &Node, reason: UnplacedReason, spec: &DeploymentSpec) {
        self.judge(node, spec);
        let Some(same) = self.reasons.iter_mut().find(|known| alike(&known.reason, &reason)) else {
            self.reasons.push(Unplaced { reason, nodes: 1 });
            return;
        };
        same.nodes += 1;
        // Alike and still greater: a larger gap, which is the one to tell.
        if reason > same.reason {
            same.reason = reason;
        }
    }

    fn judge(&mut self, node: &Node, spec: &DeploymentSpec) {
        let (cpu, memory) = spec.resources.reserved();
        let capacity = node.info.capacity;
        let has_runtime = node.info.runtimes.iter().any(|report| report.kind == spec.runtime);
        if node.status == NodeStatus::Joining || (has_runtime && capacity.cpu >= cpu && capacity.memory >= memory) {
            self.could_hold += 1;
        } else if has_runtime {
            self.too_small += 1;
        }
    }

    pub(super) fn refused(mut self) -> Refused {
        if self.reasons.is_empty() {
            self.reasons.push(Unplaced { reason: UnplacedReason::NoNodes, nodes: 0 });
        }
        self.reasons.sort_by(|a, b| b.nodes.cmp(&a.nodes).then_with(|| a.reason.cmp(&b.reason)));
        Refused { reasons: self.reasons, never: self.too_small > 0 && self.could_hold == 0 }
    }
}

/// The same reason but for its figures.
pub(crate) fn alike(a: &UnplacedReason, b: &UnplacedReason) -> bool {
    match (a, b) {
        (UnplacedReason::Cpu(_), UnplacedReason::Cpu(_)) | (UnplacedReason::Memory(_), UnplacedReason::Memory(_)) => true,
        _ => a == b,
    }
}
