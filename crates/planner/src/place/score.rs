//! Which of the nodes that fit is the best.

use ring_state::{Node, Usage};
use ring_types::{DeploymentSpec, Spread};

use super::{Own, filter::label};

/// Less is better; compared field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    /// Instances of the same deployment that share the label's value.
    pub(super) group: u32,
    /// Instances of the same deployment on the node.
    pub(super) own: u32,
    /// The scarcer resource after the placement, in thousandths of the capacity.
    pub(super) load: u64,
    /// Instances of anybody on the node.
    pub(super) instances: u32,
}

pub(super) fn score(node: &Node, usage: Usage, spec: &DeploymentSpec, own: &Own) -> Score {
    let group = match &spec.placement.spread {
        Spread::Node => 0,
        Spread::Label(key) => own.in_group(label(node, key).unwrap_or_default()),
    };
    Score { group, own: own.on(node.id), load: load(node, usage, spec), instances: usage.instances }
}

fn load(node: &Node, usage: Usage, spec: &DeploymentSpec) -> u64 {
    let (cpu, memory) = spec.resources.reserved();
    let capacity = node.info.capacity;
    let cpu = thousandths(usage.cpu.0.saturating_add(cpu.0), capacity.cpu.0);
    cpu.max(thousandths(usage.memory.0.saturating_add(memory.0), capacity.memory.0))
}

fn thousandths(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    // Memory in bytes times 1000 would overflow only past 16 PiB; shifting both keeps the ratio.
    let (part, whole) = if part > u64::MAX / 1000 { (part >> 10, (whole >> 10).max(1)) } else { (part, whole) };
    part * 1000 / whole
}
