//! `ring deployment logs`

use std::collections::BTreeSet;

use clap::Args;
use ring_api::client::Client;
use ring_api::model::LogLine;
use ring_api::query::LogQuery;
use ring_types::{DeploymentId, Timestamp};

use super::find;
use crate::error::CliError;
use crate::output::{Reply, data};
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
    /// Only this instance: its id or a prefix of it
    #[arg(short, long = "container", value_name = "INSTANCE")]
    container: Option<String>,
}

pub(crate) async fn run(client: &Client, args: Logs) -> Result<Reply, CliError> {
    let deployment = find(client, &args.id).await?;
    let query = LogQuery { tail: args.tail, since: args.since, container: args.container, follow: args.follow };
    if args.follow {
        return follow(client, deployment.id, &query, deployment.desired_replicas > 1).await;
    }
    let lines = client.logs(deployment.id, &query).await?;
    let several = lines.iter().map(|line| line.instance).collect::<BTreeSet<_>>().len() > 1;
    for line in &lines {
        data(&shown(line, several))?;
    }
    Ok(Reply::default())
}

async fn follow(client: &Client, id: DeploymentId, query: &LogQuery, several: bool) -> Result<Reply, CliError> {
    let mut lines = client.follow_logs(id, query);
    while let Some(line) = lines.next().await? {
        data(&shown(&line, several))?;
    }
    Ok(Reply::default())
}

/// The line as it was written; with several instances, whose it is.
fn shown(line: &LogLine, several: bool) -> String {
    if !several {
        return line.line.clone();
    }
    let id = line.instance.0.simple().to_string();
    let tail = id.get(id.len() - 8..).unwrap_or(&id);
    format!("[{tail}] {}", line.line)
}
