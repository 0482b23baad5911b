//! The agent of a host: alone, or beside a control node in the same process.

use std::time::Duration;

use anyhow::bail;
use ring_agent::{Agent, AgentConfig, AgentError, AgentTiming};
use ring_cli::{AgentStart, ClusterJoin, NodeSettings};
use ring_server::JoinRole;
use ring_server::node::{AgentHost, JoinOptions, NodeError, has_joined, join as join_cluster};
use ring_types::Span;
use tokio_util::sync::CancellationToken;

use super::{runtimes, signals};

/// After a fault of the agent it begins again from its ledger.
const RESTART: Duration = Duration::from_secs(1);

/// `ring agent start`
pub(super) async fn start(settings: &NodeSettings, args: &AgentStart) -> anyhow::Result<()> {
    let stop = signals::until_told()?;
    let control_nodes: Vec<String> = args.control_nodes.iter().map(ToString::to_string).collect();
    let host = AgentHost::load(&settings.paths.data_dir, &control_nodes, stop.clone())?;
    run(settings, host, stop).await
}

/// `ring cluster join --role agent`
pub(super) async fn join(settings: &NodeSettings, args: ClusterJoin) -> anyhow::Result<()> {
    if args.no_agent || args.plain_http || args.api_listen.is_some() {
        bail!("--no-agent, --api-listen and --plain-http are for control nodes");
    }
    let record = join_cluster(&options(settings, args, JoinRole::Agent)).await?;
    tracing::info!(cluster = %record.cluster, "joined the cluster as agent '{}'", record.name);
    start(settings, &AgentStart::default()).await
}

/// What a host that joins says of itself.
pub(super) fn options(settings: &NodeSettings, args: ClusterJoin, role: JoinRole) -> JoinOptions {
    JoinOptions {
        data_dir: settings.paths.data_dir.clone(),
        addresses: args.addresses,
        token: args.token,
        role,
        name: args.name,
        advertise: args.advertise,
        api_listen: args.api_listen,
        labels: args.labels.into_iter().collect(),
        with_agent: !args.no_agent,
    }
}

/// Runs the agent until `stop`. A fault of its own begins it again; a host the cluster does not want any more ends it.
pub(super) async fn run(settings: &NodeSettings, host: AgentHost, stop: CancellationToken) -> anyhow::Result<()> {
    std::fs::create_dir_all(&host.data_dir)?;
    let runtimes = runtimes::all(settings, &host).await?;
    loop {
        let config = AgentConfig {
            data_dir: host.data_dir.clone(),
            node: host.node,
            control_addresses: host.control_addresses.clone(),
            connector: host.connector.clone(),
            runtimes: runtimes.clone(),
            labels: host.labels.clone(),
            address: host.address.clone(),
            capacity: None,
            drain_on_stop: settings.config.server.agent.drain_on_stop.map(Span::duration),
            timing: AgentTiming::default(),
        };
        let ended = tokio::select! {
            ended = Agent::new(config).run(stop.clone().cancelled_owned()) => ended,
            () = signals::again(&stop) => {
                tracing::warn!("told again: stopping now; what is left on this host runs on");
                return Ok(());
            }
        };
        match ended {
            Ok(()) => return Ok(()),
            Err(AgentError::Fault(what)) => tracing::error!("{what} failed by a fault of the agent; it begins again"),
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(RESTART) => {}
        }
    }
}

/// The agent beside a control node. One that was removed leaves the control node as it is.
pub(super) async fn beside(settings: &NodeSettings, host: AgentHost, stop: CancellationToken) -> anyhow::Result<()> {
    match run(settings, host, stop.clone()).await {
        Err(error) if matches!(error.downcast_ref(), Some(AgentError::Dismissed(_))) => {
            tracing::warn!("{error}; this host goes on as a control node alone");
            stop.cancelled().await;
            Ok(())
        }
        ended => ended,
    }
}

/// Is this the directory of a host that is a part of a cluster?
pub(super) fn joined(settings: &NodeSettings) -> Result<bool, NodeError> {
    has_joined(&settings.paths.data_dir)
}
