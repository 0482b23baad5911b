//! Moves of instances to other hosts.

use ring_types::{DeploymentId, InstanceId, Span};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words;

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MoveState {
    /// It would be made.
    Planned,
    /// Others of its deployment, or to the same host, go first.
    Waiting,
    /// Another instance was begun on the other host and is not ready yet.
    Starting,
    /// Another serves in its place; it was told to end.
    Ending,
    /// It is done.
    Moved,
    /// It was given up: the instance is where it was.
    Stayed,
}

words!(MoveState {
    Planned = "planned",
    Waiting = "waiting",
    Starting = "starting",
    Ending = "ending",
    Moved = "moved",
    Stayed = "stayed",
});

/// An instance that is to be on another host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Move {
    /// Its deployment.
    #[schema(value_type = String)]
    pub deployment: DeploymentId,
    /// The deployment's namespace.
    pub namespace: String,
    /// The deployment's name.
    pub name: String,
    /// Which instance.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// The host it is on.
    pub from: String,
    /// The host another takes its place on.
    pub to: String,
    /// How far it is.
    pub state: MoveState,
    /// What gets better.
    #[serde(default)]
    pub why: Option<String>,
}

/// What makes the spread over the hosts even.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rebalance {
    /// Moves that would be made, or were asked for by this request, in their order.
    pub moves: Vec<Move>,
    /// Moves that are under way, in their order.
    pub under_way: Vec<Move>,
    /// Log index it is about, or of the change.
    #[serde(default)]
    pub revision: u64,
}

/// Body of `POST /nodes/rebalance`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RebalanceRequest {
    /// What has not moved after so long stays where it is, such as `30m`. Without it an hour, at most a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub deadline: Option<Span>,
}
