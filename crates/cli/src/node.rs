//! The commands that make this host a node: what they are told. Running them is the business of the program.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use crate::args::Globals;
use crate::config::{ConfigFile, Paths};
use crate::error::CliError;
use crate::format::{Format, OutputArgs};
use crate::output::{ObjectView, View as _, data, data_screen};

/// A command that makes this host a node.
#[derive(Clone, Debug)]
pub enum NodeCommand {
    /// `ring server start`
    ServerStart(ServerStart),
    /// `ring agent start`
    AgentStart(AgentStart),
    /// `ring cluster init`
    ClusterInit(ClusterInit),
    /// `ring cluster join`
    ClusterJoin(ClusterJoin),
    /// `ring cluster recover`
    ClusterRecover(ClusterRecover),
    /// `ring cluster snapshot inspect`
    SnapshotInspect(SnapshotInspect),
    /// `ring cluster snapshot restore`
    SnapshotRestore(SnapshotRestore),
    /// `ring user reset-password`
    ResetPassword(ResetPassword),
}

impl NodeCommand {
    /// How it is typed.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ServerStart(_) => "ring server start",
            Self::AgentStart(_) => "ring agent start",
            Self::ClusterInit(_) => "ring cluster init",
            Self::ClusterJoin(_) => "ring cluster join",
            Self::ClusterRecover(_) => "ring cluster recover",
            Self::SnapshotInspect(_) => "ring cluster snapshot inspect",
            Self::SnapshotRestore(_) => "ring cluster snapshot restore",
            Self::ResetPassword(_) => "ring user reset-password",
        }
    }
}

/// What a node command finds on this host.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Configuration and data directories.
    pub paths: Paths,
    /// The configuration file; empty when there is none.
    pub config: ConfigFile,
}

impl NodeSettings {
    pub(crate) fn load(globals: &Globals, data_dir: Option<PathBuf>) -> Result<Self, CliError> {
        let paths = Paths::resolve(globals.config.clone(), data_dir)?;
        let config = ConfigFile::load(&paths.config_file)?;
        Ok(Self { paths, config })
    }
}

/// `ring server`
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// Start the control node; on a fresh host, a cluster of one with an agent in the same process
    Start(ServerStart),
}

/// `ring agent`
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Start the agent of a host that has joined
    Start(AgentStart),
}

/// `ring server start`
#[derive(Clone, Debug, Default, Args)]
pub struct ServerStart {
    /// Where this node keeps its state [env: RING_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address and port of the REST interface [default: as before, else port 3030]
    #[arg(long, value_name = "IP:PORT")]
    pub api_listen: Option<SocketAddr>,
    /// Address and port other nodes reach this one at [default: as before, else 127.0.0.1:3031]
    #[arg(long, value_name = "IP[:PORT]", value_parser = cluster_address)]
    pub advertise: Option<SocketAddr>,
    /// Where the control nodes are now, when most of them have moved; port 3031 when left out [default: where they were]
    #[arg(long, value_name = "IP[:PORT]", value_delimiter = ',', value_parser = cluster_address)]
    pub control_nodes: Vec<SocketAddr>,
    /// Serve the REST interface as plain HTTP beyond loopback too, for this run; to keep it: mode = "plain" in [server.tls]
    #[arg(long)]
    pub plain_http: bool,
    /// Run no work on this host
    #[arg(long)]
    pub no_agent: bool,
    /// File with the password of the account 'admin', for the first start [env: RING_ADMIN_PASSWORD_FILE]
    #[arg(long, value_name = "FILE")]
    pub admin_password_file: Option<PathBuf>,
}

/// `ring agent start`
#[derive(Clone, Debug, Default, Args)]
pub struct AgentStart {
    /// Where this node keeps its state [env: RING_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the control nodes are now, when all of them have moved; port 3031 when left out [default: where they were]
    #[arg(long, value_name = "IP[:PORT]", value_delimiter = ',', value_parser = cluster_address)]
    pub control_nodes: Vec<SocketAddr>,
}

/// `ring cluster init`
#[derive(Clone, Debug, Args)]
pub struct ClusterInit {
    /// Address other nodes reach this one at; port 3031 when left out
    #[arg(long, value_name = "IP[:PORT]", value_parser = cluster_address)]
    pub advertise: SocketAddr,
    /// Address and port of the REST interface [default: port 3030]
    #[arg(long, value_name = "IP:PORT")]
    pub api_listen: Option<SocketAddr>,
    /// Serve the REST interface as plain HTTP beyond loopback too, for this run; to keep it: mode = "plain" in [server.tls]
    #[arg(long)]
    pub plain_http: bool,
    /// Name of this node [default: the host name]
    #[arg(long)]
    pub name: Option<String>,
    /// Label of this host, as the agent that runs on it reports it
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
    pub labels: Vec<(String, String)>,
    /// Run no work on this host
    #[arg(long)]
    pub no_agent: bool,
    /// File with the password of the account 'admin' [env: RING_ADMIN_PASSWORD_FILE]
    #[arg(long, value_name = "FILE")]
    pub admin_password_file: Option<PathBuf>,
    /// Where this node keeps its state [env: RING_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// What a joining host becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum JoinAs {
    /// A host that runs work
    #[default]
    Agent,
    /// A control node
    Control,
}

