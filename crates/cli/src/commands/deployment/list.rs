//! `ring deployment list`

use clap::Args;
use ring_api::client::Client;
use ring_api::query::DeploymentQuery;
use ring_types::{DeploymentStatus, Kind};

use crate::error::CliError;
use crate::format::OutputArgs;
use crate::node::key_value;
use crate::output::{ListView, Reply};

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Of this namespace; may be given several times
    #[arg(short, long = "namespace", value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// With this status; may be given several times
    #[arg(short, long = "status", value_name = "STATUS")]
    statuses: Vec<DeploymentStatus>,
    /// Workers or jobs
    #[arg(long = "type", value_name = "worker|job")]
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
    Ok(Reply::view(ListView(found), args.output.format))
}
