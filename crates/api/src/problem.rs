//! Errors on the wire: `application/problem+json` of RFC 9457.

use ring_types::Violation;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::errors::{ENTRIES, ErrorCode};

/// Media type of an error reply.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Address of the entry about this kind of error, on the control node that answered.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// What kind of error it is, for people.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What happened, to which object.
    #[serde(default)]
    pub detail: String,
    /// Stable code: `deployment.not_found`, `cluster.no_quorum` and the like.
    #[serde(default)]
    pub code: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Every broken rule of a 422.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub violations: Vec<Violation>,
    /// Of a 503 without quorum: the control nodes that cannot be reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

impl Problem {
    /// An error of one of the known codes.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("{ENTRIES}{}", code.as_str()),
            title: title(code.status()).to_owned(),
            status: code.status(),
            detail: detail.into(),
            code: code.as_str().to_owned(),
            ..Self::default()
        }
    }

    /// A 422 with every broken rule.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let count = violations.len();
        let detail = if count == 1 { "1 violation".to_owned() } else { format!("{count} violations") };
        Self { violations, ..Self::new(ErrorCode::RequestInvalid, detail) }
    }

    /// Is it of this code?
    pub fn is(&self, code: ErrorCode) -> bool {
        self.code == code.as_str()
    }

    /// The same with a next step.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with the control nodes that are missing.
    #[must_use]
    pub fn with_missing(mut self, missing: Vec<String>) -> Self {
        self.missing = missing;
        self
    }
}

const fn title(status: u16) -> &'static str {
    match status {
        400 => "Malformed request",
        401 => "Not authenticated",
        403 => "Not allowed",
        404 => "Not found",
        409 => "Conflict",
        413 => "Too large",
        422 => "Invalid",
        426 => "Upgrade required",
        429 => "Too many requests",
        503 => "Unavailable",
        504 => "Timed out",
        _ => "Error",
    }
}
