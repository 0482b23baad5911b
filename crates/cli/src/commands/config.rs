//! `ring config`

use clap::{Args, Subcommand};

use super::named::{Delete, List, each, listed};
use crate::context::Context;
use crate::error::CliError;
use crate::format::OutputArgs;
use crate::output::{ObjectView, Reply};
use crate::resolve::pick;

/// `ring config`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List configs
    List(List),
    /// Show a config and its contents
    Inspect(Inspect),
    /// Delete a config
    Delete(Delete),
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Its id, a unique prefix of it, or NAMESPACE/NAME
    id: String,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(context: &Context, command: ConfigCommand) -> Result<Reply, CliError> {
    let client = context.client()?;
    match command {
        ConfigCommand::List(args) => {
            let configs = client.configs(args.namespace.as_deref()).await?;
            Ok(listed(&client, configs, args).await)
        }
        ConfigCommand::Inspect(args) => {
            let configs = client.configs(None).await?;
            let config = client.config(pick(&configs, &args.id)?.id).await?;
            Ok(Reply::view(ObjectView(config), args.output.format))
        }
        ConfigCommand::Delete(args) => {
            let configs = client.configs(None).await?;
            each(&args.ids, async |id| {
                let config = pick(&configs, id)?;
                client.delete_config(config.id, args.force).await?;
                Ok(format!("config {}/{} deleted", config.namespace, config.name))
            })
            .await
        }
    }
}
