//! `ring deployment`

mod delete;
mod events;
mod follow;
mod health_checks;
mod list;
mod logs;
mod margin;
mod metrics;
mod restart;
mod rollback;
mod wait_for;

use clap::{Args, Subcommand};
use ring_api::client::Client;
use ring_api::model::Deployment;
use ring_api::query::DeploymentQuery;
use ring_types::DeploymentId;

use crate::context::Context;
use crate::error::CliError;
use crate::format::OutputArgs;
use crate::output::{ObjectView, Reply};
use crate::resolve::{nearest, pick};

/// `ring deployment`
#[derive(Debug, Subcommand)]
pub(crate) enum DeploymentCommand {
    /// List deployments
    List(list::List),
    /// Show one deployment: what was asked for, what became of it, its executions
    Inspect(Inspect),
    /// Stop and delete deployments
    Delete(delete::Delete),
    /// Print what a deployment writes, wherever it runs
    Logs(logs::Logs),
    /// Show what happened to a deployment
    Events(events::Events),
    /// Show what its instances use now, on whatever host they run
    Metrics(metrics::Metrics),
    /// Show what the health checks of a deployment found, on every node it runs on
    HealthChecks(health_checks::HealthChecks),
    /// Make new instances of the same: one at a time where two may run side by side, else all at once
    Restart(follow::Follow),
    /// Go back to what was there before: calls off an update under way, else brings the previous version again
    Rollback(follow::Follow),
    /// Wait until a deployment is where it should be
    Wait(wait_for::WaitFor),
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Its id, a unique prefix of it, or NAMESPACE/NAME
    id: String,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(context: &Context, command: DeploymentCommand) -> Result<Reply, CliError> {
    let client = context.client()?;
    match command {
        DeploymentCommand::List(args) => list::run(&client, args).await,
        DeploymentCommand::Inspect(args) => {
            let found = find(&client, &args.id).await?;
            Ok(Reply::view(ObjectView(found), args.output.format))
        }
        DeploymentCommand::Delete(args) => delete::run(&client, args).await,
        DeploymentCommand::Logs(args) => logs::run(&client, args).await,
        DeploymentCommand::Events(args) => events::run(&client, args).await,
        DeploymentCommand::Metrics(args) => metrics::run(&client, args).await,
        DeploymentCommand::HealthChecks(args) => health_checks::run(&client, args).await,
        DeploymentCommand::Restart(args) => restart::run(&client, args).await,
        DeploymentCommand::Rollback(args) => rollback::run(&client, args).await,
        DeploymentCommand::Wait(args) => wait_for::run(&client, args).await,
    }
}

/// The deployment that is meant: an id is asked for directly, a name within its namespace, anything else among all.
pub(super) async fn find(client: &Client, wanted: &str) -> Result<Deployment, CliError> {
    if let Ok(id) = wanted.parse::<DeploymentId>() {
        return match client.deployment(id).await {
            Err(error) if error.status() == Some(404) => {
                Err(CliError::NotFound { kind: "deployment", wanted: wanted.to_owned(), near: None })
            }
            other => Ok(other?),
        };
    }
    let query = match wanted.split_once('/') {
        Some((namespace, name)) => {
            DeploymentQuery { namespaces: vec![namespace.to_owned()], name: Some(name.to_owned()), ..Default::default() }
        }
        None => DeploymentQuery::default(),
    };
    let all = client.deployments(&query).await?;
    let id = match pick(&all, wanted) {
        Ok(found) => found.id,
        // In its namespace there is nothing like it; perhaps the namespace is wrong, too.
        Err(CliError::NotFound { kind, wanted, near: None }) if wanted.contains('/') => {
            let all = client.deployments(&DeploymentQuery::default()).await?;
            return Err(CliError::NotFound { kind, near: nearest(&all, &wanted), wanted });
        }
        Err(error) => return Err(error),
    };
    Ok(client.deployment(id).await?)
}
