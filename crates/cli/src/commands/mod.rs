//! One file a command. A command returns data and messages; it prints nothing itself, save what comes as a stream.

pub(crate) mod apply;
mod audit;
mod authority;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod context;
pub(crate) mod deployment;
pub(crate) mod diff;
pub(crate) mod doctor;
mod drain;
pub(crate) mod init;
pub(crate) mod login;
mod named;
pub(crate) mod namespace;
pub(crate) mod node;
mod plan;
mod poll;
mod rebalance;
mod rotate;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod secret;
pub(crate) mod snapshot;
pub(crate) mod token;
pub(crate) mod user;
pub(crate) mod volume;
mod wait;
pub(crate) mod webhook;

use crate::args::{Command, Globals};
use crate::context::Context;
use crate::error::CliError;
use crate::host::HostChecks;
use crate::output::Reply;

/// Runs a command of the client.
pub(crate) async fn run(globals: Globals, command: Command, host: Option<&dyn HostChecks>) -> Result<Reply, CliError> {
    let context = Context::load(globals)?;
    match command {
        Command::Init(args) => init::run(&context, host, &args).await,
        Command::Doctor(args) => doctor::run(&context, host, &args).await,
        Command::Cluster(command) => cluster::run(&context, command).await,
        Command::Node(command) => node::run(&context, command).await,
        Command::Login(args) => login::login(&context, args).await,
        Command::Logout(_) => login::logout(&context).await,
        Command::Context(args) => context::run(&context, args),
        Command::Apply(args) => apply::run(&context, args).await,
        Command::Diff(args) => diff::run(&context, args).await,
        Command::Deployment(command) => deployment::run(&context, command).await,
        Command::Secret(command) => secret::run(&context, command).await,
        Command::Config(command) => config::run(&context, command).await,
        Command::Volume(command) => volume::run(&context, command).await,
        Command::Namespace(command) => namespace::run(&context, command).await,
        Command::User(command) => user::run(&context, command).await,
        Command::Token(command) => token::run(&context, command).await,
        Command::Webhook(command) => webhook::run(&context, command).await,
        Command::Completions(args) => Ok(completions::run(&args)),
        Command::Server(_) | Command::Agent(_) => Err(CliError::Usage("this command runs a node".to_owned())),
    }
}
