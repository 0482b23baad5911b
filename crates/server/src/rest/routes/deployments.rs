//! Deployments: list, look, delete.

use std::sync::Arc;

use axum::extract::State as Shared;
use ring_api::errors::ErrorCode;
use ring_api::model;
use ring_api::query::DeploymentQuery;
use ring_state::{Command, Deployment, State};
use ring_types::{DeploymentId, DeploymentStatus};

use crate::rest::App;
use crate::rest::auth::Caller;
use crate::rest::body::{Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::{Query, View};
use crate::rest::view;
use crate::rest::write::Request;

/// A deployment the caller may see.
pub(super) fn find(state: &State, caller: &Caller, id: DeploymentId) -> Result<Arc<Deployment>> {
    let missing = || ApiError::not_found(ErrorCode::DeploymentNotFound, id);
    let found = state.deployment(id).ok_or_else(missing)?;
    if caller.sees(&found.spec.namespace) { Ok(found.clone()) } else { Err(missing().reached(&found.spec.namespace)) }
}

/// Fails when the caller may not see it. A repeated request may find it gone, and still has to get the answer of the first time: the
/// commit decides.
pub(super) async fn may_change(app: &App, caller: &Caller, id: DeploymentId) -> Result<()> {
    let state = app.store.local();
    match state.deployment(id) {
        Some(_) => find(&state, caller, id).map(drop),
        None if caller.token.namespaces.is_empty() => Ok(()),
        None => find(&app.store.read().await?, caller, id).map(drop),
    }
}

/// The deployments the caller may see that fit all filters, oldest first.
#[utoipa::path(get, path = "/deployments", tag = "deployments",
    params(("namespace[]" = Option<Vec<String>>, Query), ("status[]" = Option<Vec<String>>, Query), ("kind" = Option<String>, Query),
        ("label" = Option<Vec<String>>, Query), ("node" = Option<String>, Query), ("name" = Option<String>, Query)),
    responses((status = 200, body = Vec<model::Deployment>)))]
pub(in crate::rest) async fn list(caller: Caller, view: View, Query(query): Query) -> Result<Json<Vec<model::Deployment>>> {
    let filter = DeploymentQuery::parse(&query)?;
    let state = &view.state;
    let mut found: Vec<_> = state.deployments().filter(|d| caller.sees(&d.spec.namespace) && wanted(state, d, &filter)).collect();
    found.sort_by_key(|d| (d.created_at, d.spec.name.clone(), d.id));
    Ok(Json(found.into_iter().map(|d| view::deployment(state, d)).collect()))
}

/// What is being taken away shows only to those who ask for it: a new deployment of the same name may stand beside it.
fn wanted(state: &State, deployment: &Deployment, filter: &DeploymentQuery) -> bool {
    let spec = &deployment.spec;
    let any = |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
    let status = if filter.statuses.is_empty() { !deployment.deleting } else { filter.statuses.contains(&shown(deployment)) };
    status
        && any(&filter.namespaces, spec.namespace.as_str())
        && filter.name.as_deref().is_none_or(|name| name == spec.name.as_str())
        && filter.kind.is_none_or(|kind| kind == spec.kind)
        && filter.labels.iter().all(|(key, value)| spec.labels.get(key) == Some(value))
        && filter.node.as_deref().is_none_or(|node| runs_on(state, deployment, node))
}

fn shown(deployment: &Deployment) -> DeploymentStatus {
    if deployment.deleting { DeploymentStatus::Deleted } else { deployment.status }
}

fn runs_on(state: &State, deployment: &Deployment, node: &str) -> bool {
    state
        .instances_of(deployment.id)
        .any(|i| i.node.to_string() == node || state.node(i.node).is_some_and(|n| n.name.as_str() == node))
}

/// One deployment with its instances.
#[utoipa::path(get, path = "/deployments/{id}", tag = "deployments", params(("id" = String, Path)),
    responses((status = 200, body = model::Deployment), (status = 404, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn one(caller: Caller, view: View, Id(id): Id<DeploymentId>) -> Result<Json<model::Deployment>> {
    let found = find(&view.state, &caller, id)?;
    Ok(Json(view::deployment(&view.state, &found)))
}

/// The instances of a deployment.
#[utoipa::path(get, path = "/deployments/{id}/instances", tag = "deployments", params(("id" = String, Path)),
    responses((status = 200, body = Vec<model::Instance>)))]
pub(in crate::rest) async fn instances(
    caller: Caller,
    view: View,
    Id(id): Id<DeploymentId>,
) -> Result<Json<Vec<model::Instance>>> {
    let found = find(&view.state, &caller, id)?;
    Ok(Json(view::instances(&view.state, &found)))
}

/// Deletes a deployment: its instances are stopped, then the record goes.
#[utoipa::path(delete, path = "/deployments/{id}", tag = "deployments", params(("id" = String, Path)),
    responses((status = 200, body = model::Done), (status = 404, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn remove(
    Shared(app): Shared<App>,
    caller: Caller,
    request: Request,
    Id(id): Id<DeploymentId>,
) -> Result<Json<model::Done>> {
    may_change(&app, &caller, id).await?;
    let done = app.commit(&request, Command::DeleteDeployments { ids: vec![id] }).await?;
    Ok(Json(model::Done { revision: done.revision.0 }))
}
