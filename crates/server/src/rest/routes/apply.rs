//! `POST /deployments`: a whole manifest, all of it or nothing.

mod changes;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State as Shared;
use ring_api::errors::ErrorCode;
use ring_api::manifest::{DeploymentEntry, Manifest, ManifestError};
use ring_api::model::{Applied, ApplyAnswer, ApplyOutcome, ApplyReply, ApplyRequest};
use ring_api::query;
use ring_state::{ApplyConfig, ApplyDeployment, Command, DeploymentOutcome, Outcome, Reply, State};
use ring_types::{ConfigId, DeploymentId, Name, Span, VolumeDriver, VolumeId};

use super::{dependencies, needs, support};
use crate::pki::SecretKey;
use crate::registry;
use crate::rest::App;
use crate::rest::auth::{Caller, Resource, Verb};
use crate::rest::body::{Json, Raw};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::{Query, View};
use crate::rest::write::Request;

/// Applies a manifest: all of it, or nothing and every mistake in one reply.
#[utoipa::path(post, path = "/deployments", tag = "deployments", request_body = ApplyRequest,
    params(("force" = Option<bool>, Query),
        ("dry_run" = Option<bool>, Query,
            description = "Change nothing and answer what would change, and where new instances would be placed"),
        ("idempotency-key" = Option<String>, Header)),
    responses((status = 200, body = ApplyAnswer), (status = 422, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn apply(
    Shared(app): Shared<App>,
    caller: Caller,
    view: View,
    request: Request,
    Query(query): Query,
    Raw(body): Raw,
) -> Result<Json<ApplyAnswer>> {
    let (force, dry_run) = (query::flag(&query, "force")?, query::flag(&query, "dry_run")?);
    // A commit checks again; a plan has nothing but what it sees.
    let view = if dry_run { View::current(&app).await? } else { view };
    let manifest = read(&body, &view.state)?;
    allowed(&caller, &manifest, &view.state)?;
    let build = |state: &State| command((&app.secret, app.rollout_deadline), state, &request, &manifest, force);
    if dry_run {
        let command = build(&view.state)?;
        // Placing much takes long: not on a thread that serves others.
        let planned = tokio::task::spawn_blocking(move || plan::plan(&view.state, &manifest, &request, command));
        return planned.await.map_err(ApiError::internal)?.map(|plan| Json(ApplyAnswer::Planned(plan)));
    }
    let done = app.commit_sealed(&request, &view.state, build).await?;
    let Reply::Deployments(outcomes) = done.reply else {
        return Err(ApiError::internal(format!("unexpected answer to an apply: {:?}", done.reply)));
    };
    Ok(Json(ApplyAnswer::Applied(reply(&manifest, &outcomes, &view.state, done.revision.0))))
}

fn read(body: &[u8], state: &State) -> Result<Manifest> {
    let (manifest, mut violations) = Manifest::check_json(body).map_err(|error| match error {
        ManifestError::Syntax { message } => ApiError::new(ErrorCode::ManifestSyntax, message),
        ManifestError::Invalid(violations) => ApiError::invalid(violations),
    })?;
    violations.extend(support::ports_without_nodes(&manifest, state));
    violations.extend(dependencies::violations(&manifest, state));
    violations.extend(needs::contradictions(&manifest, state));
    if violations.is_empty() { Ok(manifest) } else { Err(ApiError::invalid(violations)) }
}

/// Namespaces a manifest touches, each once.
fn namespaces(manifest: &Manifest) -> BTreeSet<&Name> {
    let deployments = manifest.deployments.iter().map(|d| &d.spec.namespace);
    deployments.chain(manifest.configs.iter().map(|c| &c.namespace)).chain(manifest.namespaces.iter().map(|n| &n.name)).collect()
}

fn allowed(caller: &Caller, manifest: &Manifest, state: &State) -> Result<()> {
    let touched = namespaces(manifest);
    touched.iter().try_for_each(|namespace| caller.require_namespace(namespace))?;
    if touched.iter().any(|namespace| state.namespace(namespace).is_none()) {
        caller.require(Verb::Write, Resource::Namespaces)?;
    }
    if !manifest.configs.is_empty() {
        caller.require(Verb::Write, Resource::Configs)?;
    }
    Ok(())
}

/// The whole manifest as one log entry. Ids come from the request, so that the same request again makes the same objects.
fn command(
    (key, deadline): (&SecretKey, Span),
    state: &State,
    request: &Request,
    manifest: &Manifest,
    force: bool,
) -> Result<Command> {
    let config = |entry: &ring_api::manifest::ConfigEntry| ApplyConfig {
        id: ConfigId(request.part(&format!("config/{}/{}", entry.namespace, entry.name)).0),
        namespace: entry.namespace.clone(),
        name: entry.name.clone(),
        data: entry.data.clone(),
        labels: entry.labels.clone(),
    };
    Ok(Command::Apply {
        namespaces: manifest.namespaces.iter().map(|entry| entry.name.clone()).collect(),
        configs: manifest.configs.iter().map(config).collect(),
        deployments: deployments((key, state), request, manifest)?,
        force,
        rollout_deadline: Some(deadline),
    })
}

fn deployments((key, state): (&SecretKey, &State), request: &Request, manifest: &Manifest) -> Result<Vec<ApplyDeployment>> {
    let one = |(i, entry): (usize, &DeploymentEntry)| {
        let password = entry.registry_password.as_deref().map(|password| registry::seal(key, state, &entry.spec, password));
        Ok(ApplyDeployment {
            registry_password: password.transpose()?,
            volumes: volumes(request, entry),
            ..ApplyDeployment::new(DeploymentId(request.part(&format!("deployment/{i}")).0), Arc::new(entry.spec.clone()))
        })
    };
    manifest.deployments.iter().enumerate().map(one).collect()
}

/// Ids for the volumes a deployment names, should they not be there.
fn volumes(request: &Request, entry: &DeploymentEntry) -> BTreeMap<String, VolumeId> {
    let spec = &entry.spec;
    let local = spec.named_volumes().filter(|(mount, _)| mount.driver == VolumeDriver::Local);
    let id = |name: &Name| VolumeId(request.part(&format!("volume/{}/{name}", spec.namespace)).0);
    local.map(|(_, name)| (name.to_string(), id(&name))).collect()
}

fn reply(manifest: &Manifest, outcomes: &[DeploymentOutcome], state: &State, revision: u64) -> ApplyReply {
    let applied = manifest.deployments.iter().zip(outcomes).map(|(entry, outcome)| Applied {
        label: entry.label.clone(),
        id: outcome.id,
        namespace: entry.spec.namespace.to_string(),
        name: entry.spec.name.to_string(),
        outcome: word(outcome.outcome),
        warnings: [entry.warnings.clone(), needs::missing(entry, manifest, state)].concat(),
    });
    ApplyReply { deployments: applied.collect(), revision }
}

pub(super) const fn word(outcome: Outcome) -> ApplyOutcome {
    match outcome {
        Outcome::Created => ApplyOutcome::Created,
        Outcome::Scaled | Outcome::Updated(_) => ApplyOutcome::Updated,
        Outcome::Restored(_) => ApplyOutcome::Restored,
        Outcome::Replaced(_) => ApplyOutcome::Replaced,
        Outcome::Unchanged => ApplyOutcome::Unchanged,
    }
}
