//! What a driver can fail with.

use ring_types::StartFailure;

/// Which step failed; decides what the agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeErrorKind {
    /// The instance can not be started, for this reason. It was not started.
    Start(StartFailure),
    /// The runtime does not answer now (daemon down or hung). Nothing is known; try again.
    Unavailable,
    /// The instance is not there.
    NotFound,
    /// The runtime answered with something else.
    Other,
}

/// An error of a driver: what was tried, on what, and what the runtime said.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct RuntimeError {
    /// Which step.
    pub kind: RuntimeErrorKind,
    /// For people: says the object and the cause.
    pub message: String,
}

impl RuntimeError {
    /// An error of `kind`.
    pub fn new(kind: RuntimeErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Is it worth calling the same verb again, unchanged?
    pub const fn retryable(&self) -> bool {
        match self.kind {
            RuntimeErrorKind::Unavailable | RuntimeErrorKind::Other => true,
            RuntimeErrorKind::Start(_) | RuntimeErrorKind::NotFound => false,
        }
    }
}
