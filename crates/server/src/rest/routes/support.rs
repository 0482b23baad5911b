//! What the hosts there are can never do is refused, with a code.

use ring_api::manifest::{DeploymentEntry, Manifest};
use ring_state::{Node, State};
use ring_types::{DeploymentSpec, Kind, NodeStatus, Rule, Violation};

/// Replicas that publish a port need a node each.
pub(super) fn ports_without_nodes(manifest: &Manifest, state: &State) -> Vec<Violation> {
    let crowded = |entry: &&DeploymentEntry| {
        let spec = &entry.spec;
        spec.kind == Kind::Worker && !spec.ports.is_empty() && spec.wanted() > 1
    };
    manifest.deployments.iter().filter(crowded).filter_map(|entry| too_few(entry, state)).collect()
}

fn too_few(entry: &DeploymentEntry, state: &State) -> Option<Violation> {
    let nodes = state.nodes().filter(|node| takes(node, &entry.spec)).count();
    let replicas = entry.spec.wanted();
    if nodes >= replicas as usize {
        return None;
    }
    let message =
        format!("each replica publishes a port of its node; {replicas} replicas need as many nodes, {nodes} can take it");
    let path = format!("deployments.{}.replicas", entry.label);
    Some(Violation::new(path, "deployment.ports.published", Rule::Nodes, message))
}

fn takes(node: &Node, spec: &DeploymentSpec) -> bool {
    let placement = &spec.placement;
    let labels = node.all_labels();
    node.status != NodeStatus::Lost
        && node.schedulable
        && node.info.runtimes.iter().any(|r| r.kind == spec.runtime)
        && (placement.nodes.is_empty() || placement.nodes.iter().any(|n| n == node.name.as_str()))
        && placement.constraints.iter().all(|c| c.allows(&labels))
}
