//! What makes a specification invalid. Every rule is checked, so that one reply names all mistakes.

use std::collections::BTreeSet;

use crate::{
    CheckKind, DeploymentSpec, EnvValue, Kind, Name, NetworkMode, Permission, Rule, RuntimeKind, Span, Violation, Volume,
    VolumeDriver, VolumeKind,
};

/// Every rule `spec` breaks, in the order of its fields; paths are relative to the deployment. Empty means valid.
pub fn validate(spec: &DeploymentSpec) -> Vec<Violation> {
    let mut found = Vec::new();
    image(spec, &mut found);
    replicas(spec, &mut found);
    environment(spec, &mut found);
    ports(spec, &mut found);
    volumes(spec, &mut found);
    resources(spec, &mut found);
    checks(spec, &mut found);
    credentials(spec, &mut found);
    autoscale(spec, &mut found);
    cut_off(spec, &mut found);
    job_only(spec, &mut found);
    dependencies(spec, &mut found);
    found
}

fn image(spec: &DeploymentSpec, found: &mut Vec<Violation>) {
    if spec.image.trim().is_empty() && spec.runtime != RuntimeKind::Process {
        found.push(Violation::new("image", "deployment.image", Rule::Required, "image is required"));
    }
    if spec.image.chars().any(char::is_whitespace) {
        found.push(Violation::new("image", "deployment.image", Rule::Invalid, "image must not contain white space"));
    } else if spec.image.chars().any(char::is_control) {
        found.push(Violation::new("image", "deployment.image", Rule::Invalid, "image must not contain control characters"));
    }
    if spec.runtime == RuntimeKind::Process && spec.command.is_empty() {
        let message = "the process runtime has no image to take a command from: set command";
        found.push(Violation::new("command", "deployment.command", Rule::Required, message));
    }
}

/// More than this in one deployment is a mistake more often than a wish.
const MAX_REPLICAS: u32 = 10_000;

fn replicas(spec: &DeploymentSpec, found: &mut Vec<Violation>) {
    if spec.replicas > MAX_REPLICAS {
        let message = format!("replicas is {}, at most {MAX_REPLICAS} are allowed", spec.replicas);
        found.push(Violation::new("replicas", "deployment.replicas", Rule::TooMany, message));
    }
    if spec.network == NetworkMode::Host && spec.kind == Kind::Worker && spec.most() > 1 {
        let message = "with network mode host there is one replica: set replicas to 1 or use bridge";
        found.push(Violation::new("replicas", "deployment.network.host", Rule::Replicas, message));
    }
}

fn environment(spec: &DeploymentSpec, found: &mut Vec<Violation>) {
    for (name, value) in &spec.environment {
        let path = format!("environment.{name}");
        let mut chars = name.chars();
        let start = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !start || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let message = format!("'{name}' is not a variable name: letters, digits and '_' are allowed, no digit first");
            found.push(Violation::new(&path, "deployment.environment.name", Rule::Invalid, message));
        }
        let (EnvValue::Plain(text) | EnvValue::Secret(text)) = value;
        if text.contains('\0') {
            found.push(Violation::new(
                &path,
                "deployment.environment.value",
                Rule::Invalid,
                "a value must not contain a NUL byte",
            ));
        }
        if let EnvValue::Secret(secret) = value {
            secret_name(secret, &path, "deployment.environment.secret_ref", found);
        }
    }
}

fn secret_name(name: &str, path: &str, code: &str, found: &mut Vec<Violation>) {
    if name.is_empty() {
        found.push(Violation::new(path, code, Rule::Required, "the name of a secret is required"));
    } else if let Err(error) = Name::new(name) {
        let message = format!("'{name}' is not the name of a secret: it {error}");
        found.push(Violation::new(path, code, Rule::Invalid, message));
    }
}

