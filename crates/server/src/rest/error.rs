//! Errors as `application/problem+json`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ring_api::errors::ErrorCode;
use ring_api::problem::{MEDIA_TYPE, Problem};
use ring_api::query::QueryError;
use ring_state::{AuditRefusal, Refusal, RefusalCode};
use ring_store::{MemberError, MissingMember, ProposeError, ReadError};
use ring_types::{Name, Rule, Violation};

use super::audit::Refused;
use crate::pki::SealError;
use crate::refusals::Limit;
use crate::services::EnrolError;

/// In a reply: the refusal was decided by an entry of the log, not by a look at a copy of the state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decided;

/// An error reply.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    problem: Box<Problem>,
    retry_after: Option<u64>,
    /// The namespace the caller reached for and may not see.
    reached: Option<Name>,
    /// The account a caller said to be, in vain.
    named: Option<String>,
    /// The limit it was refused for.
    limit: Option<Limit>,
    /// By an entry of the log.
    decided: bool,
}

pub(super) type Result<T> = std::result::Result<T, ApiError>;

impl ApiError {
    pub(super) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let body = matches!(code, ErrorCode::RequestTooLarge | ErrorCode::RequestSlow);
        Self { limit: body.then_some(Limit::Body), ..Self::of(Problem::new(code, detail)) }
    }

    fn of(problem: Problem) -> Self {
        Self { problem: Box::new(problem), retry_after: None, reached: None, named: None, limit: None, decided: false }
    }

    pub(super) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unauthenticated, detail).hint("log in with `ring login`, or set RING_TOKEN")
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, detail)
    }

    pub(super) fn not_found(code: ErrorCode, id: impl std::fmt::Display) -> Self {
        Self::new(code, format!("{} '{id}' not found", code.subject()))
    }

    pub(super) fn too_many(limit: Limit, detail: impl Into<String>, after: u64) -> Self {
        Self { retry_after: Some(after), limit: Some(limit), ..Self::new(ErrorCode::RequestTooMany, detail) }
    }

    pub(super) fn invalid(violations: Vec<Violation>) -> Self {
        Self::of(Problem::invalid(violations))
    }

    /// One broken rule; `field` is what codes call the place.
    pub(super) fn violation(path: &str, field: &str, rule: Rule, message: impl Into<String>) -> Self {
        Self::invalid(vec![Violation::new(path, field, rule, message)])
    }

    pub(super) fn internal(detail: impl std::fmt::Display) -> Self {
        tracing::error!("a request failed: {detail}");
        Self::new(ErrorCode::ServerInternal, "the server failed to answer; its log says why")
    }

    /// For the audit record: which namespace was reached for in vain.
    pub(super) fn reached(mut self, namespace: &Name) -> Self {
        self.reached = Some(namespace.clone());
        self
    }

    /// For the audit record: the account somebody said to be, in vain.
    pub(super) fn named(mut self, user: String) -> Self {
        self.named = Some(user);
        self
    }

    pub(super) fn hint(mut self, hint: &str) -> Self {
        self.problem.hint = Some(hint.to_owned());
        self
    }

    /// What is told of it.
    pub(super) fn into_problem(self) -> Box<Problem> {
        self.problem
    }

    fn unavailable(code: ErrorCode, detail: String, missing: &[MissingMember]) -> Self {
        let mut error = Self::new(code, detail);
        error.problem.missing = missing.iter().map(ToString::to_string).collect();
        error.retry_after = Some(1);
        error
    }

    fn no_quorum(detail: String, missing: &[MissingMember]) -> Self {
        let code = if missing.is_empty() { ErrorCode::NoLeader } else { ErrorCode::NoQuorum };
        Self::unavailable(code, detail, missing).hint("reads of this node's own copy work: ?consistency=stale")
    }
}

