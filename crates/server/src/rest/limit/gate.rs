//! The count every request passes before anything is done for it.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ring_types::TokenId;

use crate::buckets::seconds;
use crate::clock;
use crate::origin::Origin;
use crate::refusals::Limit;
use crate::rest::App;
use crate::rest::auth::{Caller, bearer, hash_of};
use crate::rest::error::{ApiError, Result};

/// Lets a request through when its token, or the address of a caller without one, has not had too many. Counts what is refused
/// for whatever limit.
pub(in crate::rest) async fn limited(State(app): State<App>, request: Request, next: Next) -> Response {
    let response = match count(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    if let Some(limit) = response.extensions().get::<Limit>() {
        app.refusals.count(*limit);
    }
    response
}

fn count(app: &App, request: &Request) -> Result<()> {
    let limit = app.caller_limit();
    if let Some(token) = token_of(app, request) {
        return limit.tokens.take(token).map_err(|wait| too_many(Limit::Requests, "this token", seconds(wait)));
    }
    // In tests a request may come from nowhere.
    let Some(ConnectInfo(from)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else { return Ok(()) };
    let wait = limit.anonymous.take(Origin::of(from.ip()));
    wait.map_err(|wait| too_many(Limit::Anonymous, "this address, without a token that is known here,", seconds(wait)))
}

/// Whose it is, as far as this node's own copy knows: to ask the others would cost what is to be saved.
fn token_of(app: &App, request: &Request) -> Option<TokenId> {
    let hash = hash_of(bearer(request.headers()).ok()?);
    Caller::of(&app.store.local(), &hash, clock::now()).map(|caller| caller.token.id)
}

fn too_many(limit: Limit, who: &str, after: u64) -> ApiError {
    ApiError::too_many(limit, format!("{who} makes too many requests; try again in {after} s"), after)
}