fn ports(spec: &DeploymentSpec, found: &mut Vec<Violation>) {
    if spec.network == NetworkMode::Host && !spec.ports.is_empty() {
        let message = "with network mode host the instance has the host's ports already: remove ports or use bridge";
        found.push(Violation::new("ports", "deployment.network.host", Rule::Ports, message));
    }
    let mut seen = BTreeSet::new();
    for (i, port) in spec.ports.iter().enumerate() {
        if port.published == 0 || port.target == 0 {
            let message = "published and target must be between 1 and 65535";
            found.push(Violation::new(format!("ports[{i}]"), "deployment.ports", Rule::Range, message));
        }
        if !seen.insert((port.published, port.protocol)) {
            let message = format!("port {}/{} is published twice", port.published, port.protocol);
            found.push(Violation::new(format!("ports[{i}].published"), "deployment.ports.published", Rule::Duplicate, message));
        }
        if port.host_ip.parse::<std::net::IpAddr>().is_err() {
            let message = format!("'{}' is not an IP address", port.host_ip);
            found.push(Violation::new(format!("ports[{i}].host_ip"), "deployment.ports.host_ip", Rule::Invalid, message));
        }
    }
}

fn volumes(spec: &DeploymentSpec, found: &mut Vec<Violation>) {
    let mut destinations = BTreeSet::new();
    for (i, volume) in spec.volumes.iter().enumerate() {
        let path = |field: &str| format!("volumes[{i}].{field}");
        if !volume.destination.starts_with('/') {
            let message = "destination must be an absolute path";
            found.push(Violation::new(path("destination"), "deployment.volumes.destination", Rule::Absolute, message));
        }
        if !destinations.insert(volume.destination.trim_end_matches('/')) {
            let message = format!("'{}' is the destination of another mount already", volume.destination);
            found.push(Violation::new(path("destination"), "deployment.volumes.destination", Rule::Duplicate, message));
        }
        if volume.kind == VolumeKind::Config && volume.key.as_deref().is_none_or(str::is_empty) {
            let message = "a config mount needs the key to show";
            found.push(Violation::new(path("key"), "deployment.volumes.key", Rule::Required, message));
        }
        source(volume, &path("source"), found);
        let named = volume.kind == VolumeKind::Volume && !volume.source.is_empty();
        if named && volume.permission == Permission::ReadWrite && spec.most() > 1 {
            let message = "a named volume can be written by one replica only: set permission ro or replicas 1";
            found.push(Violation::new(path("permission"), "deployment.volumes.rw", Rule::Replicas, message));
        }
    }
}

fn source(volume: &Volume, path: &str, found: &mut Vec<Violation>) {
    let anonymous = volume.kind == VolumeKind::Volume && volume.driver == VolumeDriver::Local;
    if volume.source.is_empty() {
        if !anonymous {
            found.push(Violation::new(path, "deployment.volumes.source", Rule::Required, "source is required"));
        }
        return;
    }
    if volume.kind == VolumeKind::Bind {
        if !volume.source.starts_with('/') {
            let message = "the source of a bind mount must be an absolute path of the node";
            found.push(Violation::new(path, "deployment.volumes.source", Rule::Absolute, message));
        }
    } else if volume.export().is_none()
        && let Err(error) = Name::new(&volume.source)
    {
        let or = if volume.driver == VolumeDriver::Nfs { ", and not server:/path" } else { "" };
        let message = format!("'{}' is not the name of a {}: it {error}{or}", volume.source, volume.kind);
        found.push(Violation::new(path, "deployment.volumes.source", Rule::Invalid, message));
    }
}

fn resources(spec: &DeploymentSpec, found: &mut Vec<Violation>) {
    let (limits, requests) = (&spec.resources.limits, &spec.resources.requests);
    if let (Some(limit), Some(request)) = (limits.cpu, requests.cpu)
        && request > limit
    {
        let message = format!("the request {request} is above the limit {limit}");
        found.push(Violation::new("resources.requests.cpu", "deployment.resources.requests", Rule::AboveLimit, message));
    }
    if let (Some(limit), Some(request)) = (limits.memory, requests.memory)
        && request > limit
    {
        let message = format!("the request {request} is above the limit {limit}");
        found.push(Violation::new("resources.requests.memory", "deployment.resources.requests", Rule::AboveLimit, message));
    }
}

