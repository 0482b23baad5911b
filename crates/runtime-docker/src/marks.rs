//! The marks by which a container is known to be ours.

use std::collections::HashMap;

use ring_runtime::Workload;
use ring_types::{DeploymentId, InstanceId, Name, NodeId};

pub(crate) const DEPLOYMENT: &str = "ring_deployment";
pub(crate) const INSTANCE: &str = "ring_instance";
const GENERATION: &str = "ring_generation";
const NODE: &str = "ring_node";

/// The labels of a container: the workload's own, and ours over them.
pub(crate) fn labels(workload: &Workload, node: Option<NodeId>) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = workload.spec.labels.clone().into_iter().collect();
    labels.insert(DEPLOYMENT.to_owned(), workload.deployment.to_string());
    labels.insert(INSTANCE.to_owned(), workload.instance.to_string());
    labels.insert(GENERATION.to_owned(), workload.generation.to_string());
    labels.extend(node.map(|node| (NODE.to_owned(), node.to_string())));
    labels
}

/// The filter that finds our containers.
pub(crate) fn ours(node: Option<NodeId>) -> HashMap<String, Vec<String>> {
    let mut wanted = vec![INSTANCE.to_owned()];
    wanted.extend(node.map(|node| format!("{NODE}={node}")));
    HashMap::from([("label".to_owned(), wanted)])
}

/// The filter that finds the container of one instance.
pub(crate) fn one(instance: InstanceId) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("{INSTANCE}={instance}")])])
}

/// The instance that labels speak of.
pub(crate) fn instance(labels: &HashMap<String, String>) -> Option<InstanceId> {
    labels.get(INSTANCE)?.parse().ok()
}

/// The deployment that labels speak of.
pub(crate) fn deployment(labels: &HashMap<String, String>) -> Option<DeploymentId> {
    labels.get(DEPLOYMENT)?.parse().ok()
}

/// The name of a container. The last digits of the id are taken: the first are the time for ids made in order of time.
pub(crate) fn container_name(workload: &Workload) -> String {
    let id = workload.instance.0.as_u128();
    format!("{}_{}_{:08x}", workload.spec.namespace, workload.spec.name, id & 0xffff_ffff)
}

/// The network of a namespace.
pub(crate) fn network_name(namespace: &Name) -> String {
    format!("ring_{namespace}")
}
