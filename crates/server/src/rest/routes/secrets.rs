//! Secrets: their values go in and never come out.

use axum::extract::State as Shared;
use ring_api::errors::ErrorCode;
use ring_api::model::{self, Changed, CreateSecret, Done};
use ring_api::query;
use ring_state::{Command, State};
use ring_types::Rule;
use ring_types::SecretId;

use super::named;
use crate::rest::App;
use crate::rest::auth::Caller;
use crate::rest::body::{Body, Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::{Query, View};
use crate::rest::view;
use crate::rest::write::{self, Request};
use crate::{ids, secrets};

/// Largest value, bytes.
const MAX_VALUE: usize = 512 << 10;

/// The secrets the caller may see, without their values.
#[utoipa::path(get, path = "/secrets", tag = "secrets", params(("namespace[]" = Option<Vec<String>>, Query)),
    responses((status = 200, body = Vec<model::Secret>)))]
pub(in crate::rest) async fn list(caller: Caller, view: View, Query(query): Query) -> Result<Json<Vec<model::Secret>>> {
    let found = named::list(view.state.secrets(), &caller, &query);
    Ok(Json(found.into_iter().map(view::secret).collect()))
}

/// One secret, without its value.
#[utoipa::path(get, path = "/secrets/{id}", tag = "secrets", params(("id" = String, Path)),
    responses((status = 200, body = model::Secret)))]
pub(in crate::rest) async fn one(caller: Caller, view: View, Id(id): Id<SecretId>) -> Result<Json<model::Secret>> {
    named::seen(view.state.secret(id), &caller, id).map(|found| Json(view::secret(found)))
}

/// Makes a secret or gives it a new value.
#[utoipa::path(post, path = "/secrets", tag = "secrets", request_body = CreateSecret,
    responses((status = 200, body = model::Secret)))]
pub(in crate::rest) async fn put(
    Shared(app): Shared<App>,
    caller: Caller,
    view: View,
    request: Request,
    Body(body): Body<CreateSecret>,
) -> Result<Json<Changed<model::Secret>>> {
    let (namespace, name) = (write::name("namespace", &body.namespace)?, write::name("name", &body.name)?);
    named::may_make(&caller, &view.state, &namespace)?;
    if body.value.len() > MAX_VALUE {
        let message = format!("the value has {} bytes, at most {MAX_VALUE} are allowed", body.value.len());
        return Err(ApiError::violation("value", "secret.value", Rule::TooLarge, message));
    }
    let known = view.state.secret_named(&namespace, &name).map(|s| s.id);
    let id = known.unwrap_or_else(|| SecretId(ids::derived(request.0, "secret")));
    let build = |state: &State| {
        let (key, sealed) = secrets::seal(&app.secret, state, id, &body.value)?;
        Ok(Command::PutSecret { id, namespace: namespace.clone(), name: name.clone(), sealed, key, create: false })
    };
    let done = app.commit_sealed(&request, &view.state, build).await?;
    let state = app.see(&done).await?;
    let secret =
        state.secret_named(&namespace, &name).ok_or_else(|| ApiError::not_found(ErrorCode::SecretNotFound, &body.name))?;
    Ok(Json(Changed { object: view::secret(secret), revision: done.revision.0 }))
}

/// Deletes a secret; one that a deployment names only with `force=true`.
#[utoipa::path(delete, path = "/secrets/{id}", tag = "secrets", params(("id" = String, Path), ("force" = Option<bool>, Query)),
    responses((status = 200, body = Done), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn remove(
    Shared(app): Shared<App>,
    caller: Caller,
    view: View,
    request: Request,
    Id(id): Id<SecretId>,
    Query(query): Query,
) -> Result<Json<Done>> {
    named::may_delete(view.state.secret(id), &caller, id)?;
    let command = Command::DeleteSecret { id, force: query::flag(&query, "force")? };
    let done = app.commit(&request, command).await?;
    Ok(Json(Done { revision: done.revision.0 }))
}
