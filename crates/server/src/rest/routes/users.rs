//! Accounts.

use axum::extract::State as Shared;
use ring_api::errors::ErrorCode;
use ring_api::model::{self, Changed, CreateUser, Done, UpdateUser};
use ring_state::{Command, UserUpdate};
use ring_types::UserId;

use crate::ids;
use crate::rest::App;
use crate::rest::auth::Caller;
use crate::rest::body::{Body, Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::View;
use crate::rest::view;
use crate::rest::write::{self, Request};

/// The accounts.
#[utoipa::path(get, path = "/users", tag = "users", responses((status = 200, body = Vec<model::User>)))]
pub(in crate::rest) async fn list(view: View) -> Json<Vec<model::User>> {
    let mut users: Vec<_> = view.state.users().map(|u| view::account(u)).collect();
    users.sort_by(|a, b| a.username.cmp(&b.username));
    Json(users)
}

/// The account of the request.
#[utoipa::path(get, path = "/users/me", tag = "users", responses((status = 200, body = model::User)))]
pub(in crate::rest) async fn me(caller: Caller) -> Json<model::User> {
    Json(view::account(&caller.user))
}

/// One account.
#[utoipa::path(get, path = "/users/{id}", tag = "users", params(("id" = String, Path)), responses((status = 200, body = model::User)))]
pub(in crate::rest) async fn one(view: View, Id(id): Id<UserId>) -> Result<Json<model::User>> {
    view.state.user(id).map(|u| Json(view::account(u))).ok_or_else(|| ApiError::not_found(ErrorCode::UserNotFound, id))
}

/// Makes an account.
#[utoipa::path(post, path = "/users", tag = "users", request_body = CreateUser,
    responses((status = 200, body = model::User), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn create(
    Shared(app): Shared<App>,
    request: Request,
    Body(body): Body<CreateUser>,
) -> Result<Json<Changed<model::User>>> {
    let username = write::name("username", &body.username)?;
    let password_hash = app.passwords().hash(body.password).await?;
    let id = UserId(ids::derived(request.0, "user"));
    let command = Command::CreateUser { id, username, password_hash, role: view::role_of(body.role) };
    changed(&app, request, id, command).await
}

/// Changes an account; a new role or password ends its tokens.
#[utoipa::path(put, path = "/users/{id}", tag = "users", params(("id" = String, Path)), request_body = UpdateUser,
    responses((status = 200, body = model::User), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn update(
    Shared(app): Shared<App>,
    request: Request,
    Id(id): Id<UserId>,
    Body(body): Body<UpdateUser>,
) -> Result<Json<Changed<model::User>>> {
    let username = body.username.as_deref().map(|name| write::name("username", name)).transpose()?;
    let password_hash = match body.password {
        Some(password) => Some(app.passwords().hash(password).await?),
        None => None,
    };
    let update = UserUpdate { id, username, password_hash, role: body.role.map(view::role_of) };
    changed(&app, request, id, Command::UpdateUser(update)).await
}

async fn changed(app: &App, request: Request, id: UserId, command: Command) -> Result<Json<Changed<model::User>>> {
    let (done, state) = app.commit_and_see(&request, command).await?;
    let user = state.user(id).ok_or_else(|| ApiError::not_found(ErrorCode::UserNotFound, id))?;
    Ok(Json(Changed { object: view::account(user), revision: done.revision.0 }))
}

/// Deletes an account and its tokens; the last admin stays.
#[utoipa::path(delete, path = "/users/{id}", tag = "users", params(("id" = String, Path)),
    responses((status = 200, body = Done), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn remove(Shared(app): Shared<App>, request: Request, Id(id): Id<UserId>) -> Result<Json<Done>> {
    let done = app.commit(&request, Command::DeleteUser { id }).await?;
    Ok(Json(Done { revision: done.revision.0 }))
}
