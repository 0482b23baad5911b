//! The commands that make this host a node.

mod agent;
mod begun_anew;
mod control;
mod logging;
mod micro_vms;
mod options;
mod pages;
mod reset;
mod runtimes;
mod signals;

use std::ffi::OsStr;
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::Context;
use ring_agent::AgentError;
use ring_cli::output::failure_message;
use ring_cli::{Exit, JoinAs, NodeCommand, NodeSettings};
use ring_server::node::NodeError;

pub(super) use micro_vms::Drivers;

/// What to do with a host that was removed.
const REJOIN: &str = "to use this host again, join it with a new token and an empty data directory: ring cluster join";

/// Hidden subcommand with which the process runtime starts its supervisors.
pub(super) const SHIM: &str = "__shim";

/// Hidden subcommand with which the runtime of micro-VMs starts its keepers.
const VM_KEEPER: &str = "__vm-keeper";

/// Most threads that serve.
const WORKERS: usize = 8;

/// Runs as a helper of a runtime when this process was started as one. No other thread may exist yet.
pub(super) fn shim() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let first = args.next()?;
    if first == OsStr::new(SHIM) {
        return Some(ring_runtime_process::shim_main(args));
    }
    (first == OsStr::new(VM_KEEPER)).then(|| ring_runtime_vm::keeper_main(args))
}

/// Runs a node until it is told to stop, or fails.
pub(super) fn run(settings: &NodeSettings, command: NodeCommand) -> ExitCode {
    match &command {
        NodeCommand::ResetPassword(args) => return reset::run(settings, args),
        NodeCommand::SnapshotInspect(args) => return begun_anew::inspect(args),
        NodeCommand::SnapshotRestore(args) => return begun_anew::restore(settings, args),
        NodeCommand::ClusterRecover(args) => return begun_anew::recover(settings, args),
        _ => {}
    }
    logging::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers()).enable_all().build();
    match runtime.context("cannot start the async runtime").and_then(|runtime| runtime.block_on(dispatch(settings, command))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A person reads it once, below.
            if logging::in_json() {
                tracing::error!("{error:#}");
            }
            let (hint, exit) = if removed(&error) { (Some(REJOIN), Exit::Removed) } else { (None, Exit::General) };
            failure_message(&format!("{error:#}"), hint, exit)
        }
    }
}

/// Did the node end because its cluster has removed it?
fn removed(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(NodeError::Removed { .. }))
        || matches!(error.downcast_ref(), Some(AgentError::Dismissed(_)))
}

/// Threads that serve: one for two processors. A write passes many tasks, and each that is woken on another thread costs more
/// than it does there; what computes for long or waits for the disk has threads of its own.
fn workers() -> usize {
    available_parallelism().map_or(1, |processors| (processors.get() / 2).clamp(1, WORKERS))
}

async fn dispatch(settings: &NodeSettings, command: NodeCommand) -> anyhow::Result<()> {
    for key in settings.config.unknown_keys() {
        tracing::warn!("{}: the key '{key}' means nothing", settings.paths.config_file.display());
    }
    tokio::spawn(pages::leave_the_start_behind());
    match command {
        // They run nothing, and were taken apart before.
        NodeCommand::ResetPassword(_)
        | NodeCommand::SnapshotInspect(_)
        | NodeCommand::SnapshotRestore(_)
        | NodeCommand::ClusterRecover(_) => Ok(()),
        NodeCommand::ServerStart(args) => control::start(settings, &args).await,
        NodeCommand::ClusterInit(args) => control::init(settings, args).await,
        NodeCommand::AgentStart(args) => agent::start(settings, &args).await,
        NodeCommand::ClusterJoin(args) => match args.role {
            JoinAs::Control => control::join(settings, args).await,
            JoinAs::Agent => agent::join(settings, args).await,
        },
    }
}
