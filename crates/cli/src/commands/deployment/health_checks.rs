//! `ring deployment health-checks`

use clap::Args;
use ring_api::client::Client;
use ring_api::model::HealthCheckStatus;
use ring_api::query::HealthCheckQuery;

use super::find;
use crate::error::CliError;
use crate::format::OutputArgs;
use crate::output::{ListView, Reply};

#[derive(Debug, Args)]
pub(crate) struct HealthChecks {
    /// Its id, a unique prefix of it, or NAMESPACE/NAME
    id: String,
    /// Only the last probe of each check of each instance that runs
    #[arg(long)]
    latest: bool,
    /// Only so many of the last probes
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(client: &Client, args: HealthChecks) -> Result<Reply, CliError> {
    let deployment = find(client, &args.id).await?;
    let query = HealthCheckQuery { latest: args.latest, limit: args.limit };
    let results = client.health_checks(deployment.id, query).await?;
    let mut unreachable: Vec<_> =
        results.iter().filter(|result| result.status == HealthCheckStatus::Unreachable).map(|r| r.node.as_str()).collect();
    unreachable.dedup();
    let mut reply = Reply::view(ListView(results.clone()), args.output.format);
    if deployment.health_checks.is_empty() {
        reply = reply.note(format!("deployment '{}' has no health checks", deployment.name));
    }
    if !unreachable.is_empty() {
        let nodes = unreachable.join(", ");
        reply = reply.warn([format!("not all probes are known: there are instances on {nodes}, which cannot be asked now")]);
    }
    Ok(reply)
}
