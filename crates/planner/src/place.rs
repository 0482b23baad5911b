//! Placement: which node takes an instance, and when none does, why.
//!
//! Filters that can each explain a refusal come first, then a score: spread, then the least loaded. On a large cluster only
//! a sample is scored, from a place that moves on with every placement ("the power of a few choices"), so that the cost of a
//! placement does not grow with the number of nodes. That no node fits is only ever said after all have been asked.

mod filter;
mod own;
mod refused;
mod score;
mod spread;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ring_state::{Deployment, Instance, Node, State, Usage, may_run};
use ring_types::{
    Constraint, Cpu, DeploymentId, DeploymentSpec, InstanceId, Memory, NetworkMode, NodeId, RuntimeKind, VolumeDriver, VolumeId,
};

pub(crate) use own::Own;
use refused::Tally;
pub(crate) use refused::{Refused, alike};
pub(crate) use spread::Gain;

/// Nodes of which all are scored; on a larger cluster so many are looked at once one of them fits.
const SAMPLE: usize = 64;
/// Nodes that fit, of a larger cluster, that are enough to choose from.
const ENOUGH: usize = 16;

/// What makes two instances the same to every filter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    runtime: RuntimeKind,
    nodes: Vec<String>,
    constraints: Vec<Constraint>,
    cpu: Cpu,
    memory: Memory,
}

/// Places the instances of one plan; each placement sees what the ones before it took.
pub(crate) struct Placer<'a> {
    state: &'a State,
    used: BTreeMap<NodeId, Usage>,
    /// Deployments with published ports that this plan has put on a node.
    ports: BTreeMap<NodeId, Vec<&'a DeploymentSpec>>,
    /// Volumes this plan has put on a node.
    volumes: BTreeMap<VolumeId, NodeId>,
    cursor: Option<NodeId>,
    refused: BTreeMap<Likeness, Refused>,
    /// Instances that are taken to be gone.
    released: BTreeSet<InstanceId>,
    /// Instances this plan has put on a node.
    made: BTreeMap<(DeploymentId, NodeId), u32>,
    /// Other versions of a deployment do not count.
    alone: bool,
}

impl<'a> Placer<'a> {
    pub(crate) fn new(state: &'a State) -> Self {
        Self {
            state,
            used: BTreeMap::new(),
            ports: BTreeMap::new(),
            volumes: BTreeMap::new(),
            cursor: None,
            refused: BTreeMap::new(),
            released: BTreeSet::new(),
            made: BTreeMap::new(),
            alone: false,
        }
    }

    /// Takes an instance to be gone: its share of the node, and its ports.
    pub(crate) fn release(&mut self, instance: &Instance) {
        let deployment = self.state.deployment(instance.deployment).filter(|_| instance.holds());
        let Some(deployment) = deployment.filter(|_| self.released.insert(instance.id)) else { return };
        self.used.insert(instance.node, without(self.usage(instance.node), deployment));
        self.refused.clear();
    }

    /// Whether some node takes one more instance. Nothing is set aside.
    pub(crate) fn fits(&self, deployment: &Deployment, own: &Own) -> bool {
        self.state.nodes().any(|node| self.refuses(node, self.usage(node.id), deployment, own).is_none())
    }

    /// Whether the node of this instance, which is of another deployment, took one more if that were gone.
    pub(crate) fn fits_without(&mut self, deployment: &Deployment, own: &Own, gone: &Instance) -> bool {
        let Some(node) = self.state.node(gone.node) else { return false };
        let usage = self.usage(node.id);
        let theirs = self.state.deployment(gone.deployment).filter(|_| gone.holds() && !self.released.contains(&gone.id));
        let usage = theirs.map_or(usage, |theirs| without(usage, theirs));
        let first = self.released.insert(gone.id);
        let fits = self.refuses(node, usage, deployment, own).is_none();
        if first {
            self.released.remove(&gone.id);
        }
        fits
    }

    /// An instance of it was made by this plan.
    pub(crate) fn has_made(&self, deployment: DeploymentId) -> bool {
        let first = (deployment, NodeId(uuid::Uuid::nil()));
        self.made.range(first..).next().is_some_and(|((of, _), _)| *of == deployment)
    }

    /// As [`Self::place`], as if there were no other version of the deployment: for `max_per_node`.
    pub(crate) fn place_beside(&mut self, deployment: &'a Deployment, own: &mut Own) -> Result<NodeId, Refused> {
        self.alone = true;
        let placed = self.place(deployment, own);
        self.alone = false;
        placed
    }

    /// Chooses a node for one more instance and sets its share aside.
    pub(crate) fn place(&mut self, deployment: &'a Deployment, own: &mut Own) -> Result<NodeId, Refused> {
        let likeness = likeness(deployment);
        // Usage only grows within a plan, so what fitted nowhere still fits nowhere; `release` forgets it.
        if let Some(refused) = likeness.as_ref().and_then(|likeness| self.refused.get(likeness)) {
            return Err(refused.clone());
        }
        match self.choose(deployment, own) {
            Ok(node) => {
                self.take(node, deployment, own);
                Ok(node.id)
            }
            Err(refused) => {
                if let Some(likeness) = likeness {
                    self.refused.insert(likeness, refused.clone());
                }
                Err(refused)
            }
        }
    }

