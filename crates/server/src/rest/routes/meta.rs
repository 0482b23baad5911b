//! Health, figures, and the description of the API.

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ring_api::errors::{self, ErrorCode};
use ring_api::model::Health;

use crate::rest::App;
use crate::rest::body::{Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::{openapi as description, prometheus};

fn health(app: &App, status: &str) -> Json<Health> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Json(Health { status: status.to_owned(), node: app.name.clone(), version })
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "meta", responses((status = 200, body = Health)), security(()))]
pub(in crate::rest) async fn healthz(Shared(app): Shared<App>) -> Json<Health> {
    health(&app, "ok")
}

/// The control node can serve: it is in contact with a leader.
#[utoipa::path(get, path = "/readyz", tag = "meta", responses((status = 200, body = Health), (status = 503, body = Health)), security(()))]
pub(in crate::rest) async fn readyz(Shared(app): Shared<App>) -> Response {
    let leader = app.store.leadership().borrow().leader.is_some();
    if !leader {
        (StatusCode::SERVICE_UNAVAILABLE, health(&app, "no leader")).into_response()
    } else if app.pulse.isolated() {
        (StatusCode::SERVICE_UNAVAILABLE, health(&app, "no contact with the leader")).into_response()
    } else if app.store.local().meta().is_none() {
        (StatusCode::SERVICE_UNAVAILABLE, health(&app, "catching up")).into_response()
    } else {
        health(&app, "ok").into_response()
    }
}

/// Measures in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "meta", responses((status = 200, body = String)), security(()))]
pub(in crate::rest) async fn metrics(Shared(app): Shared<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], prometheus::text(&app))
}

/// What an error code means and what to do: where the `type` of an error points.
#[utoipa::path(get, path = "/errors/{code}", tag = "meta", params(("code" = String, Path)),
    responses((status = 200, body = String), (status = 404, body = ring_api::problem::Problem)), security(()))]
pub(in crate::rest) async fn error_entry(Id(code): Id<String>) -> Result<impl IntoResponse> {
    let entry =
        errors::entry(&code).ok_or_else(|| ApiError::new(ErrorCode::ObjectNotFound, format!("there is no code '{code}'")))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], entry))
}

/// The description of this interface.
#[utoipa::path(get, path = "/openapi.json", tag = "meta", responses((status = 200, body = Object)), security(()))]
pub(in crate::rest) async fn openapi() -> impl IntoResponse {
    axum::Json(description::document())
}
