//! Errors as `application/problem+json`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ring_api::problem::{MEDIA_TYPE, NO_LEADER, NO_QUORUM, Problem};
use ring_api::query::QueryError;
use ring_state::{Refusal, RefusalCode};
use ring_store::{MemberError, MissingMember, ProposeError, ReadError};
use ring_types::Violation;

use crate::pki::SealError;
use crate::services::EnrolError;

/// An error reply.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    problem: Box<Problem>,
    retry_after: Option<u64>,
}

pub(super) type Result<T> = std::result::Result<T, ApiError>;

impl ApiError {
    pub(super) fn new(status: u16, code: &str, detail: impl Into<String>) -> Self {
        Self { problem: Box::new(Problem::new(status, code, detail)), retry_after: None }
    }

    pub(super) fn bad_request(code: &str, detail: impl Into<String>) -> Self {
        Self::new(400, code, detail)
    }

    pub(super) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(401, "auth.required", detail).hint("log in with `ring login`, or set RING_TOKEN")
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(403, "auth.forbidden", detail)
    }

    pub(super) fn not_found(what: &str, id: impl std::fmt::Display) -> Self {
        Self::new(404, &format!("{}.not_found", what.replace(' ', "_")), format!("{what} '{id}' not found"))
    }

    pub(super) fn too_many(detail: impl Into<String>, after: u64) -> Self {
        Self { retry_after: Some(after), ..Self::new(429, "request.too_many", detail) }
    }

    pub(super) fn invalid(violations: Vec<Violation>) -> Self {
        Self { problem: Box::new(Problem::invalid(violations)), retry_after: None }
    }

    pub(super) fn violation(path: &str, code: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![Violation::new(path, code, message)])
    }

    pub(super) fn internal(detail: impl std::fmt::Display) -> Self {
        tracing::error!("a request failed: {detail}");
        Self::new(500, "server.internal", "the server failed to answer; its log says why")
    }

    pub(super) fn hint(mut self, hint: &str) -> Self {
        self.problem.hint = Some(hint.to_owned());
        self
    }

    fn unavailable(code: &str, detail: String, missing: &[MissingMember]) -> Self {
        let mut error = Self::new(503, code, detail);
        error.problem.missing = missing.iter().map(ToString::to_string).collect();
        error.retry_after = Some(1);
        error
    }

    fn no_quorum(detail: String, missing: &[MissingMember]) -> Self {
        let code = if missing.is_empty() { NO_LEADER } else { NO_QUORUM };
        Self::unavailable(code, detail, missing).hint("reads of this node's own copy work: ?consistency=stale")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        Self::bad_request("request.query", error.to_string())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match refusal.code {
            RefusalCode::NotFound => (404, "object.not_found"),
            RefusalCode::Conflict => (409, "object.conflict"),
            RefusalCode::Forbidden => (403, "object.forbidden"),
            RefusalCode::LimitReached => (409, "limit.reached"),
            RefusalCode::Invalid => (409, "object.state"),
        };
        Self::new(status, code, refusal.message)
    }
}

impl From<ProposeError> for ApiError {
    fn from(error: ProposeError) -> Self {
        let detail = error.to_string();
        match error {
            ProposeError::NoQuorum { missing } => Self::no_quorum(detail, &missing),
            ProposeError::Unknown { missing } => {
                let error = Self::unavailable("cluster.outcome_unknown", detail, &missing);
                error.hint("repeat the request with the same Idempotency-Key: it is done once")
            }
            ProposeError::TooLarge { .. } => Self::new(413, "request.too_large", detail),
            ProposeError::Shutdown => Self::unavailable("server.stopping", detail, &[]),
            ProposeError::Storage(_) => Self::unavailable("server.storage", detail, &[]),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        let detail = error.to_string();
        match error {
            ReadError::NoQuorum { missing } => Self::no_quorum(detail, &missing),
            ReadError::Shutdown => Self::unavailable("server.stopping", detail, &[]),
            ReadError::Storage(_) => Self::unavailable("server.storage", detail, &[]),
        }
    }
}

impl From<MemberError> for ApiError {
    fn from(error: MemberError) -> Self {
        let detail = error.to_string();
        match error {
            MemberError::NoQuorum { missing } => Self::no_quorum(detail, &missing),
            MemberError::Unknown => Self::unavailable("cluster.outcome_unknown", detail, &[]),
            MemberError::Busy => Self::new(409, "cluster.busy", detail),
            MemberError::NotMember(_) => Self::new(404, "member.not_found", detail),
            MemberError::Behind { .. } => Self::new(409, "member.behind", detail),
            MemberError::Invalid(_) => Self::new(409, "member.invalid", detail),
            MemberError::Shutdown => Self::unavailable("server.stopping", detail, &[]),
            MemberError::Storage(_) => Self::unavailable("server.storage", detail, &[]),
        }
    }
}

impl From<SealError> for ApiError {
    fn from(error: SealError) -> Self {
        Self::internal(error)
    }
}

impl From<EnrolError> for ApiError {
    fn from(error: EnrolError) -> Self {
        match error {
            EnrolError::Unavailable(detail) => Self::unavailable("cluster.unavailable", detail, &[]),
            EnrolError::Pki(error) => Self::internal(error),
            EnrolError::Token(detail) | EnrolError::Invalid(detail) | EnrolError::Conflict(detail) => {
                Self::new(409, "object.conflict", detail)
            }
        }
    }
}
