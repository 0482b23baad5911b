//! What speaks against a node.

use ring_state::{Deployment, Node, UnplacedReason, Usage};
use ring_types::{Constraint, DeploymentSpec, Level, NetworkMode, NodeId, NodeStatus, Port, VolumeDriver};

use super::{Own, Placer};

/// Agents of this level stop instances when they are cut off.
const STOPS_WHAT_IS_CUT_OFF: Level = Level(2);

/// A label of a node; what was set through the API wins over the agent's configuration.
pub(super) fn label<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.labels.get(key).or_else(|| node.info.labels.get(key)).map(String::as_str)
}

/// The most instances of one deployment that one node takes, all its versions together.
fn most_per_node(spec: &DeploymentSpec) -> Option<u32> {
    if spec.network == NetworkMode::Host { Some(1) } else { spec.placement.max_per_node }
}

impl Placer<'_> {
    /// The first thing that speaks against a node, the most lasting first.
    pub(super) fn refuses(&self, node: &Node, usage: Usage, deployment: &Deployment, own: &Own) -> Option<UnplacedReason> {
        let spec = &*deployment.spec;
        reachable(node)
            .or_else(|| runtime(node, spec))
            .or_else(|| agent(node, spec))
            .or_else(|| constraints(node, spec))
            .or_else(|| self.volume_elsewhere(node.id, spec))
            .or_else(|| (!node.schedulable).then_some(UnplacedReason::Cordoned))
            .or_else(|| room(node, usage, spec))
            .or_else(|| self.full(node.id, deployment, own))
            .or_else(|| self.port_taken(node.id, spec))
    }

    /// It has as many instances already as it is to have.
    fn full(&self, node: NodeId, deployment: &Deployment, own: &Own) -> Option<UnplacedReason> {
        let most = most_per_node(&deployment.spec)?;
        let there = own.on(node) + self.others_on(node, deployment);
        (there >= most).then_some(UnplacedReason::Full)
    }

    /// The first volume whose data is on another node.
    fn volume_elsewhere(&self, node: NodeId, spec: &DeploymentSpec) -> Option<UnplacedReason> {
        let local = self.state.mounted(spec).filter_map(|(_, volume)| volume).filter(|v| v.driver == VolumeDriver::Local);
        let mut tied = local.filter_map(|v| Some((v, v.node.or_else(|| self.volumes.get(&v.id).copied())?)));
        let (volume, holder) = tied.find(|(_, holder)| *holder != node)?;
        let holder = self.state.node(holder).map(|node| node.name.to_string());
        Some(UnplacedReason::Volume { volume: volume.name.to_string(), node: holder })
    }

    fn port_taken(&self, node: NodeId, spec: &DeploymentSpec) -> Option<UnplacedReason> {
        let taken = |port: &&Port| {
            let planned = self.ports.get(&node).into_iter().flatten().copied();
            let holders = self.state.publishing(node, port.published).filter(|i| !self.released.contains(&i.id));
            let running = holders.filter_map(|i| self.state.deployment(i.deployment)).map(|d| &*d.spec);
            planned.chain(running).any(|other| other.ports.iter().any(|theirs| clash(port, theirs)))
        };
        spec.ports.iter().find(taken).map(|port| UnplacedReason::Port(port.published))
    }
}

fn clash(a: &Port, b: &Port) -> bool {
    let any = |port: &Port| matches!(port.host_ip.as_str(), "" | "0.0.0.0" | "::");
    a.published == b.published && a.protocol == b.protocol && (any(a) || any(b) || a.host_ip == b.host_ip)
}

fn reachable(node: &Node) -> Option<UnplacedReason> {
    (node.status != NodeStatus::Ready).then_some(UnplacedReason::NotReady)
}

fn runtime(node: &Node, spec: &DeploymentSpec) -> Option<UnplacedReason> {
    let usable = node.info.runtimes.iter().any(|report| report.kind == spec.runtime && report.problem.is_none());
    (!usable).then(|| UnplacedReason::RuntimeMissing(spec.runtime.to_string()))
}

/// An agent that does not stop what it is to stop would leave it running beside what takes its place.
fn agent(node: &Node, spec: &DeploymentSpec) -> Option<UnplacedReason> {
    let too_old = spec.stop_on_disconnect.is_some() && node.info.level < STOPS_WHAT_IS_CUT_OFF;
    too_old.then_some(UnplacedReason::AgentTooOld)
}

/// What the deployment says of nodes keeps this one out.
pub(super) fn ruled_out(node: &Node, spec: &DeploymentSpec) -> bool {
    unnamed(node, spec) || broken(node, spec).is_some()
}

fn constraints(node: &Node, spec: &DeploymentSpec) -> Option<UnplacedReason> {
    if unnamed(node, spec) {
        return Some(UnplacedReason::Constraint(format!("node in {}", spec.placement.nodes.join(", "))));
    }
    broken(node, spec).map(|constraint| UnplacedReason::Constraint(constraint.to_string()))
}

fn unnamed(node: &Node, spec: &DeploymentSpec) -> bool {
    let named = &spec.placement.nodes;
    !named.is_empty() && !named.iter().any(|name| name == node.name.as_str())
}

fn broken<'s>(node: &Node, spec: &'s DeploymentSpec) -> Option<&'s Constraint> {
    spec.placement.constraints.iter().find(|c| (label(node, &c.label) == Some(c.value.as_str())) != c.equal)
}

/// The same sum the state checks the binding with.
fn room(node: &Node, usage: Usage, spec: &DeploymentSpec) -> Option<UnplacedReason> {
    let (cpu, memory) = spec.resources.reserved();
    let gap = |used: u64, wanted: u64, capacity: u64| used.saturating_add(wanted).saturating_sub(capacity.max(used));
    let cpu_gap = gap(usage.cpu.0, cpu.0, node.info.capacity.cpu.0);
    let memory_gap = gap(usage.memory.0, memory.0, node.info.capacity.memory.0);
    if cpu_gap > 0 {
        return Some(UnplacedReason::Cpu(cpu_gap));
    }
    (memory_gap > 0).then_some(UnplacedReason::Memory(memory_gap))
}
