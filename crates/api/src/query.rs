//! Query strings: filters of lists and options of reads. Both ends use these types, so that a repeated key, `status` and
//! `status[]`, mean the same to both.

use ring_types::{DeploymentStatus, Kind, Timestamp};
use url::form_urlencoded;

use crate::exec::{self, TerminalSize};
use crate::model::{AuditOutcome, EventLevel};

/// A query string that cannot be understood: which key, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("query parameter '{key}': {reason}")]
pub struct QueryError {
    /// The key.
    pub key: String,
    /// What is wrong with its value.
    pub reason: String,
}

/// Filters of `GET /deployments`. An empty list filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeploymentQuery {
    /// Any of these namespaces.
    pub namespaces: Vec<String>,
    /// Any of these statuses.
    pub statuses: Vec<DeploymentStatus>,
    /// Workers or jobs.
    pub kind: Option<Kind>,
    /// All of these labels.
    pub labels: Vec<(String, String)>,
    /// Has an instance on this node, by name.
    pub node: Option<String>,
    /// Has this name.
    pub name: Option<String>,
}

/// Options of `GET /deployments/{id}/logs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only so many of the last lines of each instance.
    pub tail: Option<u32>,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// Only this instance: its id or a prefix of it.
    pub container: Option<String>,
    /// Keep sending as lines come.
    pub follow: bool,
}

/// Options of `GET /deployments/{id}/exec`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecQuery {
    /// Program and arguments.
    pub command: Vec<String>,
    /// In this instance: its id or a prefix of it.
    pub container: Option<String>,
    /// Input will be sent.
    pub stdin: bool,
    /// The size of the terminal it is run on; without one, on none.
    pub terminal: Option<TerminalSize>,
    /// How many messages of output can be sent before the client says that it took some; without it, as many as its connection
    /// takes.
    pub window: Option<u32>,
}

/// Options of `GET /deployments/{id}/health-checks`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthCheckQuery {
    /// Only the last probe of each check of each instance.
    pub latest: bool,
    /// Only so many of the last probes.
    pub limit: Option<u32>,
}

/// Options of `GET /deployments/{id}/events`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// This level and above.
    pub level: Option<EventLevel>,
    /// Only so many of the last.
    pub limit: Option<u32>,
    /// Keep sending as events come.
    pub follow: bool,
}

/// Options of `GET /namespaces/{name}/audit` and `GET /cluster/audit`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only so many of the last lines, at most [`AuditQuery::MOST`].
    pub limit: Option<u32>,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// Only what this account did.
    pub user: Option<String>,
    /// Only this action, or all of a kind of object (`secret`).
    pub action: Option<String>,
    /// Only what was allowed, or what was refused.
    pub outcome: Option<AuditOutcome>,
}

impl AuditQuery {
    /// Most lines of one reply.
    pub const MOST: u32 = 1_000;

    /// Reads a query string; keys of no meaning here are left alone.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let mut found = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "limit" => found.limit = Some(bounded(&key, &value, Self::MOST)?),
                "since" => found.since = Some(word(&key, &value)?),
                "user" => found.user = Some(value.into_owned()),
                "action" => found.action = Some(value.into_owned()),
                "outcome" => found.outcome = Some(word(&key, &value)?),
                _ => {}
            }
        }
        Ok(found)
    }

    /// The query string of it.
    pub fn encode(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        out.extend_pairs(self.limit.iter().map(|v| ("limit", v.to_string())));
        out.extend_pairs(self.since.iter().map(|v| ("since", v.to_string())));
        out.extend_pairs(self.user.iter().map(|v| ("user", v)));
        out.extend_pairs(self.action.iter().map(|v| ("action", v)));
        out.extend_pairs(self.outcome.iter().map(|v| ("outcome", v.to_string())));
        out.finish()
    }
}

impl DeploymentQuery {
    /// Reads a query string; keys of no meaning here are left alone.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let mut found = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match key.trim_end_matches("[]") {
                "namespace" => found.namespaces.push(value.into_owned()),
                "status" => found.statuses.push(word(&key, &value)?),
                "kind" | "type" => found.kind = Some(word(&key, &value)?),
                "label" => found.labels.push(label(&key, &value)?),
                "node" => found.node = Some(value.into_owned()),
                "name" => found.name = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(found)
    }

    /// The query string of it.
    pub fn encode(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        out.extend_pairs(self.namespaces.iter().map(|v| ("namespace[]", v)));
        out.extend_pairs(self.statuses.iter().map(|v| ("status[]", v.as_str())));
        out.extend_pairs(self.kind.iter().map(|v| ("kind", v.as_str())));
        out.extend_pairs(self.labels.iter().map(|(k, v)| ("label", format!("{k}={v}"))));
        out.extend_pairs(self.node.iter().map(|v| ("node", v)));
        out.extend_pairs(self.name.iter().map(|v| ("name", v)));
        out.finish()
    }
}

