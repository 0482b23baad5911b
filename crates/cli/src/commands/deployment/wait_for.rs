//! `ring deployment wait`

use clap::Args;
use ring_api::client::Client;
use ring_types::{DeploymentStatus, Span};

use super::find;
use crate::commands::wait::{Until, Wait, summary};
use crate::error::CliError;
use crate::node::word;
use crate::output::Reply;
use crate::resolve::Named;
use crate::time::span;

#[derive(Debug, Args)]
pub(crate) struct WaitFor {
    /// Its id, a unique prefix of it, or NAMESPACE/NAME
    id: String,
    /// Until it has this status [default: completed for a job, running with every replica for a worker]
    #[arg(long = "for", value_name = "STATUS", value_parser = word(DeploymentStatus::ALL, DeploymentStatus::as_str), hide_possible_values = true)]
    status: Option<DeploymentStatus>,
    /// Give up after this long, with exit code 124
    #[arg(long, value_name = "DURATION", value_parser = span)]
    timeout: Option<Span>,
}

pub(crate) async fn run(client: &Client, args: WaitFor) -> Result<Reply, CliError> {
    let deployment = find(client, &args.id).await?;
    let until = args.status.map_or(Until::Done, Until::Status);
    let wait = Wait { client, until, timeout: args.timeout.map(Span::duration) };
    let name = deployment.full_name();
    let ended = wait.run(vec![(deployment.id, name.clone())]).await?;
    Ok(Reply::lines(ended.iter().map(|deployment| format!("deployment {name} {}", summary(deployment))).collect()))
}
