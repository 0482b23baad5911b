//! Namespaces.

use axum::extract::State as Shared;
use ring_api::errors::ErrorCode;
use ring_api::model::{self, Changed, CreateNamespace, Done, Prune, PruneReply};
use ring_state::{Command, Reply};
use ring_types::Name;

use crate::rest::App;
use crate::rest::auth::Caller;
use crate::rest::body::{Body, Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::View;
use crate::rest::view;
use crate::rest::write::{self, Request};

/// The namespaces the caller may see.
#[utoipa::path(get, path = "/namespaces", tag = "namespaces", responses((status = 200, body = Vec<model::Namespace>)))]
pub(in crate::rest) async fn list(caller: Caller, view: View) -> Json<Vec<model::Namespace>> {
    let seen = view.state.namespaces().filter(|n| caller.sees(&n.name));
    let contents = view::Contents::of(&view.state);
    Json(seen.map(|n| view::namespace(&contents, n)).collect())
}

/// One namespace with what it holds.
#[utoipa::path(get, path = "/namespaces/{name}", tag = "namespaces", params(("name" = String, Path)),
    responses((status = 200, body = model::Namespace)))]
pub(in crate::rest) async fn one(caller: Caller, view: View, Id(name): Id<Name>) -> Result<Json<model::Namespace>> {
    caller.require_namespace(&name)?;
    let found = view.state.namespace(&name);
    found
        .map(|n| Json(view::namespace(&view::Contents::of(&view.state), n)))
        .ok_or_else(|| ApiError::not_found(ErrorCode::NamespaceNotFound, &name))
}

/// Makes a namespace.
#[utoipa::path(post, path = "/namespaces", tag = "namespaces", request_body = CreateNamespace,
    responses((status = 200, body = model::Namespace), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn create(
    Shared(app): Shared<App>,
    caller: Caller,
    request: Request,
    Body(body): Body<CreateNamespace>,
) -> Result<Json<Changed<model::Namespace>>> {
    let name = write::name("name", &body.name)?;
    caller.require_namespace(&name)?;
    let (done, state) = app.commit_and_see(&request, Command::CreateNamespace { name: name.clone() }).await?;
    let made = state.namespace(&name).ok_or_else(|| ApiError::not_found(ErrorCode::NamespaceNotFound, &name))?;
    Ok(Json(Changed { object: view::namespace(&view::Contents::of(&state), made), revision: done.revision.0 }))
}

/// Deletes an empty namespace.
#[utoipa::path(delete, path = "/namespaces/{name}", tag = "namespaces", params(("name" = String, Path)),
    responses((status = 200, body = Done), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn remove(
    Shared(app): Shared<App>,
    caller: Caller,
    request: Request,
    Id(name): Id<Name>,
) -> Result<Json<Done>> {
    caller.require_namespace(&name)?;
    let done = app.commit(&request, Command::DeleteNamespace { name }).await?;
    Ok(Json(Done { revision: done.revision.0 }))
}

/// Deletes the deployments of a namespace that are not pending, creating or running; with `all` those too.
#[utoipa::path(post, path = "/namespaces/{name}/prune", tag = "namespaces", params(("name" = String, Path)), request_body = Prune,
    responses((status = 200, body = PruneReply)))]
pub(in crate::rest) async fn prune(
    Shared(app): Shared<App>,
    caller: Caller,
    request: Request,
    Id(namespace): Id<Name>,
    Body(body): Body<Prune>,
) -> Result<Json<PruneReply>> {
    caller.require_namespace(&namespace)?;
    let done = app.commit(&request, Command::Prune { namespace, all: body.all }).await?;
    match done.reply {
        Reply::Deleted(deleted) => Ok(Json(PruneReply { deleted, revision: done.revision.0 })),
        other => Err(ApiError::internal(format!("unexpected answer to a prune: {other:?}"))),
    }
}
