//! What can go wrong with a request.

use crate::errors::ErrorCode;
use crate::problem::Problem;
use crate::tls::TlsFailure;

/// Why one control node gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its address.
    pub host: String,
    /// What happened.
    pub reason: String,
}

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No control node could be reached.
    #[error("cannot reach the API at {}", hosts(.0))]
    Unreachable(Vec<Failure>),
    /// The server answered with an error.
    #[error("{}", sentence(.0))]
    Problem(Box<Problem>),
    /// What cannot be taken up again elsewhere broke off.
    #[error("lost the connection to {host}: {reason}")]
    Broken {
        /// Whom it was with.
        host: String,
        /// What happened.
        reason: String,
    },
    /// A control node could not be trusted, or does not speak TLS. Nothing was sent to it.
    #[error("no trusted connection to {host}: {failure}")]
    Tls {
        /// Its address.
        host: String,
        /// What is wrong.
        failure: TlsFailure,
    },
    /// Something answered that is not ring.
    #[error("{host} gave an answer that is not understood: {reason}")]
    Unexpected {
        /// Who answered.
        host: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The client could not be set up.
    #[error("the HTTP client could not be set up: {0}")]
    Setup(String),
}

impl ClientError {
    /// The HTTP status of the answer, where there was one from ring.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            _ => None,
        }
    }

    /// May the same request work a little later?
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Problem(problem) => matches!(problem.status, 429 | 502 | 503 | 504),
            Self::Tls { .. } | Self::Broken { .. } | Self::Unexpected { .. } | Self::Setup(_) => false,
        }
    }
}

fn hosts(failures: &[Failure]) -> String {
    let each: Vec<_> = failures.iter().map(|failure| format!("{} ({})", failure.host, failure.reason)).collect();
    each.join(", ")
}

fn sentence(problem: &Problem) -> String {
    let what = if problem.detail.is_empty() { &problem.title } else { &problem.detail };
    if problem.is(ErrorCode::NoQuorum) && !problem.missing.is_empty() {
        return format!("{what}: not reachable: {}", problem.missing.join(", "));
    }
    what.clone()
}

/// An error and what caused it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}