fn checks(spec: &DeploymentSpec, found: &mut Vec<Violation>) {
    for (i, check) in spec.health_checks.iter().enumerate() {
        let path = |field: &str| format!("health_checks[{i}].{field}");
        if check.readiness && spec.kind == Kind::Job {
            let message = "a job is never ready, it ends: remove readiness";
            found.push(Violation::new(path("readiness"), "deployment.health_checks.readiness", Rule::Job, message));
        }
        if check.interval.0 == 0 || check.timeout.0 == 0 || check.threshold == 0 {
            let message = "interval, timeout and threshold must be above zero";
            found.push(Violation::new(path("interval"), "deployment.health_checks", Rule::Zero, message));
        }
        match &check.kind {
            CheckKind::Tcp { port: 0 } => {
                found.push(Violation::new(path("port"), "deployment.health_checks.port", Rule::Range, "port must be above zero"));
            }
            CheckKind::Http { url } if !url.starts_with("http://") && !url.starts_with("https://") => {
                let message = format!("'{url}' is not an http or https URL");
                found.push(Violation::new(path("url"), "deployment.health_checks.url", Rule::Invalid, message));
            }
            CheckKind::Command { command } if command.trim().is_empty() => {
                found.push(Violation::new(
                    path("command"),
                    "deployment.health_checks.command",
                    Rule::Required,
                    "command is required",
                ));
            }
            _ => {}
        }
    }
}

fn credentials(spec: &DeploymentSpec, found: &mut Vec<Violation>) {
    let config = &spec.config;
    let sources = [config.username.is_some(), config.use_host_auth, config.image_pull_secret.is_some()];
    if sources.into_iter().filter(|set| *set).count() > 1 {
        let message = "give one source of registry credentials: username and password, use_host_auth, or image_pull_secret";
        found.push(Violation::new("config", "deployment.config.credentials", Rule::Ambiguous, message));
    }
    if let Some(name) = &config.image_pull_secret {
        secret_name(name, "config.image_pull_secret", "deployment.config.image_pull_secret", found);
    }
}

fn autoscale(spec: &DeploymentSpec, found: &mut Vec<Violation>) {
    let Some(auto) = spec.autoscale else { return };
    if spec.kind == Kind::Job {
        found.push(Violation::new("autoscale", "deployment.autoscale", Rule::Job, "a job has one instance: remove autoscale"));
    }
    if auto.min < 1 {
        found.push(Violation::new("autoscale.min", "deployment.autoscale", Rule::Min, "min must be at least 1"));
    }
    if auto.max < auto.min {
        found.push(Violation::new("autoscale.max", "deployment.autoscale", Rule::Max, "max must not be below min"));
    }
    if auto.max > MAX_REPLICAS {
        let message = format!("max is {}, at most {MAX_REPLICAS} are allowed", auto.max);
        found.push(Violation::new("autoscale.max", "deployment.autoscale.max", Rule::TooMany, message));
    }
    if auto.target_cpu == 0 || auto.target_cpu >= 100 {
        let message = "target_cpu must be between 0 and 100, both excluded";
        found.push(Violation::new("autoscale.target_cpu", "deployment.autoscale", Rule::TargetCpu, message));
    }
}

/// The least time without contact after which an instance may be stopped: shorter ones come with every change of leader.
const SHORTEST_DISCONNECT: Span = Span::seconds(10);

fn cut_off(spec: &DeploymentSpec, found: &mut Vec<Violation>) {
    let Some(limit) = spec.stop_on_disconnect.filter(|limit| *limit < SHORTEST_DISCONNECT) else { return };
    let message = format!("stop_on_disconnect is {limit}, at least {SHORTEST_DISCONNECT} is needed: leave it out for none");
    found.push(Violation::new("stop_on_disconnect", "deployment.stop_on_disconnect", Rule::Range, message));
}

/// Every attempt of a job is kept with what it wrote.
const MAX_RETRIES: u32 = 100;

fn job_only(spec: &DeploymentSpec, found: &mut Vec<Violation>) {
    if spec.kind == Kind::Job {
        if spec.timeout.is_some_and(|timeout| timeout.0 == 0) {
            found.push(Violation::new(
                "timeout",
                "deployment.timeout",
                Rule::Zero,
                "timeout must be above zero: leave it out for none",
            ));
        }
        if spec.retries > MAX_RETRIES {
            let message = format!("retries is {}, at most {MAX_RETRIES} are allowed: each attempt is kept", spec.retries);
            found.push(Violation::new("retries", "deployment.retries", Rule::TooMany, message));
        }
        return;
    }
    if spec.timeout.is_some() {
        found.push(Violation::new("timeout", "deployment.timeout", Rule::Worker, "timeout is for jobs: remove it"));
    }
    if spec.retries > 0 {
        found.push(Violation::new(
            "retries",
            "deployment.retries",
            Rule::Worker,
            "retries is for jobs: remove it or use restart",
        ));
    }
}

