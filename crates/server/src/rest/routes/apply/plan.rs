//! What an apply would do: the very command, applied to a copy of the state, and where the planner would place what comes of
//! it. Nothing is committed and nothing leaves this control node.

use ring_api::manifest::{ConfigEntry, DeploymentEntry, Manifest};
use ring_api::model::{
    ApplyOutcome, FieldChange, Manner, NOT_SHOWN, PlanReply, PlannedConfig, PlannedDeployment, PlannedInstance, PlannedNamespace,
};
use ring_planner::{Preview, preview};
use ring_state::{Command, Deployment, DeploymentOutcome, Entry, Outcome, Reply, State};
use ring_types::{DeploymentSpec, Name, Revision};
use serde_json::Value;

use super::changes::{added, changes};
use super::{namespaces, needs, word};
use crate::clock;
use crate::rest::error::{ApiError, Result};
use crate::rest::write::Request;

/// Tries `command` out on a copy of `before`.
pub(super) fn plan(before: &State, manifest: &Manifest, request: &Request, command: Command) -> Result<PlanReply> {
    let mut after = before.clone();
    let entry = Entry { at: clock::now(), request: request.0, command };
    let outcomes = match after.apply(Revision(before.revision().0 + 1), &entry).reply {
        Reply::Deployments(outcomes) => outcomes,
        Reply::Refused(refusal) => return Err(refusal.into()),
        other => return Err(ApiError::internal(format!("unexpected answer to an apply: {other:?}"))),
    };
    let changed = |outcome: &&DeploymentOutcome| outcome.outcome != Outcome::Unchanged;
    let ids: Vec<_> = outcomes.iter().filter(changed).map(|outcome| outcome.id).collect();
    let mut previews = preview(&after, &ids).into_iter();
    let deployments = manifest.deployments.iter().zip(&outcomes).map(|(entry, outcome)| {
        let preview = if changed(&outcome) { previews.next() } else { None };
        deployment(Both { before, after: &after }, manifest, (entry, outcome), preview)
    });
    Ok(PlanReply {
        deployments: deployments.collect(),
        namespaces: namespaces(manifest).into_iter().map(|name| namespace(name, before)).collect(),
        configs: manifest.configs.iter().map(|entry| config(entry, before)).collect(),
        revision: before.revision().0,
    })
}

/// The state as it is, and as it would be.
#[derive(Clone, Copy)]
struct Both<'a> {
    before: &'a State,
    after: &'a State,
}

fn namespace(name: &Name, before: &State) -> PlannedNamespace {
    let known = before.namespace(name).is_some();
    PlannedNamespace { name: name.to_string(), outcome: if known { ApplyOutcome::Unchanged } else { ApplyOutcome::Created } }
}

fn config(entry: &ConfigEntry, before: &State) -> PlannedConfig {
    let current = before.config_named(&entry.namespace, &entry.name);
    let shape = |data: &std::collections::BTreeMap<String, String>, labels| serde_json::json!({ "data": data, "labels": labels });
    let wanted = shape(&entry.data, &entry.labels);
    let (outcome, changes) = match current.map(|config| changes(&shape(&config.data, &config.labels), &wanted)) {
        None => (ApplyOutcome::Created, added(&wanted)),
        Some(changes) if changes.is_empty() => (ApplyOutcome::Unchanged, changes),
        Some(changes) => (ApplyOutcome::Updated, changes),
    };
    PlannedConfig { namespace: entry.namespace.to_string(), name: entry.name.to_string(), outcome, changes }
}

fn deployment(
    Both { before, after }: Both<'_>,
    manifest: &Manifest,
    (entry, outcome): (&DeploymentEntry, &DeploymentOutcome),
    preview: Option<Preview>,
) -> PlannedDeployment {
    let spec = &entry.spec;
    let current = before.deployment_named(&spec.namespace, &spec.name);
    let preview = preview.unwrap_or_default();
    let placed = preview.instances.into_iter().map(|expected| {
        let (node, reason) = match expected.placed {
            Ok(node) => (after.node(node).map(|node| node.name.to_string()), None),
            Err(reason) => (None, Some(reason)),
        };
        PlannedInstance { slot: expected.slot, node, reason }
    });
    PlannedDeployment {
        label: entry.label.clone(),
        namespace: spec.namespace.to_string(),
        name: spec.name.to_string(),
        kind: spec.kind,
        outcome: word(outcome.outcome),
        how: manner(outcome.outcome),
        current_id: current.map(|current| current.id),
        changes: fields(current.map(AsRef::as_ref), after.deployment(outcome.id).map(AsRef::as_ref), entry),
        placement: placed.collect(),
        waits_for: preview.waits_for,
        warnings: [entry.warnings.clone(), needs::missing(entry, manifest, before)].concat(),
    }
}

const fn manner(outcome: Outcome) -> Option<Manner> {
    match outcome {
        Outcome::Created => Some(Manner::Create),
        Outcome::Scaled => Some(Manner::Scale),
        Outcome::Updated(_) => Some(Manner::Rolling),
        Outcome::Replaced(_) => Some(Manner::Replace),
        Outcome::Restored(_) => Some(Manner::Restore),
        Outcome::Unchanged => None,
    }
}

/// What differs from what stands; of a new one, from a deployment of that kind with nothing but defaults.
fn fields(current: Option<&Deployment>, then: Option<&Deployment>, entry: &DeploymentEntry) -> Vec<FieldChange> {
    let spec = &entry.spec;
    let Some(current) = current else {
        let (namespace, name) = (spec.namespace.clone(), spec.name.clone());
        let plain = DeploymentSpec::new(namespace, name, spec.kind, spec.runtime, "");
        let new = |change: FieldChange| FieldChange { from: Value::Null, ..change };
        return changes(&shape(&plain), &shape(spec)).into_iter().map(new).collect();
    };
    let mut found = changes(&shape(&current.spec), &shape(spec));
    found.extend(then.and_then(|then| password(current, then)));
    found
}

/// A specification as a manifest has it.
fn shape(spec: &DeploymentSpec) -> Value {
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    if let Some(network) = value.get_mut("network") {
        *network = serde_json::json!({ "mode": network.take() });
    }
    value
}

/// That the registry password changes is told, what it is or was is not.
fn password(current: &Deployment, then: &Deployment) -> Option<FieldChange> {
    let shown = |set: bool| if set { Value::from(NOT_SHOWN) } else { Value::Null };
    let digest = |deployment: &Deployment| deployment.registry_password.as_ref().map(|password| password.digest);
    let (from, to) = (digest(current), digest(then));
    (from != to).then(|| FieldChange { path: "config.password".to_owned(), from: shown(from.is_some()), to: shown(to.is_some()) })
}
