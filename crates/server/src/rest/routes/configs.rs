//! Configs.

use axum::extract::State as Shared;
use ring_api::model::{self, Changed, CreateConfig, Done};
use ring_api::query;
use ring_state::Command;
use ring_types::ConfigId;

use super::secrets::may_make;
use crate::ids;
use crate::rest::App;
use crate::rest::auth::Caller;
use crate::rest::body::{Body, Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::{Query, View};
use crate::rest::view;
use crate::rest::write::{self, Request};

#[utoipa::path(get, path = "/configs", tag = "configs", params(("namespace[]" = Option<Vec<String>>, Query)),
    responses((status = 200, body = Vec<model::Config>)))]
pub(in crate::rest) async fn list(caller: Caller, view: View, Query(query): Query) -> Result<Json<Vec<model::Config>>> {
    let only = query::namespaces(&query);
    let mut found: Vec<_> = view
        .state
        .configs()
        .filter(|c| caller.sees(&c.namespace) && (only.is_empty() || only.iter().any(|n| n == c.namespace.as_str())))
        .collect();
    found.sort_by_key(|c| (&c.namespace, &c.name));
    Ok(Json(found.into_iter().map(|c| view::config(c)).collect()))
}

#[utoipa::path(get, path = "/configs/{id}", tag = "configs", params(("id" = String, Path)),
    responses((status = 200, body = model::Config)))]
pub(in crate::rest) async fn one(caller: Caller, view: View, Id(id): Id<ConfigId>) -> Result<Json<model::Config>> {
    let found = view.state.config(id).filter(|c| caller.sees(&c.namespace));
    found.map(|c| Json(view::config(c))).ok_or_else(|| ApiError::not_found("config", id))
}

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
    caller.require_namespace(&namespace)?;
    may_make(&caller, &view.state, &namespace)?;
    let id = ConfigId(ids::derived(request.0, "config"));
    let command = Command::PutConfig { id, namespace, name, data: body.data, labels: body.labels, create: true };
    changed(&app, request, id, command).await
}

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
    let known = view.state.config(id).filter(|c| caller.sees(&c.namespace)).cloned();
    let known = known.ok_or_else(|| ApiError::not_found("config", id))?;
    if known.namespace.as_str() != body.namespace || known.name.as_str() != body.name {
        let detail = format!("config '{id}' is '{}/{}': a config cannot be renamed", known.namespace, known.name);
        return Err(ApiError::new(409, "config.renamed", detail));
    }
    let (namespace, name) = (known.namespace.clone(), known.name.clone());
    let command = Command::PutConfig { id, namespace, name, data: body.data, labels: body.labels, create: false };
    changed(&app, request, id, command).await
}

async fn changed(app: &App, request: Request, id: ConfigId, command: Command) -> Result<Json<Changed<model::Config>>> {
    let (done, state) = app.commit_and_see(request.0, command).await?;
    let config = state.config(id).ok_or_else(|| ApiError::not_found("config", id))?;
    Ok(Json(Changed { object: view::config(config), revision: done.revision.0 }))
}

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
    match view.state.config(id) {
        Some(found) => caller.require_namespace(&found.namespace)?,
        None if caller.token.namespaces.is_empty() => {}
        None => return Err(ApiError::not_found("config", id)),
    }
    let command = Command::DeleteConfig { id, force: query::flag(&query, "force")? };
    let done = app.commit(request.0, command).await?;
    Ok(Json(Done { revision: done.revision.0 }))
}
