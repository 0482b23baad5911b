//! The gate every request passes.

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::table::{Need, methods, need};
use super::{Caller, Verb, hash_of};
use crate::clock;
use crate::rest::App;
use crate::rest::audit::{Asked, Refused};
use crate::rest::body::Kept;
use crate::rest::error::{ApiError, Decided, Result};
use crate::rest::read::View;
use ring_api::errors::ErrorCode;

/// Lets a request through when its route is in the table and its caller may.
pub(in crate::rest) async fn check(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let needed = path.as_ref().and_then(|path| need(request.method(), path.as_str()));
    let admitted = match needed {
        None => return closed(&request, path.as_ref().map_or("", MatchedPath::as_str)),
        Some(Need::Nothing) => Ok(None),
        Some(needed) => admit(&app, needed, &mut request, None).await.map(|view| Some((needed, view))),
    };
    let asked = Asked::of(request.extensions(), request.method(), request.uri());
    let reading = request.method() == Method::GET;
    let response = match admitted {
        Err(error) => error.into_response(),
        Ok(None) => next.run(request).await,
        Ok(Some((_, view))) if reading => {
            let mut response = next.run(request).await;
            view.label(response.headers_mut());
            response
        }
        Ok(Some((needed, view))) => change(&app, needed, &view, request, next).await,
    };
    if let Some(refused) = response.extensions().get::<Refused>().cloned() {
        app.audit.add(asked.refused(&app.name, refused));
    }
    response
}

/// Has a change done. What this node's own copy speaks against is looked at once more in the current state: the copy may be behind
/// what somebody else was told already.
async fn change(app: &App, needed: Need, seen: &View, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let kept = Kept::default();
    parts.extensions.insert(kept.clone());
    let again = parts.clone();
    let response = next.clone().run(Request::from_parts(parts, body)).await;
    if !early(&response) {
        return response;
    }
    match once_more(app, needed, seen, (again, kept)).await {
        Ok(None) => response,
        Ok(Some(request)) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// A handler refused it, before anything was committed.
fn early(response: &Response) -> bool {
    let refused = [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND, StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY];
    refused.contains(&response.status()) && response.extensions().get::<Decided>().is_none()
}

/// The request again with the current state; None when it has seen that already.
async fn once_more(app: &App, needed: Need, seen: &View, (parts, kept): (Parts, Kept)) -> Result<Option<Request>> {
    let view = View::current(app).await?;
    if view.state.revision() == seen.state.revision() {
        return Ok(None);
    }
    let mut request = Request::from_parts(parts, Body::from(kept.take()));
    admit(app, needed, &mut request, Some(view)).await?;
    Ok(Some(request))
}

/// The path has other methods, which the reply names.
fn closed(request: &Request, path: &str) -> Response {
    let detail = format!("{} does not take {}", request.uri().path(), request.method());
    let mut response = ApiError::new(ErrorCode::RouteClosed, detail).into_response();
    if let Ok(methods) = HeaderValue::from_str(&methods(path)) {
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}

/// A stale read, where no other control node can be asked whether the token is one that this one has not heard of yet.
const UNKNOWN_HERE: &str = "this control node's copy does not know the token, or it has expired; no newer copy can be read now";

/// Lets the caller in, as `known` has it, else as the state has it that this kind of request sees.
async fn admit(app: &App, needed: Need, request: &mut Request, known: Option<View>) -> Result<View> {
    let hash = hash_of(bearer(request.headers())?);
    // What changes something by a GET is not let through by a copy that may be stale.
    let changes = matches!(needed, Need::May(Verb::Write, _)) && request.method() == Method::GET;
    let mut view = match known {
        Some(view) => view,
        None if changes => View::current(app).await?,
        None => View::of(app, request.method(), request.uri().query().unwrap_or_default()).await?,
    };
    let mut caller = Caller::of(&view.state, &hash, clock::now());
    // The token may be newer than this node's copy.
    if caller.is_none() && request.method() != Method::GET {
        view = View::current(app).await?;
        caller = Caller::of(&view.state, &hash, clock::now());
    } else if caller.is_none() && view.is_stale() {
        let newer = View::current(app).await.map_err(|_| ApiError::unauthenticated(UNKNOWN_HERE))?;
        caller = Caller::of(&newer.state, &hash, clock::now());
    }
    let caller = caller.ok_or_else(|| ApiError::unauthenticated("the token is not known, or has expired"))?;
    app.uses.note(&caller.token, clock::now());
    // Also of somebody who may not: the record says who it was.
    request.extensions_mut().insert(caller.clone());
    if let Need::May(verb, resource) = needed {
        caller.require(verb, resource)?;
    }
    request.extensions_mut().insert(view.clone());
    Ok(view)
}

/// The token a request shows.
pub(in crate::rest) fn bearer(headers: &HeaderMap) -> Result<&str> {
    let missing = || ApiError::unauthenticated("this needs a token");
    let text = headers.get(header::AUTHORIZATION).ok_or_else(missing)?.to_str().map_err(|_| missing())?;
    text.strip_prefix("Bearer ").map(str::trim).ok_or_else(missing)
}
