//! What a manifest waits for, judged together with what is there already.

use ring_api::manifest::{DeploymentEntry, Manifest};
use ring_state::{State, dependency_circle};
use ring_types::{Dependency, DependencyCondition, Kind, Name, Rule, Violation};

/// Circles that go through deployments of the cluster, and waits that could never end.
pub(super) fn violations(manifest: &Manifest, state: &State) -> Vec<Violation> {
    let mut found: Vec<_> = manifest.deployments.iter().flat_map(|entry| endless(manifest, entry, state)).collect();
    let circle = dependency_circle(state, manifest.deployments.iter().map(|entry| &entry.spec));
    let in_circle = |entry: &&DeploymentEntry| circle.iter().any(|name| *name == entry.spec.name.as_str());
    if let Some(entry) = manifest.deployments.iter().filter(|e| !e.spec.depends_on.is_empty()).find(in_circle) {
        let message = format!("these deployments would wait for each other: {}", circle.join(", "));
        let path = format!("deployments.{}.depends_on", entry.label);
        found.push(Violation::new(path, "deployment.depends_on", Rule::Cycle, message));
    }
    found
}

/// A worker never completes.
fn endless(manifest: &Manifest, entry: &DeploymentEntry, state: &State) -> Vec<Violation> {
    let waits = entry.spec.depends_on.iter().enumerate().filter(|(_, d)| d.condition == DependencyCondition::Completed);
    let endless = waits.filter(|(_, dependency)| kind(manifest, entry, dependency, state) == Some(Kind::Worker));
    let told = endless.map(|(i, dependency)| {
        let name = &dependency.deployment;
        let message = format!("'{name}' is a worker, which never completes: set condition to running");
        let path = format!("deployments.{}.depends_on[{i}].condition", entry.label);
        Violation::new(path, "deployment.depends_on.condition", Rule::Worker, message)
    });
    told.collect()
}

/// What stands for the name once the manifest is applied; None when nothing does yet.
fn kind(manifest: &Manifest, entry: &DeploymentEntry, dependency: &Dependency, state: &State) -> Option<Kind> {
    let namespace = &entry.spec.namespace;
    let name = Name::new(&dependency.deployment).ok()?;
    let new = manifest.deployments.iter().find(|e| e.spec.namespace == *namespace && e.spec.name == name);
    new.map(|entry| entry.spec.kind).or_else(|| state.deployment_named(namespace, &name).map(|d| d.spec.kind))
}
