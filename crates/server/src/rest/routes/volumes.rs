//! Volumes.

use axum::extract::State as Shared;
use ring_api::errors::ErrorCode;
use ring_api::model::{self, Changed, CreateVolume, Done};
use ring_api::query;
use ring_state::{Command, State};
use ring_types::{NodeId, Rule, Violation, VolumeDriver, VolumeId, is_export};

use super::named::{self, may_make};
use crate::ids;
use crate::rest::App;
use crate::rest::auth::Caller;
use crate::rest::body::{Body, Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::{Query, View};
use crate::rest::view;
use crate::rest::write::{self, Request};

/// The named volumes the caller may see.
#[utoipa::path(get, path = "/volumes", tag = "volumes", params(("namespace[]" = Option<Vec<String>>, Query)),
    responses((status = 200, body = Vec<model::Volume>)))]
pub(in crate::rest) async fn list(caller: Caller, view: View, Query(query): Query) -> Result<Json<Vec<model::Volume>>> {
    let found = named::list(view.state.volumes(), &caller, &query);
    Ok(Json(found.into_iter().map(|v| view::volume(&view.state, v)).collect()))
}

/// One named volume.
#[utoipa::path(get, path = "/volumes/{id}", tag = "volumes", params(("id" = String, Path)),
    responses((status = 200, body = model::Volume)))]
pub(in crate::rest) async fn one(caller: Caller, view: View, Id(id): Id<VolumeId>) -> Result<Json<model::Volume>> {
    let found = named::seen(view.state.volume(id), &caller, id)?;
    Ok(Json(view::volume(&view.state, found)))
}

/// Makes a named volume; its data comes with the first instance that mounts it.
#[utoipa::path(post, path = "/volumes", tag = "volumes", request_body = CreateVolume,
    responses((status = 200, body = model::Volume), (status = 409, body = ring_api::problem::Problem),
        (status = 422, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn create(
    Shared(app): Shared<App>,
    caller: Caller,
    view: View,
    request: Request,
    Body(body): Body<CreateVolume>,
) -> Result<Json<Changed<model::Volume>>> {
    let (namespace, name) = (write::name("namespace", &body.namespace)?, write::name("name", &body.name)?);
    may_make(&caller, &view.state, &namespace)?;
    let violations = violations(&body);
    if !violations.is_empty() {
        return Err(ApiError::invalid(violations));
    }
    let node = body.node.as_deref().map(|wanted| node(&view.state, wanted)).transpose()?;
    let id = VolumeId(ids::derived(request.0, "volume"));
    let (driver, source, labels) = (body.driver, body.source, body.labels);
    let wanted = ring_state::CreateVolume { id, namespace, name, driver, source, labels, node };
    let (done, state) = app.commit_and_see(&request, Command::CreateVolume(wanted)).await?;
    let volume = state.volume(id).ok_or_else(|| ApiError::not_found(ErrorCode::VolumeNotFound, id))?;
    Ok(Json(Changed { object: view::volume(&state, volume), revision: done.revision.0 }))
}

fn violations(body: &CreateVolume) -> Vec<Violation> {
    let mut found = Vec::new();
    match (body.driver, &body.source) {
        (VolumeDriver::Nfs, None) => {
            let message = "a volume of driver nfs needs a source: server:/path";
            found.push(Violation::new("source", "volume.source", Rule::Required, message));
        }
        (VolumeDriver::Nfs, Some(source)) if !is_export(source) => {
            let message = format!("'{source}' is not server:/path");
            found.push(Violation::new("source", "volume.source", Rule::Invalid, message));
        }
        (VolumeDriver::Local, Some(_)) => {
            let message = "a volume of driver local has no source: remove it, or set driver nfs";
            found.push(Violation::new("source", "volume.source", Rule::NotOfType, message));
        }
        _ => {}
    }
    if body.driver == VolumeDriver::Nfs && body.node.is_some() {
        let message = "a volume of driver nfs is on no node: remove node";
        found.push(Violation::new("node", "volume.node", Rule::NotOfType, message));
    }
    found
}

fn node(state: &State, wanted: &str) -> Result<NodeId> {
    let found = state.nodes().find(|node| node.name.as_str() == wanted || node.id.to_string() == wanted);
    let message = || format!("node '{wanted}' is not part of the cluster; `ring node list` shows those that are");
    found.map(|node| node.id).ok_or_else(|| ApiError::violation("node", "volume.node", Rule::Unknown, message()))
}

/// Forgets a named volume; its data stays where it is.
#[utoipa::path(delete, path = "/volumes/{id}", tag = "volumes", params(("id" = String, Path), ("force" = Option<bool>, Query)),
    responses((status = 200, body = Done), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn remove(
    Shared(app): Shared<App>,
    caller: Caller,
    view: View,
    request: Request,
    Id(id): Id<VolumeId>,
    Query(query): Query,
) -> Result<Json<Done>> {
    named::may_delete(view.state.volume(id), &caller, id)?;
    let command = Command::DeleteVolume { id, force: query::flag(&query, "force")? };
    let done = app.commit(&request, command).await?;
    Ok(Json(Done { revision: done.revision.0 }))
}
