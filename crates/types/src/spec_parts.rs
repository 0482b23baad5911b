//! The parts of a specification.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::status::words;
use crate::{Cpu, Memory, Name, Span};

/// Value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EnvValue {
    /// As written.
    Plain(String),
    /// The value of a secret of the same namespace.
    #[serde(with = "secret_ref")]
    Secret(String),
}

mod secret_ref {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct SecretRef {
        #[serde(rename = "secretRef")]
        name: String,
    }

    pub(super) fn serialize<S: Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
        SecretRef { name: name.to_owned() }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        SecretRef::deserialize(deserializer).map(|r| r.name)
    }
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

words!(Protocol { Tcp = "tcp", Udp = "udp" });

/// A port of the host that leads to one of the instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// On the host.
    pub published: u16,
    /// In the instance.
    pub target: u16,
    /// Address of the host it is bound to.
    pub host_ip: String,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// What a mount shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeKind {
    /// A path of the host.
    Bind,
    /// A named or anonymous volume.
    Volume,
    /// One key of a config.
    Config,
    /// A secret.
    Secret,
}

words!(VolumeKind { Bind = "bind", Volume = "volume", Config = "config", Secret = "secret" });

/// Read-write or read-only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Permission {
    /// `rw`
    #[default]
    #[serde(rename = "rw")]
    ReadWrite,
    /// `ro`
    #[serde(rename = "ro")]
    ReadOnly,
}

words!(Permission { ReadWrite = "rw", ReadOnly = "ro" });

/// Where a named volume lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeDriver {
    /// On the node.
    #[default]
    Local,
    /// On a file server.
    Nfs,
}

words!(VolumeDriver { Local = "local", Nfs = "nfs" });

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// What it shows.
    #[serde(rename = "type")]
    pub kind: VolumeKind,
    /// Path, volume, config or secret name; empty for an anonymous volume.
    pub source: String,
    /// Absolute path in the instance.
    pub destination: String,
    /// Which key of a config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// For named volumes.
    pub driver: VolumeDriver,
    /// Read-write or read-only.
    pub permission: Permission,
}

impl Volume {
    /// The export of a file server it mounts without a volume of a name: `server:/path`.
    pub fn export(&self) -> Option<&str> {
        let direct = self.kind == VolumeKind::Volume && self.driver == VolumeDriver::Nfs && is_export(&self.source);
        direct.then_some(self.source.as_str())
    }

    /// The name of the volume it mounts; None for anything else, an anonymous volume and an export included.
    pub fn object(&self) -> Option<Name> {
        let named = self.kind == VolumeKind::Volume && self.export().is_none();
        named.then(|| Name::new(&self.source).ok()).flatten()
    }
}

/// `server:/path`: what a file server gives out.
pub fn is_export(text: &str) -> bool {
    let parts = text.split_once(":/");
    parts.is_some_and(|(server, path)| {
        !server.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == ',') && !path.starts_with('/')
    })
}

/// An amount of each resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceAmounts {
    /// Processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

/// What an instance is given and what is set aside for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Enforced by the runtime.
    pub limits: ResourceAmounts,
    /// Set aside by the planner.
    pub requests: ResourceAmounts,
}

impl Resources {
    /// What the planner sets aside: the request, else the limit, else nothing.
    pub fn reserved(&self) -> (Cpu, Memory) {
        let cpu = self.requests.cpu.or(self.limits.cpu).unwrap_or_default();
        let memory = self.requests.memory.or(self.limits.memory).unwrap_or_default();
        (cpu, memory)
    }
}

/// How health is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CheckKind {
    /// A connection to a port succeeds.
    Tcp {
        /// Port in the instance.
        port: u16,
    },
    /// A GET answers 2xx.
    Http {
        /// URL; `localhost` means the instance.
        url: String,
    },
    /// A command in the instance exits 0.
    Command {
        /// The command, run by a shell of the instance.
        command: String,
    },
}

impl CheckKind {
    /// The word for it in a manifest.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Tcp { .. } => "tcp",
            Self::Http { .. } => "http",
            Self::Command { .. } => "command",
        }
    }
}

/// What a failed check does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckAction {
    /// The instance is replaced.
    #[default]
    Restart,
    /// The instance is stopped.
    Stop,
    /// An event is recorded.
    Alert,
}

words!(CheckAction { Restart = "restart", Stop = "stop", Alert = "alert" });