/// `ring cluster join`
#[derive(Clone, Debug, Args)]
pub struct ClusterJoin {
    /// Control nodes to ask, with their cluster port (3031 when left out)
    #[arg(value_name = "ADDR", value_delimiter = ',', required = true)]
    pub addresses: Vec<String>,
    /// The token of `ring cluster token create`
    #[arg(long, env = "RING_JOIN_TOKEN", hide_env_values = true)]
    pub token: String,
    /// What this host becomes
    #[arg(long, value_enum, default_value_t)]
    pub role: JoinAs,
    /// Address other nodes reach this one at; port 3031 when left out [default: the address the cluster sees]
    #[arg(long, value_name = "IP[:PORT]", value_parser = cluster_address)]
    pub advertise: Option<SocketAddr>,
    /// Control nodes: address and port of the REST interface [default: port 3030]
    #[arg(long, value_name = "IP:PORT")]
    pub api_listen: Option<SocketAddr>,
    /// Control nodes: serve the REST interface as plain HTTP beyond loopback too, for this run; to keep it: mode = "plain" in
    /// [server.tls]
    #[arg(long)]
    pub plain_http: bool,
    /// Name of this node [default: the host name]
    #[arg(long)]
    pub name: Option<String>,
    /// Label of this host
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
    pub labels: Vec<(String, String)>,
    /// Control nodes: run no work on this host
    #[arg(long)]
    pub no_agent: bool,
    /// Where this node keeps its state [env: RING_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// `ring cluster recover`
#[derive(Clone, Debug, Args)]
pub struct ClusterRecover {
    /// Show what would be given up, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask: this is the id of the cluster
    #[arg(long, value_name = "CLUSTER-ID", conflicts_with = "dry_run")]
    pub yes_i_know: Option<String>,
    /// Where this control node keeps its state [env: RING_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// `ring cluster snapshot inspect`
#[derive(Clone, Debug, Args)]
pub struct SnapshotInspect {
    /// The snapshot
    pub file: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `ring cluster snapshot restore`
#[derive(Clone, Debug, Args)]
pub struct SnapshotRestore {
    /// The snapshot
    pub file: PathBuf,
    /// Address other nodes reach this one at; port 3031 when left out
    #[arg(long, value_name = "IP[:PORT]", value_parser = cluster_address)]
    pub advertise: SocketAddr,
    /// Address and port of the REST interface [default: port 3030]
    #[arg(long, value_name = "IP:PORT")]
    pub api_listen: Option<SocketAddr>,
    /// Name of this node [default: the host name]
    #[arg(long)]
    pub name: Option<String>,
    /// Label of this host, as the agent that runs on it reports it
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
    pub labels: Vec<(String, String)>,
    /// Run no work on this host
    #[arg(long)]
    pub no_agent: bool,
    /// Where this node keeps its state [env: RING_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// `ring user reset-password`
#[derive(Clone, Debug, Args)]
pub struct ResetPassword {
    /// Its name
    #[arg(value_name = "NAME")]
    pub username: String,
    /// File with the new password; '-' asks for it on a terminal, or reads it from standard input [default: a random one, printed once]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Where the control node of this host keeps its state; whoever can read it may do this [env: RING_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// An IP address with the cluster's port where none is written.
fn cluster_address(text: &str) -> Result<SocketAddr, String> {
    let with_port = text.parse().or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, ring_api::CLUSTER_PORT)));
    with_port.map_err(|_| "an IP address, with or without a port, is wanted".to_owned())
}

/// One of a few words; clap names the nearest when it is none of them.
pub(crate) fn word<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let possible = all.iter().map(|value| PossibleValue::new(name(*value))).collect::<Vec<_>>();
    let of = move |text: String| all.iter().copied().find(|value| name(*value) == text).ok_or("unknown");
    PossibleValuesParser::new(possible).try_map(of)
}

/// `key=value`.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("KEY=VALUE is wanted".to_owned()),
    }
}

/// What a snapshot is of.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotReport {
    /// Version of the file's format.
    pub format: u32,
    /// Which cluster.
    pub cluster: String,
    /// Which generation of it.
    pub generation: String,
    /// When it was saved, RFC 3339.
    pub created_at: String,
    /// The release that saved it.
    pub release: String,
    /// Index of the last log entry in it.
    pub log_index: u64,
    /// Term of that entry.
    pub log_term: u64,
    /// Revision of the state.
    pub revision: u64,
    /// Length of the file, bytes.
    pub bytes: u64,
    /// SHA-256 of the file without its last 32 bytes, which are it.
    pub sha256: String,
    /// Objects by kind.
    pub counts: BTreeMap<String, u64>,
}

impl SnapshotInspect {
    /// Shows it as it was asked for.
    ///
    /// # Errors
    /// [`CliError`] when it cannot be written.
    pub fn show(&self, report: &SnapshotReport) -> Result<(), CliError> {
        let format = self.output.format;
        if matches!(format, Format::Json | Format::Yaml) {
            return data(&ObjectView(report).render(format, data_screen())?);
        }
        let facts = [
            ("cluster", report.cluster.clone()),
            ("generation", report.generation.clone()),
            ("saved", format!("{} by release {}", report.created_at, report.release)),
            ("log", format!("index {}, term {}", report.log_index, report.log_term)),
            ("revision", report.revision.to_string()),
            ("file", format!("format {}, {} bytes", report.format, report.bytes)),
            ("sha256", report.sha256.clone()),
        ];
        let facts = facts.iter().map(|(what, value)| format!("{what:<10}  {value}"));
        let counts = report.counts.iter().map(|(kind, count)| format!("  {kind:<14}  {count}"));
        let lines: Vec<_> = facts.chain(["objects".to_owned()]).chain(counts).collect();
        data(&lines.join("\n"))
    }
}
