//! Every way a command can fail, and the one place where a failure becomes a message, details, a hint and an exit code.

use std::io;
use std::path::PathBuf;

use ring_api::client::{ClientError, HostError, TlsFailure};
use ring_api::errors::ErrorCode;
use ring_types::Violation;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The API refused, or could not be reached.
    #[error(transparent)]
    Api(#[from] ClientError),
    /// No object answers to what was typed.
    #[error("{kind} '{wanted}' not found{}", meant(.near.as_deref()))]
    NotFound {
        /// Deployment, node and so on.
        kind: &'static str,
        /// What was typed.
        wanted: String,
        /// What was probably meant.
        near: Option<String>,
    },
    /// Several objects do.
    #[error("'{wanted}' fits {} {kind}s", .matches.len())]
    Ambiguous {
        /// Deployment, node and so on.
        kind: &'static str,
        /// What was typed.
        wanted: String,
        /// Which.
        matches: Vec<String>,
    },
    /// The manifest cannot be parsed.
    #[error("{file}: {message}")]
    Syntax {
        /// Its file.
        file: String,
        /// What and where.
        message: String,
    },
    /// The manifest breaks rules.
    #[error("{file}: {}", count(.violations))]
    Invalid {
        /// Its file.
        file: String,
        /// All of them.
        violations: Vec<Violation>,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of this program is not as it should be.
    #[error("{}: {message}", .path.display())]
    Config {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file that is not overwritten.
    #[error("{} exists", .0.display())]
    Exists(PathBuf),
    /// The secret key cannot be made.
    #[error(transparent)]
    SecretKey(#[from] crate::config::SecretKeyError),
    /// Neither the variable nor a home directory is set.
    #[error("no place for ring's files: neither HOME nor {0} is set")]
    NoHome(&'static str),
    /// The list of control nodes is no such list.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A certificate authority is pinned, and a control node is to be spoken to in clear.
    #[error("{host} is plain HTTP, and {pinned} is given, which has no use there")]
    PlainThoughPinned {
        /// The control node.
        host: String,
        /// What is given.
        pinned: &'static str,
    },
    /// The command line asks for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Nothing to log in with.
    #[error("not logged in at {0}")]
    NotLoggedIn(String),
    /// What was waited for came to a bad end.
    #[error("{message}")]
    Failed {
        /// What happened to what.
        message: String,
        /// Its last log lines.
        details: Vec<String>,
        /// What to do.
        hint: Option<String>,
    },
    /// `--timeout` ran out.
    #[error("{0}")]
    TimedOut(String),
    /// Ctrl-C.
    #[error("stopped waiting; the work goes on")]
    Interrupted,
    /// Some checks of the doctor failed.
    #[error("{0} of this host's checks failed")]
    Doctor(usize),
    /// Part of what was asked for was done.
    #[error("{} of {total} failed", .failures.len())]
    Partly {
        /// How many were asked for.
        total: usize,
        /// Those that failed.
        failures: Vec<CliError>,
    },
    /// This build cannot do it.
    #[error("this build of ring is the client alone: it cannot run '{0}'")]
    ClientOnly(&'static str),
    /// Reading from the terminal or standard input failed.
    #[error("cannot read from {0}: {1}")]
    Input(&'static str, io::Error),
    /// Nobody reads standard output any more.
    #[error("standard output is closed")]
    OutputClosed,
    /// Standard output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// An object cannot be written in the wanted format.
    #[error("cannot write this as {0}: {1}")]
    Format(&'static str, String),
    /// The system gave this program no runtime.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

/// The end of a message about a name that is nobody's.
pub(crate) fn meant(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default()
}

/// How many there are; those that are only counted are one line without a place.
fn count(violations: &[Violation]) -> String {
    let listed = violations.iter().filter(|violation| !violation.property_path.is_empty()).count();
    match listed {
        listed if listed < violations.len() && listed > 0 => format!("more than {listed} mistakes"),
        _ if violations.len() == 1 => "1 mistake".to_owned(),
        _ => format!("{} mistakes", violations.len()),
    }
}

macro_rules! exits {
    ($($exit:ident = $code:literal: $meaning:literal;)+) => {
        /// Exit codes, as the interface fixes them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Exit {
            $(#[doc = $meaning] $exit = $code,)+
        }

        impl Exit {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$exit),+];

            /// When it is given.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$exit => $meaning),+ }
            }
        }
    };
}

exits! {
    Ok = 0: "done";
    General = 1: "anything not below: a wrong command line or manifest, a failed job under `--wait`; a `ring diff --exit-code` that found changes";
    Denied = 2: "not logged in, or not allowed";
    Unreachable = 3: "no control node can be reached, or none can serve (no quorum)";
    NotFound = 4: "no such object";
    Conflict = 5: "in conflict with what is there";
    Removed = 6: "a control node or agent whose cluster has removed it; its unit does not start it again";
    TimedOut = 124: "`--timeout` ran out";
    Interrupted = 130: "Ctrl-C; the work goes on";
}

/// A failure, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) message: String,
    pub(crate) details: Vec<String>,
    pub(crate) hint: Option<String>,
    pub(crate) exit: Exit,
}

impl CliError {
    pub(crate) fn show(&self) -> Shown {
        Shown { message: self.to_string(), details: self.details(), hint: self.hint(), exit: self.exit() }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Api(error) => api_exit(error),
            Self::NotFound { .. } => Exit::NotFound,
            Self::NotLoggedIn(_) => Exit::Denied,
            Self::Exists(_) => Exit::Conflict,
            Self::TimedOut(_) => Exit::TimedOut,
            Self::Interrupted => Exit::Interrupted,
            Self::OutputClosed => Exit::Ok,
            Self::Partly { failures, .. } => failures.first().map_or(Exit::General, Self::exit),
            _ => Exit::General,
        }
    }

    fn details(&self) -> Vec<String> {
        match self {
            Self::Invalid { violations, .. } => violations.iter().map(violation).collect(),
            Self::Api(ClientError::Problem(problem)) => problem.violations.iter().map(violation).collect(),
            Self::Ambiguous { matches, .. } => matches.clone(),
            Self::Failed { details, .. } => details.clone(),
            Self::Partly { failures, .. } => failures.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Api(error) => return api_hint(error),
            Self::NotFound { kind, .. } => return list_of(kind).map(|list| format!("see what there is with: ring {list}")),
            Self::Ambiguous { .. } => "write more of the id",
            Self::Exists(_) => "overwrite it with --force",
            Self::PlainThoughPinned { .. } => "write https:// before the address",
            Self::NotLoggedIn(_) => "log in with: ring login, or set RING_TOKEN",
            Self::Failed { hint, .. } => return hint.clone(),
            Self::ClientOnly(_) => "use a build with the feature 'node' (it is on by default)",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// The command that lists the objects of a kind.
fn list_of(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "deployment" => "deployment list",
        "node" => "node list",
        "control node" => "cluster members",
        "context" => "context configs",
        "secret" => "secret list",
        "volume" => "volume list",
        "config" => "config list",
        "namespace" => "namespace list",
        "user" => "user list",
        "token" => "token list",
        "join token" => "cluster token list",
        _ => return None,
    })
}

fn violation(violation: &Violation) -> String {
    if violation.property_path.is_empty() {
        return violation.message.clone();
    }
    format!("{}: {}", violation.property_path, violation.message)
}

fn api_exit(error: &ClientError) -> Exit {
    match (error, error.status()) {
        (ClientError::Unreachable(_) | ClientError::Tls { .. } | ClientError::Broken { .. }, _) | (_, Some(502..=504)) => {
            Exit::Unreachable
        }
        (_, Some(401 | 403)) => Exit::Denied,
        (_, Some(404)) => Exit::NotFound,
        (_, Some(409)) => Exit::Conflict,
        _ => Exit::General,
    }
}

fn api_hint(error: &ClientError) -> Option<String> {
    match error {
        ClientError::Unreachable(_) => {
            Some("is a control node running there? Set RING_HOST to the ones to ask, comma separated".to_owned())
        }
        ClientError::Tls { host, failure } => Some(tls_hint(host, failure)),
        ClientError::Broken { .. } => {
            Some("the command is ended when nobody listens; see what it has done, and run it again".to_owned())
        }
        ClientError::Problem(problem) if problem.hint.is_some() => problem.hint.clone(),
        ClientError::Problem(problem) if problem.status == 401 => Some("log in with: ring login, or set RING_TOKEN".to_owned()),
        ClientError::Problem(problem) if problem.is(ErrorCode::NoQuorum) => {
            Some("start the missing control nodes; reads with ?consistency=stale work meanwhile".to_owned())
        }
        _ => None,
    }
}

/// What to type after a connection that was not trusted. A fingerprint that was seen is to be compared, not believed.
fn tls_hint(host: &str, failure: &TlsFailure) -> String {
    match failure {
        TlsFailure::Unknown(seen) => format!(
            "when it is the fingerprint the control node printed at its start: ring login --host {host} --ca-fingerprint {seen}; \
             for an authority of your own: --ca-file FILE"
        ),
        TlsFailure::Other(seen) => format!(
            "this is another cluster, or somebody in between; when the cluster was made anew, or its authority replaced, compare the \
             fingerprint with the one a control node prints at its start, then: ring login --host {host} --ca-fingerprint {seen}"
        ),
        TlsFailure::Expired | TlsFailure::NotYet => "a control node renews its certificate by itself while it runs".to_owned(),
        TlsFailure::Name(_) => {
            "ask it by one of these, or add the name to `names` under [server.tls] in its configuration".to_owned()
        }
        TlsFailure::Plain => match host.strip_prefix("https://") {
            Some(rest) => format!("if it is to be plain HTTP, write it: http://{rest}"),
            None => "is this the REST port of ring?".to_owned(),
        },
        TlsFailure::Failed(_) => "is this the REST port of ring?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use ring_api::client::Failure;
    use ring_api::problem::Problem;

    use super::*;

    fn of(problem: Problem) -> Shown {
        CliError::from(ClientError::Problem(Box::new(problem))).show()
    }

    #[test]
    fn no_quorum_names_who_is_missing() {
        let missing = vec!["control-2".to_owned(), "control-3".to_owned()];
        let shown = of(Problem::new(ErrorCode::NoQuorum, "there is no quorum").with_missing(missing));
        assert_eq!(shown.message, "there is no quorum: not reachable: control-2, control-3");
        assert_eq!(shown.exit, Exit::Unreachable);
        assert!(shown.hint.is_some());
    }

    #[test]
    fn the_servers_hint_is_shown() {
        let shown = of(Problem::new(ErrorCode::ObjectConflict, "taken").with_hint("choose another"));
        assert_eq!((shown.hint.as_deref(), shown.exit), (Some("choose another"), Exit::Conflict));
    }

    #[test]
    fn unreachable_names_every_host_and_why() {
        let failure = |host: &str| Failure { host: host.into(), reason: "Connection refused".into() };
        let shown = CliError::from(ClientError::Unreachable(vec![failure("a"), failure("b")])).show();
        assert_eq!(shown.message, "cannot reach the API at a (Connection refused), b (Connection refused)");
    }

    #[test]
    fn partly_has_the_code_of_its_first_failure() {
        let gone = || CliError::NotFound { kind: "deployment", wanted: "x".into(), near: None };
        let shown = CliError::Partly { total: 3, failures: vec![gone(), gone()] }.show();
        assert_eq!((shown.exit, shown.message.as_str(), shown.details.len()), (Exit::NotFound, "2 of 3 failed", 2));
    }
}
