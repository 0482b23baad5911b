//! `config.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ring_api::client::BY_HOST;
use ring_types::Span;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::suggest::near;

/// The configuration file. What is left out has its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigFile {
    /// Clusters this user knows.
    pub contexts: BTreeMap<String, ContextSection>,
    /// The node on this host.
    pub server: ServerSection,
    /// Keys of older files, which mean nothing any more.
    #[serde(flatten, skip_serializing)]
    unknown: BTreeMap<String, toml::Value>,
}

/// `[contexts.NAME]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContextSection {
    /// It is the one in use.
    pub current: bool,
    /// Control nodes, comma separated.
    pub host: String,
    /// How they are spoken to.
    pub api: ApiSection,
    #[serde(flatten, skip_serializing)]
    unknown: BTreeMap<String, toml::Value>,
}

impl ContextSection {
    /// A context of these control nodes.
    pub(crate) fn at(host: String, api: ApiSection) -> Self {
        Self { host, api, ..Self::default() }
    }
}

/// `api` of a context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiSection {
    /// `http` or `https`; `auto`: `http` on loopback and `https` elsewhere.
    pub scheme: String,
    /// Port of the REST interface.
    pub port: u16,
    /// SHA-256 of the certificate of the authority to trust, several with commas.
    pub ca_fingerprint: Option<String>,
    /// Certificates of the authorities to trust, PEM.
    pub ca_file: Option<PathBuf>,
}

impl Default for ApiSection {
    fn default() -> Self {
        Self { scheme: BY_HOST.to_owned(), port: ring_api::API_PORT, ca_fingerprint: None, ca_file: None }
    }
}

/// `[server]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerSection {
    /// How often everything is looked at even when nothing happened.
    pub scheduler: SchedulerSection,
    /// Control nodes that are dead.
    pub members: MembersSection,
    /// The agent of this host.
    pub agent: AgentSection,
    /// How the cluster goes on after an upgrade.
    pub upgrade: UpgradeSection,
    /// What runs instances.
    pub runtime: RuntimeSection,
    /// Deliveries to webhooks.
    pub webhooks: WebhooksSection,
    /// How the REST interface is protected.
    pub tls: TlsSection,
    /// What callers of the REST interface get.
    pub limits: LimitsSection,
    /// The dashboard.
    pub dashboard: DashboardSection,
    /// Where traces, metrics and logs go.
    pub telemetry: TelemetrySection,
}

/// `[server.scheduler]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedulerSection {
    /// From one full look to the next.
    #[serde(deserialize_with = "span")]
    pub interval: Option<Span>,
}

/// `[server.members]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MembersSection {
    /// A control node that does not answer the leader for so long is taken out of the cluster.
    #[serde(deserialize_with = "span")]
    pub remove_dead_after: Option<Span>,
}

/// `[server.agent]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentSection {
    /// When the agent is told to stop, its node is emptied first: what is left after so long is told to end.
    #[serde(deserialize_with = "span")]
    pub drain_on_stop: Option<Span>,
}

/// `[server.upgrade]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpgradeSection {
    /// The level of the cluster is not raised while this control node leads.
    pub hold: bool,
}

/// `[server.runtime]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeSection {
    /// Docker.
    pub docker: DockerSection,
    /// Podman.
    pub podman: DockerSection,
    /// Cloud Hypervisor.
    pub cloud_hypervisor: CloudHypervisorSection,
}

/// `[server.runtime.docker]` and `[server.runtime.podman]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DockerSection {
    /// Use it; when left out, it is used where it is found.
    pub enabled: Option<bool>,
    /// Address of the daemon, such as `unix:///var/run/docker.sock`.
    pub host: Option<String>,
}

/// `[server.runtime.cloud_hypervisor]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CloudHypervisorSection {
    /// Use it.
    pub enabled: Option<bool>,
    /// The program.
    pub binary_path: Option<PathBuf>,
    /// Firmware to boot disk images with.
    pub firmware_path: Option<PathBuf>,
    /// Kernel to boot directly.
    pub kernel_path: Option<PathBuf>,
    /// More words for its command line.
    pub kernel_cmdline: String,
    /// Files of its modules.
    pub kernel_modules: Vec<PathBuf>,
    /// The program that shows directories to guests.
    pub virtiofsd_path: Option<PathBuf>,
    /// Where its sockets are made.
    pub socket_dir: Option<PathBuf>,
    /// `true`, `false` or `log`.
    #[serde(deserialize_with = "word_or_bool")]
    pub seccomp: Option<String>,
    /// The network of guests.
    pub network: GuestNetworkSection,
    /// Where images come from.
    pub images: GuestImagesSection,
}

/// `[server.runtime.cloud_hypervisor.network]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuestNetworkSection {
    /// Guests have a network.
    pub enabled: Option<bool>,
    /// Where they get their addresses from.
    pub address_range: Option<String>,
    /// Name servers they are told of.
    pub dns: Option<Vec<String>>,
}

/// `[server.runtime.cloud_hypervisor.images]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuestImagesSection {
    /// The Docker engine that is asked before registries are, or `none`.
    pub engine: Option<String>,
    /// Registries that are spoken to without TLS.
    pub plain_http: Vec<String>,
    /// Most that the files of an image may have together.
    pub max_size: Option<String>,
}

/// `[server.webhooks]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhooksSection {
    /// Receivers on this host may be reached.
    pub allow_local: bool,
    /// Certificates of further authorities whose receivers are believed, PEM.
    pub ca_file: Option<PathBuf>,
}

/// How the REST interface speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// TLS beyond loopback, plain HTTP on loopback.
    #[default]
    Auto,
    /// TLS with a certificate of the cluster's authority, on loopback too.
    Cluster,
    /// Plain HTTP, beyond loopback too.
    Plain,
}

