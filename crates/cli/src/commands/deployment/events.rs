//! `ring deployment events`

use clap::Args;
use ring_api::client::Client;
use ring_api::model::{DeploymentEvent, EventLevel};
use ring_api::query::EventQuery;

use super::find;
use crate::error::CliError;
use crate::format::{Format, OutputArgs};
use crate::node::word;
use crate::output::{ListView, Reply, data};
use crate::time::shown;

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Its id, a unique prefix of it, or NAMESPACE/NAME
    id: String,
    /// Keep printing as events come
    #[arg(short, long)]
    follow: bool,
    /// This level and above
    #[arg(short, long, value_parser = word(EventLevel::ALL, EventLevel::as_str), hide_possible_values = true)]
    level: Option<EventLevel>,
    /// Only so many of the last
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(client: &Client, args: Events) -> Result<Reply, CliError> {
    let deployment = find(client, &args.id).await?;
    let query = EventQuery { level: args.level, limit: args.limit, follow: args.follow };
    if !args.follow {
        let events = client.events(deployment.id, &query).await?;
        return Ok(Reply::view(ListView(events), args.output.format));
    }
    let mut events = client.follow_events(deployment.id, &query);
    while let Some(event) = events.next().await? {
        data(&line(&event, args.output.format)?)?;
    }
    Ok(Reply::default())
}

/// One event a line: JSON lines for programs, text for people.
fn line(event: &DeploymentEvent, format: Format) -> Result<String, CliError> {
    match format {
        Format::Json => serde_json::to_string(event).map_err(|error| CliError::Format("JSON", error.to_string())),
        Format::Yaml => serde_yaml::to_string(&[event])
            .map(|text| text.trim_end().to_owned())
            .map_err(|error| CliError::Format("YAML", error.to_string())),
        Format::Table | Format::Wide => {
            let node = event.node.as_deref().map(|name| format!(" [{name}]")).unwrap_or_default();
            Ok(format!("{} {} {}{node} {}", shown(event.timestamp), event.level, event.kind, event.message))
        }
    }
}
