//! The count every request passes before anything is done for it.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use ring_types::TokenId;

use crate::buckets::seconds;
use crate::clock;
use crate::origin::Origin;
use crate::refusals::Limit;
use crate::rest::App;
use crate::rest::auth::{Caller, bearer, hash_of};
use crate::rest::error::{ApiError, Result};

/// Counts a request that has come.
///
/// # Errors
/// When its token, or the address of a caller without one, has had too many.
pub(in crate::rest) fn count(app: &App, request: &Request) -> Result<()> {
    let limit = app.caller_limit();
    if let Some(token) = token_of(app, request) {
        return limit.tokens.take(token).map_err(|wait| too_many(Limit::Requests, "this token", seconds(wait)));
    }
    // In tests a request may come from nowhere.
    let Some(ConnectInfo(from)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else { return Ok(()) };
    let wait = limit.anonymous.take(Origin::of(from.ip()));
    wait.map_err(|wait| too_many(Limit::Anonymous, "this address, without a token that is known here,", seconds(wait)))
}

/// Counts a reply, when it refuses for whatever limit.
pub(in crate::rest) fn note(app: &App, response: &Response) {
    if let Some(limit) = response.extensions().get::<Limit>() {
        app.refusals.count(*limit);
    }
}

/// Whose it is, as far as this node's own copy knows: to ask the others would cost what is to be saved.
fn token_of(app: &App, request: &Request) -> Option<TokenId> {
    let hash = hash_of(bearer(request.headers()).ok()?);
    Caller::of(&app.store.local(), &hash, clock::now()).map(|caller| caller.token.id)
}

fn too_many(limit: Limit, who: &str, after: u64) -> ApiError {
    ApiError::too_many(limit, format!("{who} makes too many requests; try again in {after} s"), after)
}
