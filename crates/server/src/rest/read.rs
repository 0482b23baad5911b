//! The state a request sees. The same one decides who may and what is answered.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use ring_api::{REVISION, STALE_AGE, query};
use ring_state::State;

use super::App;
use super::error::{ApiError, Result};

/// The state a request sees: current for reads, unless the caller asked for this node's own copy; for writes the copy of this
/// node, which the command is checked against again when it is applied.
#[derive(Clone)]
pub(super) struct View {
    pub(super) state: State,
    /// How long ago this node knew that its copy was current; for stale reads only.
    age: Option<Duration>,
}

impl View {
    pub(super) async fn of(app: &App, method: &Method, query: &str) -> Result<Self> {
        if query::stale(query)? {
            return Ok(Self { state: app.store.local(), age: Some(app.pulse.silence()) });
        }
        if *method != Method::GET && !app.pulse.isolated() {
            return Ok(Self { state: app.store.local(), age: None });
        }
        Self::current(app).await
    }

    pub(super) async fn current(app: &App) -> Result<Self> {
        Ok(Self { state: app.store.read().await?, age: None })
    }

    /// Was it asked for without a look at what the other control nodes know?
    pub(super) fn is_stale(&self) -> bool {
        self.age.is_some()
    }

    /// Says in the reply what it reflects.
    pub(super) fn label(&self, headers: &mut HeaderMap) {
        headers.insert(REVISION, HeaderValue::from(self.state.revision().0));
        if let Some(age) = self.age {
            let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            headers.insert(STALE_AGE, HeaderValue::from(millis));
        }
    }
}

impl FromRequestParts<App> for View {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::internal("a handler without a view"))
    }
}

/// The query string.
pub(super) struct Query(pub(super) String);

impl FromRequestParts<App> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self> {
        Ok(Self(parts.uri.query().unwrap_or_default().to_owned()))
    }
}