/// For a plain HTTP request where TLS is spoken. Nothing of it is done, but what it carried has been on the way in clear.
pub(crate) fn plain_refused(headers: &axum::http::HeaderMap) -> impl IntoResponse + use<> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("HOST:PORT");
    let shown: String = host.chars().take(200).collect();
    let refused = ApiError::new(
        ErrorCode::RequestHttps,
        format!("this port speaks HTTPS, and the request came as plain HTTP: write https://{shown}"),
    )
    .hint("log in once with what names the cluster's authority: ring login --host https://HOST:PORT --ca-fingerprint SHA256");
    ([(header::CONNECTION, "close")], refused)
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
        if self.decided {
            response.extensions_mut().insert(Decided);
        }
        if let Some(limit) = self.limit {
            response.extensions_mut().insert(limit);
        }
        if self.reached.is_some() || matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let refusal = AuditRefusal { code: self.problem.code, message: self.problem.detail };
            response.extensions_mut().insert(Refused { refusal, namespace: self.reached, named: self.named });
        }
        response
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        Self::new(ErrorCode::RequestQuery, error.to_string())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.code {
            RefusalCode::NotFound => ErrorCode::ObjectNotFound,
            RefusalCode::Conflict | RefusalCode::Stale => ErrorCode::ObjectConflict,
            RefusalCode::Forbidden => ErrorCode::ObjectForbidden,
            RefusalCode::LimitReached => ErrorCode::LimitReached,
            RefusalCode::Invalid => ErrorCode::ObjectState,
        };
        Self { decided: true, ..Self::new(code, refusal.message) }
    }
}

impl From<ProposeError> for ApiError {
    fn from(error: ProposeError) -> Self {
        let detail = error.to_string();
        match error {
            ProposeError::NoQuorum { missing } => Self::no_quorum(detail, &missing),
            ProposeError::Unknown { missing } => {
                let error = Self::unavailable(ErrorCode::OutcomeUnknown, detail, &missing);
                error.hint("repeat the request with the same Idempotency-Key: it is done once")
            }
            ProposeError::TooLarge { .. } => Self::new(ErrorCode::RequestTooLarge, detail),
            ProposeError::Shutdown => Self::unavailable(ErrorCode::ServerStopping, detail, &[]),
            ProposeError::Storage(_) => Self::unavailable(ErrorCode::ServerStorage, detail, &[]),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        let detail = error.to_string();
        match error {
            ReadError::NoQuorum { missing } => Self::no_quorum(detail, &missing),
            ReadError::Shutdown => Self::unavailable(ErrorCode::ServerStopping, detail, &[]),
            ReadError::Storage(_) => Self::unavailable(ErrorCode::ServerStorage, detail, &[]),
        }
    }
}

impl From<MemberError> for ApiError {
    fn from(error: MemberError) -> Self {
        let detail = error.to_string();
        match error {
            MemberError::NoQuorum { missing } => Self::no_quorum(detail, &missing),
            MemberError::Unknown => Self::unavailable(ErrorCode::OutcomeUnknown, detail, &[]),
            MemberError::Busy => Self::new(ErrorCode::MembersBusy, detail),
            MemberError::NotMember(_) => Self::new(ErrorCode::MemberNotFound, detail),
            MemberError::Behind { .. } => Self::new(ErrorCode::MemberBehind, detail),
            MemberError::LosesQuorum(_) => Self::new(ErrorCode::MemberLosesQuorum, detail),
            MemberError::Invalid(_) => Self::new(ErrorCode::MemberInvalid, detail),
            MemberError::Shutdown => Self::unavailable(ErrorCode::ServerStopping, detail, &[]),
            MemberError::Storage(_) => Self::unavailable(ErrorCode::ServerStorage, detail, &[]),
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
            EnrolError::Unavailable(detail) => Self::unavailable(ErrorCode::EnrolUnavailable, detail, &[]),
            EnrolError::Pki(error) => Self::internal(error),
            EnrolError::Token(detail) | EnrolError::Invalid(detail) | EnrolError::Conflict(detail) => {
                Self::new(ErrorCode::ObjectConflict, detail)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_by_the_code_the_audit_record_has() {
        use RefusalCode::{Conflict, Forbidden, Invalid, LimitReached, NotFound};
        for code in [NotFound, Conflict, Forbidden, LimitReached, Invalid] {
            assert_eq!(ApiError::from(Refusal::new(code, "why")).problem.code, code.as_str());
        }
    }
}
