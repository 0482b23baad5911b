//! `ring deployment metrics`

use clap::Args;
use ring_api::client::Client;

use super::find;
use crate::error::CliError;
use crate::format::{Format, OutputArgs};
use crate::output::{ListView, ObjectView, Reply};

#[derive(Debug, Args)]
pub(crate) struct Metrics {
    /// Its id, a unique prefix of it, or NAMESPACE/NAME
    id: String,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(client: &Client, args: Metrics) -> Result<Reply, CliError> {
    let deployment = find(client, &args.id).await?;
    let metrics = client.deployment_metrics(deployment.id).await?;
    let format = args.output.format;
    match format {
        Format::Json | Format::Yaml => Ok(Reply::view(ObjectView(metrics), format)),
        Format::Table | Format::Wide => {
            let untold = metrics.instances.iter().filter_map(|one| {
                one.error.as_ref().map(|why| format!("{} on {} was not measured: {why}", one.instance, one.node))
            });
            let warnings: Vec<_> = untold.collect();
            Ok(Reply::view(ListView(metrics.instances), format).warn(warnings))
        }
    }
}
