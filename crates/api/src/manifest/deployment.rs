//! One deployment of a manifest.

use std::collections::BTreeMap;

use ring_types::{
    Autoscale, Dependency, DependencyCondition, DeploymentSpec, Kind, Name, NetworkMode, OnNodeLoss, Placement, RestartPolicy,
    Rule, RuntimeKind, Spread, validate,
};

use super::DeploymentEntry;
use super::fields;
use super::parts;
use super::reader::{At, Fields, Reader};
use super::tree::{Node, Value};

/// Reads one deployment as far as it goes; None when a mistake keeps it from being one. Its mistakes are in `reader`.
pub(super) fn read(reader: &mut Reader, label: &str, node: &Node) -> Option<DeploymentEntry> {
    let at = At::new(format!("deployments.{label}"), "deployment");
    let fields = reader.fields(node, &at, &fields::DEPLOYMENT)?;
    let name = self::name(reader, &fields, "name");
    let namespace = self::name(reader, &fields, "namespace");
    let mut entry = body(reader, label, &fields, name.as_ref(), namespace.as_ref())?;
    rules(reader, &mut entry, &at, node);
    let (name, namespace) = (name?, namespace?);
    entry.spec.name = name;
    entry.spec.namespace = namespace;
    Some(entry)
}

/// A required name.
pub(super) fn name(reader: &mut Reader, fields: &Fields<'_>, field: &str) -> Option<Name> {
    let Some((node, at)) = fields.get(field) else {
        reader.fail(&fields.at.field(field), fields.line, Rule::Required, format_args!("{field} is required"));
        return None;
    };
    let text = reader.text(node, &at)?;
    let name = Name::new(&text).map_err(|error| format!("'{text}' is not a name: it {error}"));
    reader.parsed(name, node, &at)
}

