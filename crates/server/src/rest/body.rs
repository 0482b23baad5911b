//! Request bodies and replies.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::extract::{FromRequest, Path, Request};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CallerLimits;
use super::error::{ApiError, Result};
use super::pace::Pace;
use ring_api::errors::ErrorCode;

/// The body of a request once it was read, for whoever has to ask again. Copies are the same one.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Bytes>>);

impl Kept {
    /// What was read; nothing when nothing was.
    pub(super) fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, bytes: &Bytes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bytes.clone();
    }
}

/// A JSON body; an empty one is the default, where there is one.
pub(super) struct Body<T>(pub(super) T);

/// The bytes of a body, at most 4 MiB.
pub(super) struct Raw(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let pace = request.extensions().get::<Pace>().cloned().unwrap_or_else(|| Pace::new(CallerLimits::default()));
        let kept = request.extensions().get::<Kept>().cloned();
        let bytes = pace.read(request, |request| Bytes::from_request(request, state)).await?.map_err(|rejection| {
            if rejection.status().as_u16() == 413 {
                let detail = format!("the request has more than {} bytes", ring_api::MAX_BODY);
                return ApiError::new(ErrorCode::RequestTooLarge, detail);
            }
            ApiError::new(ErrorCode::RequestBody, rejection.body_text())
        })?;
        if let Some(kept) = kept {
            kept.put(&bytes);
        }
        Ok(Self(bytes))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let Raw(bytes) = Raw::from_request(request, state).await?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text)
            .map(Self)
            .map_err(|e| ApiError::new(ErrorCode::RequestBody, format!("the body is not as expected: {e}")))
    }
}

/// The `{id}` of a path, read as one of our ids.
pub(super) struct Id<T>(pub(super) T);

impl<T, S> FromRequestParts<S> for Id<T>
where
    T: std::str::FromStr,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|e| ApiError::new(ErrorCode::RequestPath, e.body_text()))?;
        let unknown = || ApiError::new(ErrorCode::ObjectNotFound, format!("'{text}' is not an id"));
        text.parse().map(Self).map_err(|_| unknown())
    }
}

/// A JSON reply.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}
