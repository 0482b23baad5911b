//! The commands of `ring` and everything a person sees of them.
//!
//! A command returns data and messages and prints nothing; `output` is the only place that prints, `error` the only place
//! where a failure becomes a message, a hint and an exit code. Commands that make this host a node are only described here
//! ([`NodeCommand`]); the program that contains the server and the agent runs them.

mod args;
mod commands;
pub mod config;
mod context;
mod error;
mod format;
mod host;
mod node;
pub mod output;
mod password;
mod reference;
mod resolve;
mod rows;
mod suggest;
mod terminal;
mod time;

use std::ffi::OsString;
use std::process::ExitCode;

use args::Runner;
use clap::Parser;

pub use error::{CliError, Exit};
pub use host::{Finding, HostChecks};
pub use node::{
    AgentStart, ClusterInit, ClusterJoin, ClusterRecover, JoinAs, NodeCommand, NodeSettings, ResetPassword, ServerStart,
    SnapshotInspect, SnapshotReport, SnapshotRestore,
};
pub use password::{password_file, read_password};
pub use reference::{command_reference, error_reference, help_pages};

/// What a command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// To run a command of the client.
    Client(ClientCommand),
    /// To make this host a node: the caller runs it.
    Node(NodeSettings, NodeCommand),
    /// Nothing more: help or version was shown, or the command line is wrong.
    Done(ExitCode),
}

/// A command of the client, ready to run.
#[derive(Debug)]
pub struct ClientCommand {
    globals: args::Globals,
    command: args::Command,
}

/// Reads a command line, program name first.
pub fn parse(line: impl IntoIterator<Item = OsString>) -> Invocation {
    let cli = match args::Cli::try_parse_from(line) {
        Ok(cli) => cli,
        Err(error) => return Invocation::Done(output::usage(&error)),
    };
    match cli.command.runner() {
        Runner::Client(command) => Invocation::Client(ClientCommand { globals: cli.globals, command }),
        Runner::Node(data_dir, command) => match NodeSettings::load(&cli.globals, data_dir) {
            Ok(settings) => Invocation::Node(settings, command),
            Err(error) => Invocation::Done(output::failure(&error)),
        },
    }
}

impl ClientCommand {
    /// Runs it to its end, prints what it has to say, and gives the exit code. A rustls provider has to be installed.
    /// `host` is what the drivers of this program say of its host; None: it has none.
    pub fn run(self, host: Option<&dyn HostChecks>) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = match runtime {
            Ok(runtime) => runtime.block_on(commands::run(self.globals, self.command, host)),
            Err(error) => Err(CliError::Runtime(error)),
        };
        match result {
            Ok(reply) => output::reply(&reply),
            Err(error) => output::failure(&error),
        }
    }
}

/// Says that this build is the client alone.
pub fn client_only(command: &NodeCommand) -> ExitCode {
    output::failure(&CliError::ClientOnly(command.name()))
}
