//! Why a command was not done. A refused command changes nothing.

use std::fmt;

/// The kind of a refusal; decides the HTTP status and the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalCode {
    /// The object is not there.
    NotFound,
    /// It is there already, or something depends on it.
    Conflict,
    /// The token is expired, used up, revoked or for another role.
    Forbidden,
    /// A limit is reached.
    LimitReached,
    /// The command makes no sense in this state.
    Invalid,
    /// What it was built from has changed: built anew, it may be done.
    Stale,
}

impl RefusalCode {
    /// The stable code the API answers it with, and the audit record has.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "object.not_found",
            Self::Conflict | Self::Stale => "object.conflict",
            Self::Forbidden => "object.forbidden",
            Self::LimitReached => "limit.reached",
            Self::Invalid => "object.state",
        }
    }
}

/// Why a command was not done: what, to which object, what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// Kind.
    pub code: RefusalCode,
    /// One line for people.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Refusal {
    /// A refusal of `code`.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// `what` is not there.
    pub fn not_found(what: impl fmt::Display) -> Self {
        Self::new(RefusalCode::NotFound, format!("{what} not found"))
    }

    /// `what` is in the way.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(RefusalCode::Conflict, message)
    }
}
