//! `ring deployment logs`

use std::collections::BTreeSet;

use clap::Args;
use ring_api::client::Client;
use ring_api::model::Deployment;
use ring_api::query::LogQuery;
use ring_types::{DeploymentId, Kind, Timestamp};

use super::find;
use super::margin::Margin;
use crate::error::CliError;
use crate::output::{Reply, data, data_screen};
use crate::resolve::Named;
use crate::time::since;

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Its id, a unique prefix of it, or NAMESPACE/NAME
    id: String,
    /// Keep printing as lines come
    #[arg(short, long)]
    follow: bool,
    /// Only so many of the last lines of each instance
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
    /// Only lines since then: a duration such as 10m, or an RFC 3339 time
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Timestamp>,
    /// Only this instance: its id, a prefix of it, or its end as it stands before each line
    #[arg(short, long = "container", value_name = "INSTANCE")]
    container: Option<String>,
}

pub(crate) async fn run(client: &Client, args: Logs) -> Result<Reply, CliError> {
    let deployment = find(client, &args.id).await?;
    let colour = data_screen().colour;
    let query = LogQuery { tail: args.tail, since: args.since, container: args.container, follow: args.follow };
    if args.follow {
        let several = deployment.desired_replicas > 1 && query.container.is_none();
        let margin = Margin::new(&deployment.name, several, colour);
        return follow(client, &deployment, &query, margin).await;
    }
    let lines = client.logs(deployment.id, &query).await?;
    let several = lines.iter().map(|line| line.instance).collect::<BTreeSet<_>>().len() > 1;
    let mut margin = Margin::new(&deployment.name, several, colour);
    for line in &lines {
        data(&margin.line(line))?;
    }
    Ok(Reply::default())
}

/// To the end. Where a control node was lost and the deployment is gone since, what took its place is followed on.
async fn follow(client: &Client, deployment: &Deployment, query: &LogQuery, mut margin: Margin) -> Result<Reply, CliError> {
    let (mut id, mut begun) = (deployment.id, false);
    let mut lines = client.follow_logs(id, query);
    loop {
        match lines.next().await {
            Ok(Some(line)) => data(&margin.line(&line))?,
            Ok(None) => return Ok(Reply::default()),
            Err(error) if begun && error.status() == Some(404) => {
                let Some(next) = successor(client, deployment, id).await else { return Ok(Reply::default()) };
                id = next;
                client.follow_logs_on(&mut lines, id, query);
            }
            Err(error) => return Err(error.into()),
        }
        begun = true;
    }
}

/// The record that stands for the name now, when it is another one.
async fn successor(client: &Client, deployment: &Deployment, gone: DeploymentId) -> Option<DeploymentId> {
    let next = find(client, &deployment.full_name()).await.ok()?;
    (next.id != gone && deployment.kind == Kind::Worker).then_some(next.id)
}
