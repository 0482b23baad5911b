//! From a workload to the container an engine is asked for.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, Mount, NetworkingConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use ring_runtime::Workload;
use ring_types::{DeploymentSpec, NetworkMode, NodeId, Port, StartFailure, UserConfig};

use crate::marks;

/// The container of a workload. Its image, network and volumes are taken as there.
pub(crate) fn container(workload: &Workload, node: Option<NodeId>, mounts: Vec<Mount>) -> ContainerCreateBody {
    let spec = &*workload.spec;
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: (!spec.command.is_empty()).then(|| spec.command.clone()),
        env: Some(workload.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(marks::labels(workload, node)),
        user: user(spec.config.user),
        exposed_ports: Some(spec.ports.iter().map(target).collect()),
        stop_timeout: i64::try_from(spec.stop_grace.0.div_ceil(1000)).ok(),
        host_config: Some(host_config(spec, mounts)),
        networking_config: networking(spec),
        healthcheck: crate::health::config(spec),
        ..ContainerCreateBody::default()
    }
}

fn host_config(spec: &DeploymentSpec, mounts: Vec<Mount>) -> HostConfig {
    let limits = spec.resources.limits;
    let memory = limits.memory.and_then(|memory| i64::try_from(memory.0).ok());
    HostConfig {
        network_mode: Some(match spec.network {
            NetworkMode::Bridge => marks::network_name(&spec.namespace),
            NetworkMode::Host => "host".to_owned(),
        }),
        port_bindings: Some(bindings(&spec.ports)),
        mounts: Some(mounts),
        nano_cpus: limits.cpu.and_then(|cpu| i64::try_from(cpu.0.saturating_mul(1_000_000)).ok()),
        memory,
        // The same figure: no swap on top.
        memory_swap: memory,
        privileged: Some(spec.config.user.privileged),
        // Restarts are decided by ring, never by an engine.
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        ..HostConfig::default()
    }
}

/// The deployment's name leads to it in the network of the namespace.
fn networking(spec: &DeploymentSpec) -> Option<NetworkingConfig> {
    let alias = EndpointSettings { aliases: Some(vec![spec.name.to_string()]), ..EndpointSettings::default() };
    let endpoints = HashMap::from([(marks::network_name(&spec.namespace), alias)]);
    (spec.network == NetworkMode::Bridge).then_some(NetworkingConfig { endpoints_config: Some(endpoints) })
}

fn user(user: UserConfig) -> Option<String> {
    match (user.id, user.group) {
        (None, None) => None,
        (Some(id), None) => Some(id.to_string()),
        (id, Some(group)) => Some(format!("{}:{group}", id.unwrap_or(0))),
    }
}

fn target(port: &Port) -> String {
    format!("{}/{}", port.target, port.protocol)
}

fn bindings(ports: &[Port]) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in ports {
        let binding = PortBinding { host_ip: Some(port.host_ip.clone()), host_port: Some(port.published.to_string()) };
        bindings.entry(target(port)).or_default().get_or_insert_default().push(binding);
    }
    bindings
}

/// What a refusal of the engine means for whoever waits for the instance.
pub(crate) fn cause(message: &str) -> StartFailure {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["no such image"]) {
        StartFailure::ImageNotFound
    } else if says(&["port is already allocated", "address already in use", "network", "cannot assign requested address"]) {
        StartFailure::Network
    } else if says(&["mount", "bind source path", "volume", "no space left"]) {
        StartFailure::FileSystem
    } else {
        StartFailure::Create
    }
}

#[cfg(test)]
pub(crate) mod tests;
