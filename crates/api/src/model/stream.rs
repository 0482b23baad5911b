//! What comes as a stream: log lines and events.

use ring_types::{DeploymentId, InstanceId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words;

/// Which output a line was written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

words!(LogStream { Stdout = "stdout", Stderr = "stderr" });

/// One line an instance wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Who wrote it.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// Name of the node it ran on.
    #[serde(default)]
    pub node: String,
    /// When it was written, as the runtime recorded it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub timestamp: Option<Timestamp>,
    /// Where to.
    #[serde(default)]
    pub stream: LogStream,
    /// The line, without its end.
    pub line: String,
}

/// An instance whose output could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogGap {
    /// Whose.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// Name of the node it ran on.
    pub node: String,
    /// Why, in words.
    pub reason: String,
}

/// What a reply with output leaves out: the value of its header `Ring-Logs-Incomplete`, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogGaps {
    /// At most 100.
    pub gaps: Vec<LogGap>,
    /// How many more there are.
    #[serde(default)]
    pub more: u32,
}

/// What comes of output that is followed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum LogItem {
    /// A line.
    Line(LogLine),
    /// There is nothing to be had of an instance for now; it is asked again.
    Gap(LogGap),
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventLevel {
    /// The ordinary course.
    #[default]
    Info,
    /// Worth a look.
    Warning,
    /// Something failed.
    Error,
}

words!(EventLevel { Info = "info", Warning = "warning", Error = "error" });

/// Something that happened to a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentEvent {
    /// Position in the deployment's history; grows.
    pub id: u64,
    /// Whose.
    #[schema(value_type = String)]
    pub deployment_id: DeploymentId,
    /// When.
    #[schema(value_type = String)]
    pub timestamp: Timestamp,
    /// How much it matters.
    #[serde(default)]
    pub level: EventLevel,
    /// A stable word for what it is: `status_changed`, `placed`, `exited` and the like.
    pub kind: String,
    /// A sentence for people.
    pub message: String,
    /// Which instance it is about.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub instance: Option<InstanceId>,
    /// Name of the node it is about.
    #[serde(default)]
    pub node: Option<String>,
}
