//! `ring deployment logs`

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use ring_api::client::Client;
use ring_api::model::{Deployment, LogGap, LogItem};
use ring_api::query::LogQuery;
use ring_types::{DeploymentId, InstanceId, Kind, Timestamp};

use super::find;
use super::margin::Margin;
use crate::error::CliError;
use crate::output::{Reply, data, data_screen, warning};
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
    let (lines, gaps) = client.logs(deployment.id, &query).await?;
    let several = lines.iter().map(|line| line.instance).collect::<BTreeSet<_>>().len() > 1;
    let mut margin = Margin::new(&deployment.name, several, colour);
    for line in &lines {
        data(&margin.line(line))?;
    }
    let more = (gaps.more > 0).then(|| format!("nor of {} more instances", gaps.more));
    Ok(Reply::default().warn(gaps.gaps.iter().map(said).chain(more)))
}

/// Whose output is not shown.
fn said(gap: &LogGap) -> String {
    format!("no output of instance {} on node '{}': {}", gap.instance, gap.node, gap.reason)
}

/// Instances that are followed and of which nothing is had.
#[derive(Default)]
struct Gaps {
    open: BTreeMap<InstanceId, String>,
    /// Some line was had.
    any: bool,
}

impl Gaps {
    /// What is to be said of one that is not had: once, until there is a line of it again, whichever control node says so.
    fn note(&mut self, gap: &LogGap) -> Option<String> {
        let text = said(gap);
        self.open.insert(gap.instance, text.clone()).is_none().then_some(text)
    }

    fn line(&mut self, of: InstanceId) {
        self.any = true;
        self.open.remove(&of);
    }

    /// The end: an error when there was nothing at all.
    fn end(self) -> Result<Reply, CliError> {
        match self.open.into_values().next() {
            Some(message) if !self.any => Err(CliError::Failed {
                message,
                details: Vec::new(),
                hint: Some("ring node list shows which are lost".to_owned()),
            }),
            _ => Ok(Reply::default()),
        }
    }
}

/// To the end. Where a control node was lost and the deployment is gone since, what took its place is followed on.
async fn follow(client: &Client, deployment: &Deployment, query: &LogQuery, mut margin: Margin) -> Result<Reply, CliError> {
    let (mut id, mut begun) = (deployment.id, false);
    let mut lines = client.follow_logs(id, query);
    let mut gaps = Gaps::default();
    loop {
        match lines.next().await {
            Ok(Some(LogItem::Line(line))) => {
                gaps.line(line.instance);
                data(&margin.line(&line))?;
            }
            Ok(Some(LogItem::Gap(gap))) => gaps.note(&gap).iter().for_each(|text| warning(text)),
            Ok(None) => return gaps.end(),
            Err(error) if begun && error.status() == Some(404) => {
                let Some(next) = successor(client, deployment, id).await else { return gaps.end() };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(instance: u128) -> LogGap {
        let reason = "its node is not connected".to_owned();
        LogGap { instance: InstanceId(uuid::Uuid::from_u128(instance)), node: "host-2".to_owned(), reason }
    }

    #[test]
    fn an_instance_out_of_reach_is_told_once_until_it_is_heard_again() {
        let mut gaps = Gaps::default();
        let text = "no output of instance 00000000-0000-0000-0000-000000000001 on node 'host-2': its node is not connected";
        assert_eq!(gaps.note(&gap(1)).as_deref(), Some(text));
        assert_eq!(gaps.note(&gap(1)), None, "told again by another control node");
        assert!(gaps.note(&gap(2)).is_some());
        gaps.line(gap(1).instance);
        assert!(gaps.note(&gap(1)).is_some());
        assert!(gaps.end().is_ok(), "there was a line");
    }

    #[test]
    fn nothing_at_all_is_an_error() {
        assert!(Gaps::default().end().is_ok());
        let mut gaps = Gaps::default();
        gaps.note(&gap(1));
        assert_eq!(gaps.end().err().map(|error| error.to_string()), Some(said(&gap(1))));
    }
}
