//! The commands that make this host a node.

mod agent;
mod control;
mod logging;
mod options;
mod runtimes;
mod signals;

use std::ffi::OsStr;
use std::process::ExitCode;

use anyhow::Context;
use ring_cli::output::failure_message;
use ring_cli::{JoinAs, NodeCommand, NodeSettings};

/// Hidden subcommand with which the process runtime starts its supervisors.
pub(super) const SHIM: &str = "__shim";

/// Runs as a supervisor when this process was started as one. No other thread may exist yet.
pub(super) fn shim() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next().as_deref() != Some(OsStr::new(SHIM)) {
        return None;
    }
    Some(ring_runtime_process::shim_main(args))
}

/// Runs a node until it is told to stop, or fails.
pub(super) fn run(settings: &NodeSettings, command: NodeCommand) -> ExitCode {
    logging::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the async runtime");
    match runtime.and_then(|runtime| runtime.block_on(dispatch(settings, command))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            failure_message(&format!("{error:#}"), None)
        }
    }
}

async fn dispatch(settings: &NodeSettings, command: NodeCommand) -> anyhow::Result<()> {
    for key in settings.config.unknown_keys() {
        tracing::warn!("{}: the key '{key}' means nothing", settings.paths.config_file.display());
    }
    match command {
        NodeCommand::ServerStart(args) => control::start(settings, &args).await,
        NodeCommand::ClusterInit(args) => control::init(settings, args).await,
        NodeCommand::AgentStart(_) => agent::start(settings).await,
        NodeCommand::ClusterJoin(args) => match args.role {
            JoinAs::Control => control::join(settings, args).await,
            JoinAs::Agent => agent::join(settings, args).await,
        },
    }
}