/// The rest of a deployment. A stand-in takes the place of a name that is missing or wrong, so that the rest is checked.
fn body(
    reader: &mut Reader,
    label: &str,
    fields: &Fields<'_>,
    name: Option<&Name>,
    namespace: Option<&Name>,
) -> Option<DeploymentEntry> {
    let stand_in = Name::new("unnamed").ok()?;
    let kind = parse(reader, fields, "kind").unwrap_or(Kind::Worker);
    let runtime = parse(reader, fields, "runtime").unwrap_or(RuntimeKind::Docker);
    let (name, namespace) = (name.unwrap_or(&stand_in), namespace.unwrap_or(&stand_in));
    let mut spec = DeploymentSpec::new(namespace.clone(), name.clone(), kind, runtime, "");
    let mut entry =
        DeploymentEntry { label: label.to_owned(), spec: spec.clone(), registry_password: None, warnings: Vec::new() };
    shape(reader, fields, &mut spec, &mut entry.warnings);
    contents(reader, fields, &mut spec, &mut entry.warnings);
    policies(reader, fields, &mut spec);
    if let Some((node, at)) = fields.get("config") {
        (spec.config, entry.registry_password) = parts::image_config(reader, node, &at);
    }
    entry.spec = spec;
    Some(entry)
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(reader: &mut Reader, fields: &Fields<'_>, field: &str) -> Option<T> {
    let (node, at) = fields.get(field)?;
    reader.parse(node, &at)
}

const U32: u64 = u32::MAX as u64;

fn shape(reader: &mut Reader, fields: &Fields<'_>, spec: &mut DeploymentSpec, warnings: &mut Vec<String>) {
    if let Some((node, at)) = fields.get("image") {
        spec.image = reader.text(node, &at).unwrap_or_default();
    }
    if let Some((node, at)) = fields.get("replicas") {
        spec.replicas = reader.integer(node, &at, U32).unwrap_or(1);
    }
    if spec.kind == Kind::Job && spec.replicas != 1 {
        warnings.push(format!("a job runs one instance; replicas: {} is not used", spec.replicas));
        spec.replicas = 1;
    }
    if let Some((node, at)) = fields.get("command") {
        spec.command = command(reader, node, &at);
    }
    if let Some((node, at)) = fields.get("network") {
        spec.network = network(reader, node, &at).unwrap_or_default();
    }
}

fn contents(reader: &mut Reader, fields: &Fields<'_>, spec: &mut DeploymentSpec, warnings: &mut Vec<String>) {
    if let Some((node, at)) = fields.get("environment") {
        spec.environment = parts::environment(reader, node, &at);
    }
    if let Some((node, at)) = fields.get("ports") {
        spec.ports = reader.list(node, &at, parts::port);
    }
    if let Some((node, at)) = fields.get("volumes") {
        spec.volumes = reader.list(node, &at, |reader, node, at| parts::volume(reader, node, at, warnings));
    }
    if let Some((node, at)) = fields.get("labels") {
        spec.labels = parts::labels(reader, node, &at);
    }
    if let Some((node, at)) = fields.get("resources") {
        spec.resources = parts::resources(reader, node, &at).unwrap_or_default();
    }
    if let Some((node, at)) = fields.get("health_checks") {
        spec.health_checks = reader.list(node, &at, parts::health_check);
    }
}

fn policies(reader: &mut Reader, fields: &Fields<'_>, spec: &mut DeploymentSpec) {
    if let Some((node, at)) = fields.get("autoscale") {
        spec.autoscale = autoscale(reader, node, &at);
    }
    if let Some((node, at)) = fields.get("placement") {
        spec.placement = placement(reader, node, &at).unwrap_or_default();
    }
    if let Some((node, at)) = fields.get("restart") {
        spec.restart = restart(reader, node, &at).unwrap_or_default();
    }
    if let Some((node, at)) = fields.get("retries") {
        spec.retries = reader.integer(node, &at, U32).unwrap_or(0);
    }
    if let Some((node, at)) = fields.get("depends_on") {
        spec.depends_on = reader.list(node, &at, dependency);
    }
    spec.timeout = parse(reader, fields, "timeout");
    spec.on_node_loss = parse::<OnNodeLoss>(reader, fields, "on_node_loss").unwrap_or(spec.on_node_loss);
    spec.stop_grace = parse(reader, fields, "stop_grace").unwrap_or(spec.stop_grace);
    spec.stop_on_disconnect = parse(reader, fields, "stop_on_disconnect");
}

/// The rules of `ring_types`, with paths from the top and lines.
fn rules(reader: &mut Reader, entry: &mut DeploymentEntry, at: &At, node: &Node) {
    for mut violation in validate(&entry.spec) {
        let line = line_of(node, &violation.property_path);
        if line > 0 {
            violation.message = format!("{} (line {line})", violation.message);
        }
        violation.property_path = format!("{}.{}", at.path, violation.property_path);
        let known = reader.violations.iter().any(|v| v.property_path == violation.property_path);
        if !known {
            reader.keep(violation);
        }
    }
}

/// The line of a path such as `ports[1].published`, or of the deepest part of it that was written.
fn line_of(node: &Node, path: &str) -> u32 {
    let mut here = node;
    for part in path.split(['.', '[']) {
        let next = match (&here.value, part.strip_suffix(']').map(str::parse::<usize>)) {
            (Value::List(items), Some(Ok(index))) => items.get(index),
            _ => here.get(part),
        };
        match next {
            Some(next) => here = next,
            None => break,
        }
    }
    here.line
}

fn command(reader: &mut Reader, node: &Node, at: &At) -> Vec<String> {
    match &node.value {
        Value::Text(text) => {
            let split = shlex::split(text).ok_or_else(|| format!("'{text}' has a quote without its end"));
            reader.parsed(split, node, at).unwrap_or_default()
        }
        _ => reader.list(node, at, Reader::scalar),
    }
}

fn network(reader: &mut Reader, node: &Node, at: &At) -> Option<NetworkMode> {
    let fields = reader.fields(node, at, &fields::NETWORK)?;
    parse(reader, &fields, "mode")
}

fn autoscale(reader: &mut Reader, node: &Node, at: &At) -> Option<Autoscale> {
    let fields = reader.fields(node, at, &fields::AUTOSCALE)?;
    let mut field = |name: &str| {
        let (node, at) = parts::required(reader, &fields, name)?;
        reader.integer(node, &at, U32)
    };
    let (min, max, target_cpu) = (field("min"), field("max"), field("target_cpu"));
    Some(Autoscale { min: min?, max: max?, target_cpu: target_cpu? })
}

fn placement(reader: &mut Reader, node: &Node, at: &At) -> Option<Placement> {
    let fields = reader.fields(node, at, &fields::PLACEMENT)?;
    let mut placement = Placement::default();
    if let Some((node, at)) = fields.get("nodes") {
        placement.nodes = reader.list(node, &at, Reader::text);
    }
    if let Some((node, at)) = fields.get("constraints") {
        placement.constraints = reader.list(node, &at, Reader::parse);
    }
    if let Some((node, at)) = fields.get("spread") {
        placement.spread = reader.text(node, &at).map(Spread::from).unwrap_or_default();
    }
    if let Some((node, at)) = fields.get("max_per_node") {
        placement.max_per_node = reader.integer(node, &at, U32);
        if placement.max_per_node == Some(0) {
            reader.fail(&at, node.line, Rule::Zero, "max_per_node must be at least 1");
        }
    }
    Some(placement)
}

fn restart(reader: &mut Reader, node: &Node, at: &At) -> Option<RestartPolicy> {
    let fields = reader.fields(node, at, &fields::RESTART)?;
    let mut policy = RestartPolicy::default();
    if let Some((node, at)) = fields.get("max") {
        policy.max = reader.integer(node, &at, U32)?;
    }
    policy.backoff = parse(reader, &fields, "backoff").unwrap_or(policy.backoff);
    policy.max_backoff = parse(reader, &fields, "max_backoff").unwrap_or(policy.max_backoff);
    Some(policy)
}

fn dependency(reader: &mut Reader, node: &Node, at: &At) -> Option<Dependency> {
    let fields = reader.fields(node, at, &fields::DEPENDENCY)?;
    let deployment = name(reader, &fields, "deployment")?.as_str().to_owned();
    let condition: DependencyCondition = parse(reader, &fields, "condition").unwrap_or_default();
    Some(Dependency { deployment, condition })
}

/// Labels of the deployments that wait for each other, in a circle; empty when there is none.
pub(super) fn cycle(entries: &[DeploymentEntry]) -> Vec<String> {
    let mut by_name = BTreeMap::new();
    for (i, entry) in entries.iter().enumerate() {
        by_name.insert((entry.spec.namespace.as_str(), entry.spec.name.as_str()), i);
    }
    let next = |i: usize| {
        let spec = &entries[i].spec;
        spec.depends_on.iter().filter_map(|d| by_name.get(&(spec.namespace.as_str(), d.deployment.as_str())).copied()).collect()
    };
    // What nobody in the rest waits for is taken away until nothing more goes: what stays is in, or behind, a circle.
    let edges: Vec<Vec<usize>> = (0..entries.len()).map(next).collect();
    let mut waiters: Vec<Vec<usize>> = vec![Vec::new(); entries.len()];
    let mut left: Vec<usize> = edges.iter().map(Vec::len).collect();
    for (from, to) in edges.iter().enumerate().flat_map(|(from, all)| all.iter().map(move |to| (from, *to))) {
        waiters[to].push(from);
    }
    let mut free: Vec<usize> = (0..entries.len()).filter(|i| left[*i] == 0).collect();
    while let Some(done) = free.pop() {
        for waiter in &waiters[done] {
            left[*waiter] -= 1;
            if left[*waiter] == 0 {
                free.push(*waiter);
            }
        }
    }
    (0..entries.len()).filter(|i| left[*i] > 0).map(|i| entries[i].label.clone()).collect()
}