/// What waits for more than this is asked for by mistake more often than by need.
const MAX_DEPENDENCIES: usize = 100;

fn dependencies(spec: &DeploymentSpec, found: &mut Vec<Violation>) {
    if spec.depends_on.len() > MAX_DEPENDENCIES {
        let message = format!("{} dependencies, at most {MAX_DEPENDENCIES} are allowed", spec.depends_on.len());
        found.push(Violation::new("depends_on", "deployment.depends_on", Rule::TooMany, message));
    }
    let mut seen = BTreeSet::new();
    for (i, dependency) in spec.depends_on.iter().enumerate() {
        let path = format!("depends_on[{i}].deployment");
        let name = &dependency.deployment;
        if *name == spec.name.as_str() {
            found.push(Violation::new(&path, "deployment.depends_on", Rule::Cycle, format!("'{name}' cannot wait for itself")));
        }
        if !seen.insert(name) {
            found.push(Violation::new(path, "deployment.depends_on", Rule::Duplicate, format!("'{name}' is named twice")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Autoscale, Dependency, DependencyCondition, Port, Protocol, Span};

    fn spec() -> DeploymentSpec {
        DeploymentSpec::new(Name::new("ns").unwrap(), Name::new("web").unwrap(), Kind::Worker, RuntimeKind::Docker, "web:1")
    }

    fn codes(spec: &DeploymentSpec) -> Vec<String> {
        validate(spec).into_iter().map(|v| v.code).collect()
    }

    #[test]
    fn the_least_specification_is_valid() {
        assert_eq!(validate(&spec()), []);
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let mut spec = spec();
        spec.image = String::new();
        spec.replicas = 3;
        spec.network = NetworkMode::Host;
        let port = Port { published: 80, target: 80, host_ip: "0.0.0.0".into(), protocol: Protocol::Tcp };
        spec.ports = vec![port.clone(), port];
        spec.environment.insert("1A".into(), EnvValue::Plain("x".into()));
        assert_eq!(
            codes(&spec),
            [
                "deployment.image.required",
                "deployment.network.host.replicas",
                "deployment.environment.name.invalid",
                "deployment.network.host.ports",
                "deployment.ports.published.duplicate",
            ]
        );
    }

    #[test]
    fn what_only_jobs_have_is_bounded() {
        let mut job = DeploymentSpec { kind: Kind::Job, timeout: Some(Span::ZERO), retries: 101, ..spec() };
        assert_eq!(codes(&job), ["deployment.timeout.zero", "deployment.retries.too_many"]);
        (job.timeout, job.retries) = (Some(Span(1)), 100);
        assert_eq!(validate(&job), []);
        let worker = DeploymentSpec { kind: Kind::Worker, ..job };
        assert_eq!(codes(&worker), ["deployment.timeout.worker", "deployment.retries.worker"]);
    }

    #[test]
    fn nothing_waits_for_itself_or_twice_for_the_same() {
        let on = |name: &str| Dependency { deployment: name.to_owned(), condition: DependencyCondition::Completed };
        let spec = DeploymentSpec { depends_on: vec![on("web"), on("db"), on("db")], ..spec() };
        assert_eq!(codes(&spec), ["deployment.depends_on.cycle", "deployment.depends_on.duplicate"]);
    }

    #[test]
    fn what_scales_is_judged_by_the_most_it_can_have() {
        let mut spec = DeploymentSpec { autoscale: Some(Autoscale { min: 2, max: 4, target_cpu: 50 }), ..spec() };
        assert_eq!((spec.wanted(), spec.most()), (2, 4), "it begins within its bounds");
        spec.network = NetworkMode::Host;
        assert_eq!(codes(&spec), ["deployment.network.host.replicas"]);
        spec.autoscale = Some(Autoscale { min: 1, max: 1, target_cpu: 50 });
        assert_eq!(validate(&spec), []);
    }
}
