//! Routes, and what surrounds every handler.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use futures::FutureExt;
use tower::ServiceExt as _;

use super::App;
use super::auth::check;
use super::error::ApiError;
use super::limit;
use super::pace::Pace;
use super::routes::{
    apply, audit, authority, cluster, configs, deployments, events, exec, health_checks, join_tokens, keys, login, logs, meta,
    metrics, namespaces, nodes, rebalance, secrets, snapshot, succession, tokens, users, volumes, webhooks,
};
use ring_api::errors::ErrorCode;

/// Longest time to the head of a reply, that in which the body of the request comes aside; what streams goes on.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);

/// The API of one control node, as it is served. Copies are the same.
///
/// What every request passes, whether there is a route for it or not, is written down here and not as layers of the router: each
/// layer costs an allocation, and a copy of the request and of all that is below it.
#[derive(Clone)]
pub struct Api {
    app: App,
    routes: Router,
    /// Its name as it stands in replies.
    name: Option<HeaderValue>,
}

impl Api {
    /// The API of these parts.
    pub fn new(app: App) -> Self {
        Self { name: HeaderValue::from_str(&app.name).ok(), routes: routes(app.clone()), app }
    }

    /// Answers a request, and says which control node did.
    pub async fn answer(&self, request: Request) -> Response {
        let mut response = self.in_time(request).await;
        if let Some(name) = &self.name {
            response.headers_mut().insert(HeaderName::from_static(ring_api::SERVED_BY), name.clone());
        }
        response
    }

    /// A handler has a time, beside that in which the body comes, and a fault in it is one failed request.
    async fn in_time(&self, mut request: Request) -> Response {
        let pace = Pace::new(self.app.limits);
        request.extensions_mut().insert(pace.clone());
        let guarded = AssertUnwindSafe(self.counted(request)).catch_unwind();
        tokio::select! {
            result = guarded => result.unwrap_or_else(|_| ApiError::internal("a handler panicked").into_response()),
            () = pace.over(HANDLER_TIMEOUT) => ApiError::new(ErrorCode::RequestTimeout, "no answer in time").into_response(),
        }
    }

    /// Who has had too many requests gets none. What is refused for whatever limit is counted.
    async fn counted(&self, mut request: Request) -> Response {
        let response = match limit::count(&self.app, &request) {
            Ok(()) => {
                DefaultBodyLimit::max(ring_api::MAX_BODY).apply(&mut request);
                let Ok(response) = self.routes.clone().oneshot(request).await;
                response
            }
            Err(error) => error.into_response(),
        };
        limit::note(&self.app, &response);
        response
    }
}

fn routes(app: App) -> Router {
    let routes = Router::new()
        .merge(deployment_routes())
        .merge(object_routes())
        .merge(access_routes())
        .merge(webhook_routes())
        .merge(cluster_routes())
        .route("/healthz", get(meta::healthz))
        .route("/readyz", get(meta::readyz))
        .route("/metrics", get(meta::metrics))
        .route("/openapi.json", get(meta::openapi))
        .route("/errors/{code}", get(meta::error_entry));
    routes
        .method_not_allowed_fallback(no_such_method)
        .route_layer(from_fn_with_state(app.clone(), check))
        .fallback(no_such_route)
        .with_state(app)
}

fn deployment_routes() -> Router<App> {
    Router::new()
        .route("/deployments", get(deployments::list).post(apply::apply))
        .route("/deployments/{id}", get(deployments::one).delete(deployments::remove))
        .route("/deployments/{id}/instances", get(deployments::instances))
        .route("/deployments/{id}/restart", post(succession::restart))
        .route("/deployments/{id}/rollback", post(succession::rollback))
        .route("/deployments/{id}/logs", get(logs::logs))
        .route("/deployments/{id}/exec", get(exec::exec))
        .route("/deployments/{id}/metrics", get(metrics::metrics))
        .route("/deployments/{id}/events", get(events::events))
        .route("/deployments/{id}/health-checks", get(health_checks::health_checks))
}

fn object_routes() -> Router<App> {
    Router::new()
        .route("/secrets", get(secrets::list).post(secrets::put))
        .route("/secrets/rotate-key", get(keys::progress).post(keys::rotate))
        .route("/secrets/{id}", get(secrets::one).delete(secrets::remove))
        .route("/configs", get(configs::list).post(configs::create))
        .route("/configs/{id}", get(configs::one).put(configs::replace).delete(configs::remove))
        .route("/volumes", get(volumes::list).post(volumes::create))
        .route("/volumes/{id}", get(volumes::one).delete(volumes::remove))
        .route("/namespaces", get(namespaces::list).post(namespaces::create))
        .route("/namespaces/{name}", get(namespaces::one).delete(namespaces::remove))
        .route("/namespaces/{name}/audit", get(audit::namespace))
        .route("/namespaces/{name}/prune", post(namespaces::prune))
}

fn access_routes() -> Router<App> {
    Router::new()
        .route("/login", post(login::login))
        .route("/logout", post(login::logout))
        .route("/users", get(users::list).post(users::create))
        .route("/users/me", get(users::me))
        .route("/users/{id}", get(users::one).put(users::update).delete(users::remove))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{id}", get(tokens::one).delete(tokens::revoke))
        .route("/tokens/{id}/rotate", post(tokens::rotate))
}

fn webhook_routes() -> Router<App> {
    Router::new()
        .route("/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/webhooks/{id}", get(webhooks::one).delete(webhooks::remove))
        .route("/webhooks/{id}/test", post(webhooks::test))
        .route("/webhooks/{id}/redeliver", post(webhooks::redeliver_all))
        .route("/webhooks/{id}/deliveries", get(webhooks::deliveries))
        .route("/webhooks/{id}/deliveries/{delivery}/redeliver", post(webhooks::redeliver))
}

fn cluster_routes() -> Router<App> {
    Router::new()
        .route("/node/get", get(nodes::own))
        .route("/nodes", get(nodes::list))
        .route("/nodes/rebalance", get(rebalance::look).post(rebalance::begin))
        .route("/nodes/{id}", get(nodes::one).patch(nodes::change).delete(nodes::remove))
        .route("/cluster", get(cluster::status))
        .route("/cluster/ca/rotate", post(authority::rotate))
        .route("/cluster/snapshot", get(snapshot::save))
        .route("/cluster/audit", get(audit::cluster))
        .route("/cluster/members", get(cluster::members))
        .route("/cluster/members/{id}", delete(cluster::remove))
        .route("/cluster/members/{id}/promote", post(cluster::promote))
        .route("/cluster/transfer-leader", post(cluster::transfer))
        .route("/cluster/tokens", get(join_tokens::list).post(join_tokens::create))
        .route("/cluster/tokens/{id}", delete(join_tokens::revoke))
}

async fn no_such_route(request: Request) -> ApiError {
    ApiError::new(ErrorCode::RouteNotFound, format!("there is no {}", request.uri().path()))
}

async fn no_such_method(request: Request) -> ApiError {
    ApiError::new(ErrorCode::RouteClosed, format!("{} does not take {}", request.uri().path(), request.method()))
}
