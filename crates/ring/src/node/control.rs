//! A control node, with or without an agent in the same process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, bail};
use ring_cli::output::{data, note};
use ring_cli::{ClusterInit, ClusterJoin, NodeSettings, ServerStart};
use ring_server::JoinRole;
use ring_server::node::{
    ApiWords, ControlNode, FirstWords, InitOptions, StartOptions, init as init_cluster, join as join_cluster,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::options::{admin_password, prepared_key, settings as node_settings, with_plain};
use super::{agent, signals};

/// The cluster port of a host that is alone: nobody else needs it.
const ALONE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ring_server::CLUSTER_PORT);

/// `ring server start`
pub(super) async fn start(settings: &NodeSettings, args: &ServerStart) -> anyhow::Result<()> {
    let stop = signals::until_told()?;
    if agent::joined(settings)? {
        let options = StartOptions {
            data_dir: settings.paths.data_dir.clone(),
            advertise: args.advertise,
            control_nodes: args.control_nodes.iter().map(ToString::to_string).collect(),
            api_listen: args.api_listen,
            settings: with_plain(node_settings(settings)?, args.plain_http)?,
        };
        let node = ControlNode::start(options).await?;
        say_api(&node);
        return serve(settings, node, !args.no_agent, stop).await;
    }
    if !args.control_nodes.is_empty() {
        bail!("--control-nodes is for a host that belongs to a cluster; to join one: ring cluster join");
    }
    let advertise = args.advertise.unwrap_or(ALONE);
    let mut options = init_options(settings, advertise, args.admin_password_file.as_deref(), args.plain_http)?;
    // The port `ring init` was told is the one this user's other commands will ask; nobody else is to reach a host on loopback.
    let listen = if advertise.ip().is_loopback() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let configured = settings.config.api_port().map(|port| SocketAddr::new(listen.into(), port));
    options.api_listen = args.api_listen.or(configured);
    options.with_agent = !args.no_agent;
    let (node, words) = init_cluster(options).await?;
    say_password(&words);
    note(&format!("This host is a cluster of one. Next: {}", node.api_words().login));
    warn_exposed(&node);
    serve(settings, node, true, stop).await
}

/// `ring cluster init`
pub(super) async fn init(settings: &NodeSettings, args: ClusterInit) -> anyhow::Result<()> {
    let stop = signals::until_told()?;
    let mut options = init_options(settings, args.advertise, args.admin_password_file.as_deref(), args.plain_http)?;
    options.api_listen = args.api_listen;
    options.name = args.name;
    options.labels = args.labels.into_iter().collect();
    options.with_agent = !args.no_agent;
    let (node, words) = init_cluster(options).await?;
    say_password(&words);
    note("The cluster is made, and this control node runs. To join others within a day, type there:");
    note("  a control node:");
    data(&words.join_control)?;
    note("  a host that runs work:");
    data(&words.join_agent)?;
    say_api(&node);
    serve(settings, node, true, stop).await
}

/// `ring cluster join --role control`
pub(super) async fn join(settings: &NodeSettings, args: ClusterJoin) -> anyhow::Result<()> {
    let stop = signals::until_told()?;
    let node_settings = with_plain(node_settings(settings)?, args.plain_http)?;
    let options = agent::options(settings, args, JoinRole::Control);
    let record = join_cluster(&options).await?;
    tracing::info!(cluster = %record.cluster, "joined the cluster as control node '{}'", record.name);
    let options = StartOptions {
        data_dir: settings.paths.data_dir.clone(),
        advertise: None,
        control_nodes: Vec::new(),
        api_listen: None,
        settings: node_settings,
    };
    let node = ControlNode::start(options).await?;
    say_api(&node);
    serve(settings, node, true, stop).await
}

fn init_options(
    settings: &NodeSettings,
    advertise: SocketAddr,
    password: Option<&Path>,
    plain_http: bool,
) -> anyhow::Result<InitOptions> {
    Ok(InitOptions {
        data_dir: settings.paths.data_dir.clone(),
        name: None,
        advertise,
        api_listen: None,
        labels: std::collections::BTreeMap::new(),
        with_agent: true,
        admin_password: admin_password(password)?,
        prepared_key: prepared_key(settings).context("the secret key")?,
        settings: with_plain(node_settings(settings)?, plain_http)?,
    })
}

/// How its REST API is spoken to: from another host a person needs to know whom to trust.
fn say_api(node: &ControlNode) {
    note(&format!("To log in: {}", node.api_words().login));
    warn_exposed(node);
}

fn warn_exposed(node: &ControlNode) {
    if node.api_words().exposed {
        note(&format!("warning: {}", ApiWords::EXPOSED));
    }
}

fn say_password(words: &FirstWords) {
    if let Some(password) = &words.admin_password {
        note(&format!("The password of the account 'admin' is {} and is not shown again.", **password));
    }
}

/// Runs the control node, and the agent beside it; when one of them fails the other stops too. The agent stops first: it may have this
/// host emptied, for which a control node is needed.
async fn serve(settings: &NodeSettings, node: ControlNode, with_agent: bool, stop: CancellationToken) -> anyhow::Result<()> {
    let host = node.agent_host().filter(|_| with_agent).cloned();
    let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let control = if host.is_some() { CancellationToken::new() } else { stop.clone() };
    let told = control.clone();
    parts.spawn(async move { Ok(node.run(told.cancelled()).await?) });
    if let Some(host) = host {
        let (settings, told) = (settings.clone(), stop.clone());
        parts.spawn(async move { agent::beside(&settings, host, told).await });
    }
    let mut result = Ok(());
    while let Some(ended) = parts.join_next().await {
        let ended = ended.context("a part of this node ended by a fault").and_then(|ended| ended);
        stop.cancel();
        control.cancel();
        result = result.and(ended);
    }
    result
}
