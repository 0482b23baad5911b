//! API tokens.

use axum::extract::State as Shared;
use ring_api::errors::ErrorCode;
use ring_api::model::{self, Changed, CreateToken, Done};
use ring_state::{ApiToken, Command, Role, State, TokenRotation};
use ring_types::Rule;
use ring_types::{Revision, Timestamp, TokenId, Violation};

use crate::rest::App;
use crate::rest::auth::{Caller, hash_of, pat, scopes};
use crate::rest::body::{Body, Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::View;
use crate::rest::view;
use crate::rest::write::{self, Request};
use crate::{clock, ids};

/// The caller's tokens; an admin's view has everybody's. Sessions are not among them.
#[utoipa::path(get, path = "/tokens", tag = "tokens", responses((status = 200, body = Vec<model::Token>)))]
pub(in crate::rest) async fn list(caller: Caller, view: View) -> Json<Vec<model::Token>> {
    let mut tokens: Vec<_> =
        view.state.tokens().filter(|token| shown(token, &caller)).map(|t| view::token(&view.state, t)).collect();
    tokens.sort_by(|a, b| (a.created_at, &a.name).cmp(&(b.created_at, &b.name)));
    Json(tokens)
}

/// Sessions are not tokens to people.
fn shown(token: &ApiToken, caller: &Caller) -> bool {
    !token.name.is_empty() && (caller.user.role == Role::Admin || token.user == caller.user.id)
}

/// One API token, without its secret.
#[utoipa::path(get, path = "/tokens/{id}", tag = "tokens", params(("id" = String, Path)), responses((status = 200, body = model::Token)))]
pub(in crate::rest) async fn one(caller: Caller, view: View, Id(id): Id<TokenId>) -> Result<Json<model::Token>> {
    let found = view.state.token(id).filter(|token| shown(token, &caller));
    found.map(|t| Json(view::token(&view.state, t))).ok_or_else(|| ApiError::not_found(ErrorCode::TokenNotFound, id))
}

/// Makes an API token; the reply has it in clear, once.
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = CreateToken,
    responses((status = 200, body = model::Token), (status = 422, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn create(
    Shared(app): Shared<App>,
    caller: Caller,
    request: Request,
    Body(body): Body<CreateToken>,
) -> Result<Json<Changed<model::Token>>> {
    known_scopes(&body.scopes)?;
    let name = write::name("name", &body.name)?;
    let namespaces: Result<Vec<_>> = body.namespaces.iter().map(|n| write::name("namespaces", n)).collect();
    let clear = pat(&app.secret, request.0);
    let id = TokenId(ids::derived(request.0, "token"));
    let token = ApiToken {
        id,
        user: caller.user.id,
        name: name.to_string(),
        hash: hash_of(&clear),
        scopes: body.scopes,
        namespaces: namespaces?,
        created_at: Timestamp(0),
        expires_at: body.expires_in.map(|life| clock::now() + life),
        last_used_at: None,
        version: Revision(0),
    };
    told(&app, &request, id, clear, Command::CreateToken(token)).await
}

/// Gives a token another secret, which the reply has in clear, once. The one before stops working at once; name, scopes, namespaces
/// and end stay.
#[utoipa::path(post, path = "/tokens/{id}/rotate", tag = "tokens", params(("id" = String, Path)),
    responses((status = 200, body = model::Token), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn rotate(
    Shared(app): Shared<App>,
    view: View,
    request: Request,
    Id(id): Id<TokenId>,
) -> Result<Json<Changed<model::Token>>> {
    known(&app, &view.state, &request, id).await?;
    let clear = pat(&app.secret, request.0);
    told(&app, &request, id, clear.clone(), Command::RotateToken(TokenRotation { id, hash: hash_of(&clear) })).await
}

/// Commits what gives a token its secret, and tells it.
async fn told(app: &App, request: &Request, id: TokenId, clear: String, command: Command) -> Result<Json<Changed<model::Token>>> {
    let (done, state) = app.commit_and_see(request, command).await?;
    let made = state.token(id).ok_or_else(|| ApiError::not_found(ErrorCode::TokenNotFound, id))?;
    let object = model::Token { token: Some(clear), ..view::token(&state, made) };
    Ok(Json(Changed { object, revision: done.revision.0 }))
}

/// Fails when there is no such token. A repeated request may find it gone, and still has to get the answer of the first time.
async fn known(app: &App, state: &State, request: &Request, id: TokenId) -> Result<()> {
    let repeated = state.past_request(request.0).is_some();
    if !repeated && state.token(id).is_none() && app.store.read().await?.token(id).is_none() {
        return Err(ApiError::not_found(ErrorCode::TokenNotFound, id));
    }
    Ok(())
}

/// A token without a scope could do everything; one says so with `admin`.
fn known_scopes(wanted: &[String]) -> Result<()> {
    let known = scopes();
    let mut violations: Vec<_> = wanted
        .iter()
        .enumerate()
        .filter(|(_, scope)| !known.contains(scope))
        .map(|(i, scope)| {
            let message = format!("'{scope}' is not one of {}", known.join(", "));
            Violation::new(format!("scopes[{i}]"), "token.scopes", Rule::Unknown, message)
        })
        .collect();
    if wanted.is_empty() {
        violations.push(Violation::new("scopes", "token.scopes", Rule::Required, "a token needs at least one scope"));
    }
    if violations.is_empty() { Ok(()) } else { Err(ApiError::invalid(violations)) }
}

/// Takes a token away at once.
#[utoipa::path(delete, path = "/tokens/{id}", tag = "tokens", params(("id" = String, Path)), responses((status = 200, body = Done)))]
pub(in crate::rest) async fn revoke(
    Shared(app): Shared<App>,
    view: View,
    request: Request,
    Id(id): Id<TokenId>,
) -> Result<Json<Done>> {
    known(&app, &view.state, &request, id).await?;
    let done = app.commit(&request, Command::RevokeTokens { ids: vec![id] }).await?;
    Ok(Json(Done { revision: done.revision.0 }))
}
