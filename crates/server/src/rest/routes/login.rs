//! Logging in and out.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, State as Shared};
use ring_api::errors::ErrorCode;
use ring_api::model::{Done, LoginReply, LoginRequest};
use ring_state::{Account, ApiToken, AuditNote, Command, State};
use ring_types::{Name, Revision, Timestamp, TokenId};

use crate::refusals::Limit;
use crate::rest::App;
use crate::rest::auth::{Caller, SESSION_LIFE, hash_of, session};
use crate::rest::body::{Body, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::view;
use crate::rest::write::Request;
use crate::{clock, ids};

/// Begins a session; the reply has its token in clear, once.
#[utoipa::path(post, path = "/login", tag = "access", request_body = LoginRequest,
    responses((status = 200, body = LoginReply), (status = 401, body = ring_api::problem::Problem),
        (status = 429, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn login(
    Shared(app): Shared<App>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request,
    Body(body): Body<LoginRequest>,
) -> Result<Json<LoginReply>> {
    let limit = app.logins();
    limit.attempt(&body.username, from.ip()).map_err(too_many)?;
    let state = app.store.read().await?;
    let user = find(&state, &body.username);
    let hash = user.as_ref().map(|u| u.password_hash.clone());
    let right = app.passwords().verify(hash, body.password).await?;
    // Of a name nobody has nothing is kept: people type passwords there.
    let known = user.as_ref().map(|user| user.username.to_string()).unwrap_or_default();
    let Some(user) = user.filter(|_| right) else {
        return Err(ApiError::new(ErrorCode::WrongLogin, "wrong username or password").named(known));
    };
    limit.succeeded(&body.username, from.ip());
    let note = AuditNote { user: user.username.to_string(), user_id: Some(user.id), ..AuditNote::clone(&request.1) };
    begin(&app, &user, note).await.map(Json)
}

fn too_many(after: u64) -> ApiError {
    ApiError::too_many(Limit::Login, format!("too many failed logins; try again in {after} seconds"), after)
}

fn find(state: &State, username: &str) -> Option<std::sync::Arc<Account>> {
    Name::new(username).ok().and_then(|name| state.user_named(&name).cloned())
}

async fn begin(app: &App, user: &Account, note: AuditNote) -> Result<LoginReply> {
    let clear = session();
    let expires_at = Some(clock::now() + SESSION_LIFE);
    let request = ids::fresh();
    let token = ApiToken {
        id: TokenId(ids::derived(request, "session")),
        user: user.id,
        name: String::new(),
        hash: hash_of(&clear),
        scopes: Vec::new(),
        namespaces: Vec::new(),
        created_at: Timestamp(0),
        expires_at,
        last_used_at: None,
        version: Revision(0),
    };
    let note = AuditNote { token: Some(token.id), ..note };
    app.commit(&Request(request, Arc::new(note)), Command::CreateToken(token)).await?;
    Ok(LoginReply { token: clear, expires_at, user: view::account(user) })
}

/// Ends the session or token of the request.
#[utoipa::path(post, path = "/logout", tag = "access", responses((status = 200, body = Done)))]
pub(in crate::rest) async fn logout(Shared(app): Shared<App>, caller: Caller, request: Request) -> Result<Json<Done>> {
    let done = app.commit(&request, Command::RevokeTokens { ids: vec![caller.token.id] }).await?;
    Ok(Json(Done { revision: done.revision.0 }))
}