impl LogQuery {
    /// Reads a query string; keys of no meaning here are left alone.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let mut found = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "tail" => found.tail = Some(word(&key, &value)?),
                "since" => found.since = Some(word(&key, &value)?),
                "container" => found.container = Some(value.into_owned()),
                "follow" => found.follow = word(&key, &value)?,
                _ => {}
            }
        }
        Ok(found)
    }

    /// The query string of it.
    pub fn encode(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        out.extend_pairs(self.tail.iter().map(|v| ("tail", v.to_string())));
        out.extend_pairs(self.since.iter().map(|v| ("since", v.to_string())));
        out.extend_pairs(self.container.iter().map(|v| ("container", v)));
        if self.follow {
            out.append_pair("follow", "true");
        }
        out.finish()
    }
}
impl ExecQuery {
    /// Reads a query string; keys of no meaning here are left alone.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let mut found = Self::default();
        let (mut tty, mut size) = (false, TerminalSize::USUAL);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match key.trim_end_matches("[]") {
                "command" => found.command.push(value.into_owned()),
                "container" => found.container = Some(value.into_owned()),
                "stdin" => found.stdin = value.is_empty() || word(&key, &value)?,
                "tty" => tty = value.is_empty() || word(&key, &value)?,
                "rows" => size.rows = bounded(&key, &value, u16::MAX.into())?,
                "columns" => size.columns = bounded(&key, &value, u16::MAX.into())?,
                "window" => found.window = Some(bounded(&key, &value, exec::WINDOW)?),
                _ => {}
            }
        }
        if found.command.first().is_none_or(String::is_empty) {
            let reason = "there is no command to run: give the program, and each argument in another 'command'".to_owned();
            return Err(QueryError { key: "command".to_owned(), reason });
        }
        found.terminal = tty.then_some(size);
        Ok(found)
    }

    /// The query string of it.
    pub fn encode(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        out.extend_pairs(self.command.iter().map(|v| ("command", v)));
        out.extend_pairs(self.container.iter().map(|v| ("container", v)));
        if self.stdin {
            out.append_pair("stdin", "true");
        }
        if let Some(TerminalSize { rows, columns }) = self.terminal {
            out.append_pair("tty", "true").append_pair("rows", &rows.to_string()).append_pair("columns", &columns.to_string());
        }
        out.extend_pairs(self.window.iter().map(|v| ("window", v.to_string())));
        out.finish()
    }
}

fn bounded<T: TryFrom<u32>>(key: &str, value: &str, most: u32) -> Result<T, QueryError> {
    let number: u32 = word(key, value)?;
    let fits = (1..=most).contains(&number).then(|| T::try_from(number).ok()).flatten();
    fits.ok_or_else(|| QueryError { key: key.to_owned(), reason: format!("{number} is not from 1 to {most}") })
}

impl HealthCheckQuery {
    /// Reads a query string; keys of no meaning here are left alone.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let limit = value(query, "limit").map(|limit| word("limit", &limit)).transpose()?;
        Ok(Self { latest: flag(query, "latest")?, limit })
    }

    /// The query string of it.
    pub fn encode(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        if self.latest {
            out.append_pair("latest", "true");
        }
        out.extend_pairs(self.limit.iter().map(|v| ("limit", v.to_string())));
        out.finish()
    }
}

impl EventQuery {
    /// Reads a query string; keys of no meaning here are left alone.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let mut found = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "level" => found.level = Some(word(&key, &value)?),
                "limit" => found.limit = Some(word(&key, &value)?),
                "follow" => found.follow = word(&key, &value)?,
                _ => {}
            }
        }
        Ok(found)
    }

    /// The query string of it.
    pub fn encode(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        out.extend_pairs(self.level.iter().map(|v| ("level", v.as_str())));
        out.extend_pairs(self.limit.iter().map(|v| ("limit", v.to_string())));
        if self.follow {
            out.append_pair("follow", "true");
        }
        out.finish()
    }
}

/// The value of a flag such as `force`; absent is false, `?force` alone is true.
pub fn flag(query: &str, name: &str) -> Result<bool, QueryError> {
    match value(query, name) {
        None => Ok(false),
        Some(text) if text.is_empty() => Ok(true),
        Some(text) => word(name, &text),
    }
}

/// The last value of a key.
pub fn value(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).filter(|(k, _)| k == name).last().map(|(_, v)| v.into_owned())
}

/// The namespaces a list is narrowed to: every `namespace` and `namespace[]`. Empty: not narrowed.
pub fn namespaces(query: &str) -> Vec<String> {
    let wanted = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key.trim_end_matches("[]") == "namespace");
    wanted.map(|(_, value)| value.into_owned()).collect()
}

