//! `ring volume`

use clap::{Args, Subcommand};
use ring_api::model::{CreateVolume, Volume};
use ring_types::VolumeDriver;

use super::named::{List, each, listed};
use crate::context::Context;
use crate::error::CliError;
use crate::format::OutputArgs;
use crate::node::key_value;
use crate::output::{ObjectView, Reply, note};
use crate::resolve::{Named, pick};

/// `ring volume`
#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// List volumes, and where their data is
    List(List),
    /// Show a volume
    Inspect(Inspect),
    /// Make a volume; a deployment that names a local one makes it, too
    Create(Create),
    /// Forget a volume; its data stays on its node or file server
    Delete(Delete),
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Its id, a unique prefix of it, or NAMESPACE/NAME
    id: String,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name
    name: String,
    /// Its namespace
    #[arg(short, long)]
    namespace: String,
    /// Where its data lives: local, on a node; nfs, on a file server
    #[arg(long, value_name = "local|nfs", default_value = "local")]
    driver: VolumeDriver,
    /// What the file server gives out, for driver nfs
    #[arg(long, value_name = "SERVER:/PATH")]
    source: Option<String>,
    /// The node that has the data of a local one already; otherwise the first instance that mounts it decides
    #[arg(long)]
    node: Option<String>,
    /// A label; may be given several times
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
    labels: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Ids, unique prefixes of ids, or NAMESPACE/NAME
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Even when a deployment mounts it
    #[arg(short, long)]
    force: bool,
}

pub(crate) async fn run(context: &Context, command: VolumeCommand) -> Result<Reply, CliError> {
    let client = context.client()?;
    match command {
        VolumeCommand::List(args) => {
            let volumes = client.volumes(args.namespace.as_deref()).await?;
            Ok(listed(&client, volumes, args).await)
        }
        VolumeCommand::Inspect(args) => {
            let volumes = client.volumes(None).await?;
            let volume = client.volume(pick(&volumes, &args.id)?.id).await?;
            Ok(Reply::view(ObjectView(volume), args.output.format))
        }
        VolumeCommand::Create(args) => {
            let Create { name, namespace, driver, source, node, labels } = args;
            let labels = labels.into_iter().collect();
            let wanted = CreateVolume { namespace, name, driver, source, labels, node };
            let made = client.create_volume(&wanted).await?.object;
            Ok(Reply::line(format!("volume {} created (id {})", made.full_name(), made.id)))
        }
        VolumeCommand::Delete(args) => {
            let volumes = client.volumes(None).await?;
            each(&args.ids, async |id| {
                let volume = pick(&volumes, id)?;
                client.delete_volume(volume.id, args.force).await?;
                if let Some(left) = left(volume) {
                    note(&left);
                }
                Ok(format!("volume {} deleted", volume.full_name()))
            })
            .await
        }
    }
}

/// What stays behind.
fn left(volume: &Volume) -> Option<String> {
    let place = volume.source.as_deref().or(volume.node.as_deref())?;
    Some(format!("its data stays on {place}"))
}
