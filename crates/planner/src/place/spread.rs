//! What the move of an instance to another node would better, by the same score that chooses a node for a new one.

use ring_state::{Deployment, Node};
use ring_types::{InstanceId, NodeId, Spread};

use super::filter::label;
use super::refused::Tally;
use super::score::{self, Score};
use super::{Own, Placer, Refused, without};

/// An instance moves for its node's load alone when the two nodes differ by so many thousandths of the scarcer resource.
const MARGIN: u64 = 200;

/// By what a move makes the spread more even. Counts are before the move, the instance itself included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gain {
    /// Instances of the deployment with one value of the label it is spread over, and with the other.
    Label { key: String, from: (String, u32), to: (String, u32) },
    /// Instances of the deployment on the nodes.
    Own { from: u32, to: u32 },
    /// Thousandths of the scarcer resource that are set aside: on the one node with it, on the other with it.
    Load { from: u64, to: u64 },
    /// Instances of anybody on the nodes.
    Instances { from: u32, to: u32 },
}

impl Gain {
    /// It is about how the instances of one deployment are spread.
    pub(crate) fn is_of_spread(&self) -> bool {
        matches!(self, Self::Label { .. } | Self::Own { .. })
    }
}

impl<'a> Placer<'a> {
    /// Whether this node takes one more instance.
    pub(crate) fn takes(&self, node: NodeId, deployment: &Deployment, own: &Own) -> bool {
        let node = self.state.node(node);
        node.is_some_and(|node| self.refuses(node, self.usage(node.id), deployment, own).is_none())
    }

    /// As [`Self::place`], on this node.
    pub(crate) fn place_on(&mut self, node: NodeId, deployment: &'a Deployment, own: &mut Own) -> Result<NodeId, Refused> {
        let mut tally = Tally::default();
        if let Some(node) = self.state.node(node) {
            let Some(reason) = self.refuses(node, self.usage(node.id), deployment, own) else {
                self.take(node, deployment, own);
                return Ok(node.id);
            };
            tally.add(node, reason, &deployment.spec);
        }
        Err(tally.refused())
    }

    /// The node placement would choose for an instance that is on `from`, if that is a better one.
    pub(crate) fn better(&self, deployment: &Deployment, own: &Own, from: &Node) -> Option<(&'a Node, Gain)> {
        let rest = own.without(from, &deployment.spec);
        let mut best: Option<(Score, &'a Node)> = None;
        for node in self.state.nodes().filter(|node| node.id != from.id) {
            let usage = self.usage(node.id);
            if self.refuses(node, usage, deployment, own).is_some() {
                continue;
            }
            let score = score::score(node, usage, &deployment.spec, &rest);
            if best.as_ref().is_none_or(|(least, _)| score < *least) {
                best = Some((score, node));
            }
        }
        let (_, to) = best?;
        self.gain(deployment, own, from, to).map(|gain| (to, gain))
    }

    /// What is better when an instance of the deployment is on `to` rather than on `from`, where it is counted now.
    ///
    /// Each gain makes something smaller that no other one makes larger again: the sum of the squares of a deployment's counts,
    /// by label and by node, then the larger of two loads, or the sum of the squares of the nodes' counts. So moves come to an end.
    pub(crate) fn gain(&self, deployment: &Deployment, own: &Own, from: &Node, to: &Node) -> Option<Gain> {
        let spec = &*deployment.spec;
        let rest = own.without(from, spec);
        let stay = score::score(from, without(self.usage(from.id), deployment), spec, &rest);
        let go = score::score(to, self.usage(to.id), spec, &rest);
        if stay.group != go.group {
            let Spread::Label(key) = &spec.placement.spread else { return None };
            let value = |node: &Node| label(node, key).unwrap_or_default().to_owned();
            let (from, to) = ((value(from), stay.group + 1), (value(to), go.group));
            return (go.group < stay.group).then(|| Gain::Label { key: key.clone(), from, to });
        }
        if stay.own != go.own {
            return (go.own < stay.own).then_some(Gain::Own { from: stay.own + 1, to: go.own });
        }
        let (cpu, memory) = spec.resources.reserved();
        if cpu.0 == 0 && memory.0 == 0 {
            // It weighs nothing, so only the counts get more even.
            let better = go.load <= stay.load && go.instances < stay.instances;
            return better.then_some(Gain::Instances { from: stay.instances + 1, to: go.instances });
        }
        (stay.load >= go.load + MARGIN).then_some(Gain::Load { from: stay.load, to: go.load })
    }

    /// The instances of the deployment would be spread less evenly. Loads and counts of whole nodes are no matter here: they are
    /// between two states while others move.
    pub(crate) fn spoils(&self, deployment: &Deployment, own: &Own, from: &Node, to: &Node) -> bool {
        let (spec, rest) = (&*deployment.spec, own.without(from, &deployment.spec));
        let spread = |node: &Node| {
            let score = score::score(node, self.usage(node.id), spec, &rest);
            (score.group, score.own)
        };
        spread(to) > spread(from)
    }

    /// Moves an instance in what is counted here: it is taken to be on the other node, and its share of the first is free.
    pub(crate) fn shift(&mut self, instance: InstanceId, deployment: &'a Deployment, own: &mut Own, (from, to): (&Node, &Node)) {
        if let Some(there) = self.state.instance(instance).filter(|_| !self.released.contains(&instance)) {
            self.release(there);
        } else {
            // It was moved here before.
            self.used.insert(from.id, without(self.usage(from.id), deployment));
            if let Some(planned) = self.ports.get_mut(&from.id)
                && let Some(index) = planned.iter().position(|spec| std::ptr::eq(*spec, &raw const *deployment.spec))
            {
                planned.swap_remove(index);
            }
        }
        *own = own.without(from, &deployment.spec);
        self.take(to, deployment, own);
    }
}