/// `?consistency=stale`: read the local copy of the answering node, whatever its age.
pub fn stale(query: &str) -> Result<bool, QueryError> {
    match value(query, "consistency").as_deref() {
        None | Some("linearizable") => Ok(false),
        Some("stale") => Ok(true),
        Some(other) => {
            let reason = format!("'{other}' is not one of linearizable, stale");
            Err(QueryError { key: "consistency".to_owned(), reason })
        }
    }
}

/// The value of a key, when it is there.
pub fn word_of<T: std::str::FromStr<Err: std::fmt::Display>>(query: &str, key: &str) -> Result<Option<T>, QueryError> {
    value(query, key).map(|text| word(key, &text)).transpose()
}

fn word<T: std::str::FromStr<Err: std::fmt::Display>>(key: &str, value: &str) -> Result<T, QueryError> {
    value.parse().map_err(|e: T::Err| QueryError { key: key.to_owned(), reason: e.to_string() })
}

fn label(key: &str, value: &str) -> Result<(String, String), QueryError> {
    value
        .split_once('=')
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .ok_or_else(|| QueryError { key: key.to_owned(), reason: format!("'{value}' is not key=value") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_query_reads_what_it_wrote() {
        let query = DeploymentQuery {
            namespaces: vec!["a b".into(), "c&d".into()],
            statuses: vec![DeploymentStatus::Running, DeploymentStatus::CrashLoopBackOff],
            kind: Some(Kind::Job),
            labels: vec![("team".into(), "a=b".into())],
            node: Some("n1".into()),
            name: Some("web".into()),
        };
        assert_eq!(DeploymentQuery::parse(&query.encode()).unwrap(), query);
    }

    #[test]
    fn both_spellings_of_a_list_are_read() {
        let query = DeploymentQuery::parse("status=running&status[]=failed&other=1").unwrap();
        assert_eq!(query.statuses, [DeploymentStatus::Running, DeploymentStatus::Failed]);
    }

    #[test]
    fn a_bad_value_is_named() {
        let error = DeploymentQuery::parse("status=runing").unwrap_err();
        assert!(error.to_string().starts_with("query parameter 'status': 'runing' is not one of pending"), "{error}");
        assert!(LogQuery::parse("tail=x").is_err());
        assert!(stale("consistency=maybe").is_err());
    }

    #[test]
    fn log_and_event_queries_read_what_they_wrote() {
        let logs = LogQuery { tail: Some(5), since: Some(Timestamp(1_000)), container: Some("ab".into()), follow: true };
        assert_eq!(LogQuery::parse(&logs.encode()).unwrap(), logs);
        let events = EventQuery { level: Some(EventLevel::Warning), limit: Some(3), follow: false };
        assert_eq!(EventQuery::parse(&events.encode()).unwrap(), events);
        let (user, action) = (Some("a b".into()), Some("secret.*".into()));
        let outcome = Some(AuditOutcome::Refused);
        let audit = AuditQuery { limit: Some(7), since: Some(Timestamp(1_000)), user, action, outcome };
        assert_eq!(AuditQuery::parse(&audit.encode()).unwrap(), audit);
        assert!(AuditQuery::parse("limit=0").is_err() && AuditQuery::parse("limit=1001").is_err());
        let checks = HealthCheckQuery { latest: true, limit: Some(3) };
        assert_eq!(HealthCheckQuery::parse(&checks.encode()).unwrap(), checks);
        assert!(HealthCheckQuery::parse("limit=many").is_err());
    }

    #[test]
    fn a_command_is_read_as_it_was_written() {
        let terminal = Some(TerminalSize { rows: 50, columns: 132 });
        let command = vec!["sh".to_owned(), "-c".to_owned(), "echo a&b; exit \"$1\"".to_owned(), String::new()];
        let query = ExecQuery { command, container: Some("ab".into()), stdin: true, terminal, window: Some(32) };
        assert_eq!(ExecQuery::parse(&query.encode()).unwrap(), query);
        let plain = ExecQuery::parse("command=ls&command[]=-l&tty&other=1").unwrap();
        assert_eq!((plain.command.len(), plain.terminal, plain.window), (2, Some(TerminalSize::USUAL), None));
        for bad in ["", "command=", "command=a&rows=0", "command=a&columns=70000", "command=a&window=65", "command=a&tty=maybe"] {
            assert!(ExecQuery::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_is_narrowed_to_namespaces_in_both_spellings() {
        assert_eq!(namespaces("namespace=a&x=1&namespace[]=b&namespace%5B%5D=c"), ["a", "b", "c"]);
        assert_eq!(namespaces("x=1"), Vec::<String>::new());
    }

    #[test]
    fn flags_may_be_bare() {
        assert_eq!(flag("force", "force"), Ok(true));
        assert_eq!(flag("force=false", "force"), Ok(false));
        assert_eq!(flag("", "force"), Ok(false));
    }
}