/// `[server.tls]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSection {
    /// Plain or TLS, where no certificate is given.
    pub mode: TlsMode,
    /// A certificate of one's own, PEM, with the chain to its authority.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// Names the interface is reached by, for the certificate of the cluster's authority.
    pub names: Vec<String>,
}

/// `[server.limits]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSection {
    /// Connections at the same time.
    pub connections: Option<usize>,
    /// Those of one address.
    pub connections_per_address: Option<usize>,
    /// TLS connections begun in a second from one address.
    pub handshakes_per_second: Option<u32>,
    /// Requests of one token in a second.
    pub requests_per_second: Option<u32>,
    /// Requests without a token in a second from one address.
    pub anonymous_requests_per_second: Option<u32>,
    /// Streams of one token at the same time.
    pub streams_per_token: Option<u32>,
}

/// `[server.dashboard]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DashboardSection {
    /// Serve it.
    pub enabled: bool,
    /// Where.
    pub listen_address: Option<String>,
}

/// `[server.telemetry]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetrySection {
    /// Traces.
    pub traces: TelemetrySignal,
    /// Metrics.
    pub metrics: TelemetrySignal,
    /// Logs.
    pub logs: TelemetrySignal,
}

/// One signal of telemetry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetrySignal {
    /// Send it.
    pub enabled: bool,
    /// Where to.
    pub endpoint: Option<String>,
}

/// A duration with its unit, or a number of seconds, as older files have it.
fn span<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Span>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Seconds(u64),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Seconds(seconds) => Ok(Some(Span::seconds(seconds))),
        Written::Text(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

/// A word, which may look like a boolean.
fn word_or_bool<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Bool(bool),
        Text(String),
    }
    Ok(Some(match Written::deserialize(deserializer)? {
        Written::Bool(value) => value.to_string(),
        Written::Text(text) => text,
    }))
}

impl ConfigFile {
    /// That there is no context of a name, and which was probably meant.
    pub(crate) fn no_context(&self, name: &str) -> CliError {
        CliError::NotFound { kind: "context", wanted: name.to_owned(), near: near(name, self.contexts.keys()) }
    }

    /// Reads the file; one that is not there is empty.
    pub(crate) fn load(path: &Path) -> Result<Self, CliError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(CliError::Read { path: path.to_owned(), source }),
        };
        Self::parse(&text).map_err(|message| CliError::Config { path: path.to_owned(), message })
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim().to_owned())
    }

    /// Keys that mean nothing here.
    pub fn unknown_keys(&self) -> Vec<String> {
        let top = self.unknown.keys().cloned();
        let contexts = self.contexts.iter().flat_map(|(name, c)| c.unknown.keys().map(move |k| format!("contexts.{name}.{k}")));
        top.chain(contexts).collect()
    }

    /// Port of the REST interface, as the context in use has it; None without a context.
    pub fn api_port(&self) -> Option<u16> {
        self.context(None).map(|(_, context)| context.api.port)
    }

    /// The context of this name, else the current one, else the only one.
    pub(crate) fn context(&self, name: Option<&str>) -> Option<(&str, &ContextSection)> {
        let found = match name {
            Some(name) => self.contexts.get_key_value(name),
            None => self.contexts.iter().find(|(_, c)| c.current).or_else(|| self.contexts.iter().next()),
        };
        found.map(|(name, context)| (name.as_str(), context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_file_is_read_and_its_strange_keys_are_named() {
        let text = r#"
[contexts.default]
current = true
host = "127.0.0.1"
api.scheme = "http"
api.port = 3030
user.salt = "x"

[server.scheduler]
interval = 10

[server.runtime.docker]
enabled = true
host = "unix:///var/run/docker.sock"

[misc]
a = 1
"#;
        let file = ConfigFile::parse(text).unwrap();
        assert_eq!(file.context(None).unwrap().1.host, "127.0.0.1");
        assert_eq!(file.server.scheduler.interval, Some(Span::seconds(10)));
        assert_eq!(file.server.runtime.docker.enabled, Some(true));
        assert_eq!(file.unknown_keys(), ["misc", "contexts.default.user"]);
    }

    #[test]
    fn what_micro_vms_are_told_is_read_and_what_means_nothing_is_named() {
        let section = "[server.runtime.cloud_hypervisor]\n";
        let of = |text: &str| ConfigFile::parse(&format!("{section}{text}"));
        let written = of("seccomp = false\nkernel_modules = [\"/m/a.ko\"]\nnetwork = { enabled = false }\n").unwrap();
        let read = written.server.runtime.cloud_hypervisor;
        assert_eq!((read.seccomp.as_deref(), read.network.enabled), (Some("false"), Some(false)));
        assert_eq!(read.kernel_modules, [PathBuf::from("/m/a.ko")]);
        assert_eq!(of("seccomp = \"log\"").unwrap().server.runtime.cloud_hypervisor.seccomp.as_deref(), Some("log"));
        assert!(of("network.adress_range = \"10.0.0.0/8\"").unwrap_err().contains("adress_range"));
        assert!(of("images.engines = \"none\"").unwrap_err().contains("engines"));
    }

    #[test]
    fn the_current_context_is_the_one_marked() {
        let file = ConfigFile::parse("[contexts.a]\nhost='x'\n[contexts.b]\nhost='y'\ncurrent=true\n").unwrap();
        assert_eq!(file.context(None).unwrap().0, "b");
        assert_eq!(file.context(Some("a")).unwrap().0, "a");
        assert!(file.context(Some("c")).is_none());
    }
}
