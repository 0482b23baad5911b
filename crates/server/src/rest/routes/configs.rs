//! Configs.

use axum::extract::State as Shared;
use ring_api::errors::ErrorCode;
use ring_api::model::{self, Changed, CreateConfig, Done};
use ring_api::query;
use ring_state::Command;
use ring_types::ConfigId;

use super::named;
use crate::ids;
use crate::rest::App;
use crate::rest::auth::Caller;
use crate::rest::body::{Body, Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::{Query, View};
use crate::rest::view;
use crate::rest::write::{self, Request};

/// The configs the caller may see, by namespace and name.
#[utoipa::path(get, path = "/configs", tag = "configs", params(("namespace[]" = Option<Vec<String>>, Query)),
    responses((status = 200, body = Vec<model::Config>)))]
pub(in crate::rest) async fn list(caller: Caller, view: View, Query(query): Query) -> Result<Json<Vec<model::Config>>> {
    let found = named::list(view.state.configs(), &caller, &query);
    Ok(Json(found.into_iter().map(view::config).collect()))
}

/// One config with its content.
#[utoipa::path(get, path = "/configs/{id}", tag = "configs", params(("id" = String, Path)),
    responses((status = 200, body = model::Config)))]
pub(in crate::rest) async fn one(caller: Caller, view: View, Id(id): Id<ConfigId>) -> Result<Json<model::Config>> {
    named::seen(view.state.config(id), &caller, id).map(|found| Json(view::config(found)))
}

/// Makes a config.
#[utoipa::path(post, path = "/configs", tag = "configs", request_body = CreateConfig,
    responses((status = 200, body = model::Config), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn create(
    Shared(app): Shared<App>,
    caller: Caller,
    view: View,
    request: Request,
    Body(body): Body<CreateConfig>,
) -> Result<Json<Changed<model::Config>>> {
    let (namespace, name) = (write::name("namespace", &body.namespace)?, write::name("name", &body.name)?);
    named::may_make(&caller, &view.state, &namespace)?;
    let id = ConfigId(ids::derived(request.0, "config"));
    let command = Command::PutConfig { id, namespace, name, data: body.data, labels: body.labels, create: true };
    changed(&app, request, id, command).await
}

/// Gives a config new content; instances that are started later see it.
#[utoipa::path(put, path = "/configs/{id}", tag = "configs", params(("id" = String, Path)), request_body = CreateConfig,
    responses((status = 200, body = model::Config)))]
pub(in crate::rest) async fn replace(
    Shared(app): Shared<App>,
    caller: Caller,
    view: View,
    request: Request,
    Id(id): Id<ConfigId>,
    Body(body): Body<CreateConfig>,
) -> Result<Json<Changed<model::Config>>> {
    let known = named::seen(view.state.config(id), &caller, id)?;
    if known.namespace.as_str() != body.namespace || known.name.as_str() != body.name {
        let detail = format!("config '{id}' is '{}/{}': a config cannot be renamed", known.namespace, known.name);
        return Err(ApiError::new(ErrorCode::ConfigRenamed, detail));
    }
    let (namespace, name) = (known.namespace.clone(), known.name.clone());
    let command = Command::PutConfig { id, namespace, name, data: body.data, labels: body.labels, create: false };
    changed(&app, request, id, command).await
}

async fn changed(app: &App, request: Request, id: ConfigId, command: Command) -> Result<Json<Changed<model::Config>>> {
    let (done, state) = app.commit_and_see(&request, command).await?;
    let config = state.config(id).ok_or_else(|| ApiError::not_found(ErrorCode::ConfigNotFound, id))?;
    Ok(Json(Changed { object: view::config(config), revision: done.revision.0 }))
}

/// Deletes a config; one that a deployment mounts only with `force=true`.
#[utoipa::path(delete, path = "/configs/{id}", tag = "configs", params(("id" = String, Path), ("force" = Option<bool>, Query)),
    responses((status = 200, body = Done), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn remove(
    Shared(app): Shared<App>,
    caller: Caller,
    view: View,
    request: Request,
    Id(id): Id<ConfigId>,
    Query(query): Query,
) -> Result<Json<Done>> {
    named::may_delete(view.state.config(id), &caller, id)?;
    let command = Command::DeleteConfig { id, force: query::flag(&query, "force")? };
    let done = app.commit(&request, command).await?;
    Ok(Json(Done { revision: done.revision.0 }))
}