/// A health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// How.
    #[serde(flatten)]
    pub kind: CheckKind,
    /// From one check to the next.
    pub interval: Span,
    /// Longest wait for an answer.
    pub timeout: Span,
    /// Failures in a row that count.
    pub threshold: u32,
    /// What they do.
    pub on_failure: CheckAction,
    /// Gates readiness in a rolling update.
    pub readiness: bool,
    /// How long it has to be healthy to be ready.
    pub min_healthy_time: Span,
    /// Failures this early do not count.
    pub start_period: Span,
}

/// When an image is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PullPolicy {
    /// Before every start; an image already on the host serves when the registry cannot be reached.
    #[default]
    Always,
    /// When it is not on the host.
    IfNotPresent,
    /// Never.
    Never,
}

words!(PullPolicy { Always = "Always", IfNotPresent = "IfNotPresent", Never = "Never" });

/// As whom an instance runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserConfig {
    /// User id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// Group id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    /// All capabilities and devices of the host.
    pub privileged: bool,
}

/// How the image is had and as whom it runs. A registry password is never part of it: it is kept as a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image is fetched.
    pub image_pull_policy: PullPolicy,
    /// Registry the credentials are for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Account on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Use the credentials the host's own Docker client has.
    pub use_host_auth: bool,
    /// Secret that holds the credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_secret: Option<String>,
    /// User and group.
    pub user: UserConfig,
}

/// Scaling by load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autoscale {
    /// At least so many instances.
    pub min: u32,
    /// At most so many.
    pub max: u32,
    /// Load aimed at, percent of the requested processors.
    pub target_cpu: u32,
}

impl Autoscale {
    /// The number of instances nearest to `replicas` that is allowed.
    pub fn within(&self, replicas: u32) -> u32 {
        replicas.min(self.max).max(self.min)
    }
}

/// A condition on a node's label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Constraint {
    /// Label key.
    pub label: String,
    /// Value compared with.
    pub value: String,
    /// `==` when true, `!=` when false.
    pub equal: bool,
}

impl Constraint {
    /// Does a node with these labels satisfy it? A missing label equals nothing.
    pub fn allows(&self, labels: &BTreeMap<String, String>) -> bool {
        (labels.get(&self.label).map(String::as_str) == Some(self.value.as_str())) == self.equal
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.label, if self.equal { "==" } else { "!=" }, self.value)
    }
}

impl FromStr for Constraint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A label has neither sign in it, a value may have both.
        let (label, rest) = text.split_at(text.find(['=', '!']).unwrap_or(text.len()));
        let equal = rest.strip_prefix("==").map(|value| (value, true));
        match equal.or_else(|| rest.strip_prefix("!=").map(|value| (value, false))) {
            Some((value, equal)) if !label.trim().is_empty() => {
                Ok(Self { label: label.trim().to_owned(), value: value.trim().to_owned(), equal })
            }
            _ => Err(format!("'{text}' is not a constraint: write \"label==value\" or \"label!=value\"")),
        }
    }
}

impl TryFrom<String> for Constraint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Constraint> for String {
    fn from(constraint: Constraint) -> Self {
        constraint.to_string()
    }
}

/// Over what instances are spread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Spread {
    /// Over nodes.
    #[default]
    Node,
    /// Over the values of a label.
    Label(String),
}

impl From<String> for Spread {
    fn from(text: String) -> Self {
        if text == "node" { Self::Node } else { Self::Label(text) }
    }
}

impl From<Spread> for String {
    fn from(spread: Spread) -> Self {
        match spread {
            Spread::Node => "node".to_owned(),
            Spread::Label(label) => label,
        }
    }
}

/// Where instances may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Only these nodes; empty means any.
    pub nodes: Vec<String>,
    /// All of these hold.
    pub constraints: Vec<Constraint>,
    /// Over what they are spread.
    pub spread: Spread,
    /// At most so many on one node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_node: Option<u32>,
}

/// How a worker is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// Restarts without a healthy window before it is given up.
    pub max: u32,
    /// First pause; doubles each time.
    pub backoff: Span,
    /// Longest pause.
    pub max_backoff: Span,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { max: 5, backoff: Span::seconds(1), max_backoff: Span::seconds(60) }
    }
}

impl RestartPolicy {
    /// The pause before restart number `count` (the first is 1).
    pub fn pause(&self, count: u32) -> Span {
        let doubled = self.backoff.0.saturating_mul(1 << count.saturating_sub(1).min(30));
        Span(doubled.min(self.max_backoff.0))
    }
}

/// When a dependency counts as there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DependencyCondition {
    /// The job completed.
    #[default]
    Completed,
    /// The worker runs.
    Running,
}

words!(DependencyCondition { Completed = "completed", Running = "running" });

/// A deployment that has to be there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Name in the same namespace.
    pub deployment: String,
    /// When it counts.
    pub condition: DependencyCondition,
}
