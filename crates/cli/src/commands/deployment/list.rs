//! `ring deployment list`

use clap::Args;
use ring_api::client::Client;
use ring_api::query::DeploymentQuery;
use ring_types::{DeploymentStatus, Kind};

use crate::commands::named::{missing, unknown_namespaces};
use crate::error::CliError;
use crate::format::OutputArgs;
use crate::node::{key_value, word};
use crate::output::{ListView, Reply};

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Of this namespace; may be given several times
    #[arg(short, long = "namespace", value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// With this status; may be given several times
    #[arg(short, long = "status", value_name = "STATUS", value_parser = word(DeploymentStatus::ALL, DeploymentStatus::as_str), hide_possible_values = true)]
    statuses: Vec<DeploymentStatus>,
    /// Workers or jobs
    #[arg(long = "type", value_name = "worker|job", value_parser = word(Kind::ALL, Kind::as_str), hide_possible_values = true)]
    kind: Option<Kind>,
    /// With this label; of several, all
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
    labels: Vec<(String, String)>,
    /// With an instance on this node
    #[arg(long)]
    node: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(client: &Client, args: List) -> Result<Reply, CliError> {
    let query = DeploymentQuery {
        namespaces: args.namespaces,
        statuses: args.statuses,
        kind: args.kind,
        labels: args.labels,
        node: args.node,
        name: None,
    };
    let mut found = client.deployments(&query).await?;
    found.sort_by_key(|deployment| (deployment.created_at, deployment.id));
    let warnings = if found.is_empty() { unknown(client, &query).await } else { Vec::new() };
    Ok(Reply::view(ListView(found), args.output.format).warn(warnings))
}

/// Why nothing was found: a namespace or a node nobody knows. An empty list is no failure, and neither is not being allowed to
/// look there.
async fn unknown(client: &Client, query: &DeploymentQuery) -> Vec<String> {
    let mut told = unknown_namespaces(client, query.namespaces.iter().map(String::as_str)).await;
    if let Some(wanted) = &query.node
        && let Ok(nodes) = client.nodes().await
        && !nodes.iter().any(|node| node.name == *wanted || node.id.to_string() == *wanted)
    {
        told.push(missing("node", wanted, nodes.iter().map(|node| node.name.as_str())));
    }
    told
}
