//! `ring node`

use clap::{Args, Subcommand};
use ring_api::client::Client;
use ring_api::model::{Node, NodePatch};
use ring_types::NodeStatus;

use super::drain::{self, Drain};
use super::rebalance::{self, Rebalance};
use super::token::confirmed;
use crate::context::Context;
use crate::error::CliError;
use crate::format::OutputArgs;
use crate::output::{ListView, ObjectView, Reply, note};
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
    /// Move workers' instances until the hosts have their share, as after hosts came or returned
    Rebalance(Rebalance),
    /// Say that hosts out of contact do not come back: their work counts as lost now
    Lost(Lost),
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
pub(crate) struct Lost {
    /// Names, ids, or unique prefixes of ids
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
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
        NodeCommandArgs::List(output) => {
            let nodes = client.nodes().await?;
            nodes.iter().filter(|node| node.held).for_each(|node| {
                note(&format!("node {}: {}", node.name, node.message.as_deref().unwrap_or_default()));
            });
            Ok(Reply::view(ListView(nodes), output.format))
        }
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
        NodeCommandArgs::Lost(args) => lost(&client, args).await,
        NodeCommandArgs::Drain(args) => drain::run(&client, args).await,
        NodeCommandArgs::Rebalance(args) => rebalance::run(&client, args).await,
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

/// All of them are looked up, and asked about, before anything is said of one.
async fn lost(client: &Client, args: Lost) -> Result<Reply, CliError> {
    let known = client.nodes().await?;
    let nodes: Vec<&Node> = args.nodes.iter().map(|wanted| pick(&known, wanted)).collect::<Result<_, _>>()?;
    if let Some(node) = nodes.iter().find(|node| matches!(node.status, NodeStatus::Ready | NodeStatus::Joining)) {
        let message = format!("node '{}' is not out of contact", node.name);
        let hint =
            Some(format!("`ring node drain {0}` empties it, `ring node remove {0}` takes it out of the cluster", node.name));
        return Err(CliError::Failed { message, details: Vec::new(), hint });
    }
    let names = nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ");
    let what = "what runs there is started elsewhere, and jobs fail; if it does run, it runs twice until it is back in contact";
    if !args.yes && !confirmed(&format!("count {names} as lost? {what}."))? {
        return Ok(Reply::line("nothing changed".to_owned()));
    }
    for node in nodes {
        client.patch_node(node.id, &NodePatch { lost: true, ..NodePatch::default() }).await?;
    }
    Ok(Reply::line(format!("{names} counted as lost")))
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
