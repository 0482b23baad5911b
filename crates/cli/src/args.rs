//! The command line: global options and the tree of commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    apply, cluster, completions, config, context, deployment, diff, doctor, init, login, namespace, node, secret, snapshot,
    token, user, volume, webhook,
};
use crate::node::{AgentCommand, NodeCommand, ServerCommand};

/// Runs containers, processes and micro-VMs on one host or many.
#[derive(Debug, Parser)]
#[command(name = "ring", version, disable_help_subcommand = true, propagate_version = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Globals {
    // Not global: after `deployment logs`, `-c` names an instance.
    /// Context of the configuration to use, instead of the current one; goes before the command
    #[arg(short = 'c', long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Configuration file [env: RING_CONFIG_FILE; default: config.toml in the configuration directory]
    #[arg(long, global = true, value_name = "FILE", display_order = 900)]
    pub(crate) config: Option<PathBuf>,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a configuration and a secret key, then check this host
    Init(init::InitArgs),
    /// Check what this host offers: runtimes, keys, ports, clock, disk
    Doctor(doctor::DoctorArgs),
    /// Run a control node on this host
    #[command(subcommand)]
    Server(ServerCommand),
    /// Run the agent of this host
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Make, join and look after the cluster
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Hosts that run work
    #[command(subcommand)]
    Node(node::NodeCommandArgs),
    /// Trade a password for a token, and keep it
    Login(login::LoginArgs),
    /// Give up the kept token
    Logout(login::LogoutArgs),
    /// Which clusters are known, and which is in use
    Context(context::ContextArgs),
    /// Apply a manifest
    Apply(apply::ApplyArgs),
    /// Show what applying a manifest would change
    Diff(diff::DiffArgs),
    /// Deployments: list, inspect, delete, logs, exec, events, wait
    #[command(subcommand)]
    Deployment(deployment::DeploymentCommand),
    /// Secrets, whose values never come back
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// Configs
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Volumes
    #[command(subcommand)]
    Volume(volume::VolumeCommand),
    /// Namespaces
    #[command(subcommand)]
    Namespace(namespace::NamespaceCommand),
    /// Accounts
    #[command(subcommand)]
    User(user::UserCommand),
    /// API tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Tell others of events by HTTP
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// Who runs a command.
pub(crate) enum Runner {
    /// This crate.
    Client(Command),
    /// The program, with its data directory where one is given.
    Node(Option<PathBuf>, NodeCommand),
}

impl Command {
    /// Takes the commands that need what only a node has apart from the others.
    pub(crate) fn runner(self) -> Runner {
        match self {
            Self::Server(ServerCommand::Start(args)) => Runner::Node(args.data_dir.clone(), NodeCommand::ServerStart(args)),
            Self::Agent(AgentCommand::Start(args)) => Runner::Node(args.data_dir.clone(), NodeCommand::AgentStart(args)),
            Self::Cluster(cluster::ClusterCommand::Init(args)) => {
                Runner::Node(args.data_dir.clone(), NodeCommand::ClusterInit(args))
            }
            Self::Cluster(cluster::ClusterCommand::Join(args)) => {
                Runner::Node(args.data_dir.clone(), NodeCommand::ClusterJoin(args))
            }
            Self::Cluster(cluster::ClusterCommand::Recover(args)) => {
                Runner::Node(args.data_dir.clone(), NodeCommand::ClusterRecover(args))
            }
            Self::Cluster(cluster::ClusterCommand::Snapshot(snapshot::SnapshotCommand::Inspect(args))) => {
                Runner::Node(None, NodeCommand::SnapshotInspect(args))
            }
            Self::Cluster(cluster::ClusterCommand::Snapshot(snapshot::SnapshotCommand::Restore(args))) => {
                Runner::Node(args.data_dir.clone(), NodeCommand::SnapshotRestore(args))
            }
            Self::User(user::UserCommand::ResetPassword(args)) => {
                Runner::Node(args.data_dir.clone(), NodeCommand::ResetPassword(args))
            }
            other => Runner::Client(other),
        }
    }
}