    fn choose(&mut self, deployment: &Deployment, own: &Own) -> Result<&'a Node, Refused> {
        let state = self.state;
        let count = state.node_count();
        let sampled = count > SAMPLE;
        // Why they are is put into words only when no node fits: of many nodes most may be ruled out for one placement.
        let mut ruled_out: Vec<&Node> = Vec::new();
        let mut tally = Tally::default();
        let mut best: Option<(score::Score, &'a Node)> = None;
        let (mut seen, mut fitting) = (0, 0);
        let start = if sampled { self.start() } else { NodeId(uuid::Uuid::nil()) };
        let nodes = state.nodes_from(start);
        for node in nodes {
            if sampled && (fitting >= ENOUGH || (fitting > 0 && seen >= SAMPLE)) {
                self.cursor = Some(node.id);
                break;
            }
            seen += 1;
            if filter::ruled_out(node, &deployment.spec) {
                ruled_out.push(node);
                continue;
            }
            let usage = self.usage(node.id);
            if let Some(reason) = self.refuses(node, usage, deployment, own) {
                tally.add(node, reason, &deployment.spec);
                continue;
            }
            fitting += 1;
            let score = score::score(node, usage, &deployment.spec, own);
            if best.as_ref().is_none_or(|(least, _)| score < *least) {
                best = Some((score, node));
            }
        }
        if let Some((_, node)) = best {
            return Ok(node);
        }
        for node in ruled_out {
            if let Some(reason) = self.refuses(node, self.usage(node.id), deployment, own) {
                tally.add(node, reason, &deployment.spec);
            }
        }
        Err(tally.refused())
    }

    /// Where looking begins: where the last placement of this plan stopped, and for the first one at a point that differs
    /// from plan to plan. Nodes have random ids, so that any point is as near to one of them as to another.
    fn start(&mut self) -> NodeId {
        let revision = self.state.revision().0;
        *self.cursor.get_or_insert_with(|| NodeId(uuid::Uuid::from_u64_pair(scatter(revision), 0)))
    }

    fn usage(&self, node: NodeId) -> Usage {
        self.used.get(&node).copied().unwrap_or_else(|| self.state.usage(node))
    }

    fn take(&mut self, node: &Node, deployment: &'a Deployment, own: &mut Own) {
        let mut usage = self.usage(node.id);
        let (cpu, memory) = deployment.spec.resources.reserved();
        usage.cpu.0 = usage.cpu.0.saturating_add(cpu.0);
        usage.memory.0 = usage.memory.0.saturating_add(memory.0);
        usage.instances += 1;
        self.used.insert(node.id, usage);
        if !deployment.spec.ports.is_empty() {
            self.ports.entry(node.id).or_default().push(&deployment.spec);
        }
        let local = self.state.mounted(&deployment.spec).filter_map(|(_, volume)| volume);
        for volume in local.filter(|volume| volume.driver == VolumeDriver::Local && volume.node.is_none()) {
            self.volumes.entry(volume.id).or_insert(node.id);
        }
        *self.made.entry((deployment.id, node.id)).or_default() += 1;
        own.add(Some(node), node.id, &deployment.spec);
    }

    /// Live instances on a node of other versions of a deployment.
    fn others_on(&self, node: NodeId, deployment: &Deployment) -> u32 {
        if self.alone {
            return 0;
        }
        let named = self.state.deployments_named(&deployment.spec.namespace, &deployment.spec.name);
        let others = named.filter(|other| other.id != deployment.id).map(|other| {
            let here = |i: &&Arc<Instance>| i.node == node && may_run(i) && !self.released.contains(&i.id);
            let running = self.state.instances_of(other.id).filter(here).count() as u32;
            running + self.made.get(&(other.id, node)).copied().unwrap_or(0)
        });
        others.sum()
    }
}

/// What is used of a node without an instance of this deployment.
fn without(mut usage: Usage, deployment: &Deployment) -> Usage {
    let (cpu, memory) = deployment.spec.resources.reserved();
    usage.cpu.0 = usage.cpu.0.saturating_sub(cpu.0);
    usage.memory.0 = usage.memory.0.saturating_sub(memory.0);
    usage.instances = usage.instances.saturating_sub(1);
    usage
}

/// Neighbouring numbers come far apart and every bit of them counts: the finalizer of SplitMix64 (Steele, Lea and Flood,
/// "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// None when the answer depends on more than what is compared.
fn likeness(deployment: &Deployment) -> Option<Likeness> {
    let spec = &deployment.spec;
    if spec.named_volumes().next().is_some() {
        return None;
    }
    if spec.placement.max_per_node.is_some() || spec.network == NetworkMode::Host || !spec.ports.is_empty() {
        return None;
    }
    let (cpu, memory) = spec.resources.reserved();
    let placement = &spec.placement;
    let (nodes, constraints) = (placement.nodes.clone(), placement.constraints.clone());
    Some(Likeness { runtime: spec.runtime, nodes, constraints, cpu, memory })
}
