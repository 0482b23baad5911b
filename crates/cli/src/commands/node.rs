//! `ring node`

use clap::{Args, Subcommand};
use ring_api::client::Client;
use ring_api::model::{Node, NodePatch};

use super::drain::{self, Drain};
use crate::context::Context;
use crate::error::CliError;
use crate::format::OutputArgs;
use crate::output::{ListView, ObjectView, Reply};
use crate::resolve::pick;

/// `ring node`
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommandArgs {
    /// List hosts that run work
    List(OutputArgs),
    /// Show one host
    Inspect(Inspect),
    /// Show the host the answering server is on
    Get(OutputArgs),
    /// Set labels (KEY=VALUE) and take them away (KEY-)
    Label(Label),
    /// Give a host no new work; what runs there stays
    Cordon(Id),
    /// Give a host new work again; ends a drain
    Uncordon(Id),
    /// Empty a host: workers move one by one, jobs run to their end
    Drain(Drain),
    /// Take a host out of the cluster for good; what ran there counts as lost
    Remove(Id),
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Its name, id, or a unique prefix of its id
    node: String,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Id {
    /// Its name, id, or a unique prefix of its id
    node: String,
}

#[derive(Debug, Args)]
pub(crate) struct Label {
    /// Its name, id, or a unique prefix of its id
    node: String,
    /// KEY=VALUE sets a label, KEY- takes it away
    #[arg(required = true, value_name = "KEY=VALUE|KEY-", value_parser = change)]
    labels: Vec<(String, Option<String>)>,
}

fn change(text: &str) -> Result<(String, Option<String>), String> {
    if let Ok((key, value)) = crate::node::key_value(text) {
        return Ok((key, Some(value)));
    }
    match text.strip_suffix('-') {
        Some(key) if !key.is_empty() => Ok((key.to_owned(), None)),
        _ => Err("KEY=VALUE or KEY- is wanted".to_owned()),
    }
}

pub(crate) async fn run(context: &Context, command: NodeCommandArgs) -> Result<Reply, CliError> {
    let client = context.client()?;
    match command {
        NodeCommandArgs::List(output) => Ok(Reply::view(ListView(client.nodes().await?), output.format)),
        NodeCommandArgs::Get(output) => Ok(Reply::view(ObjectView(client.own_node().await?), output.format)),
        NodeCommandArgs::Inspect(args) => {
            let node = client.node(find(&client, &args.node).await?.id).await?;
            Ok(Reply::view(ObjectView(node), args.output.format))
        }
        NodeCommandArgs::Label(args) => {
            let patch = NodePatch { labels: args.labels.into_iter().collect(), ..NodePatch::default() };
            change_node(&client, &args.node, &patch, "labelled").await
        }
        NodeCommandArgs::Cordon(args) => {
            let patch = NodePatch { schedulable: Some(false), ..NodePatch::default() };
            change_node(&client, &args.node, &patch, "cordoned").await
        }
        NodeCommandArgs::Drain(args) => drain::run(&client, args).await,
        NodeCommandArgs::Remove(args) => {
            let node = find(&client, &args.node).await?;
            client.remove_node(node.id).await?;
            Ok(Reply::line(format!("node {} removed", node.name)))
        }
        NodeCommandArgs::Uncordon(args) => {
            let patch = NodePatch { schedulable: Some(true), ..NodePatch::default() };
            change_node(&client, &args.node, &patch, "uncordoned").await
        }
    }
}

pub(super) async fn find(client: &Client, wanted: &str) -> Result<Node, CliError> {
    let nodes = client.nodes().await?;
    pick(&nodes, wanted).cloned()
}

async fn change_node(client: &Client, wanted: &str, patch: &NodePatch, done: &str) -> Result<Reply, CliError> {
    let node = find(client, wanted).await?;
    client.patch_node(node.id, patch).await?;
    Ok(Reply::line(format!("node {} {done}", node.name)))
}
