//! Hosts that run work.

use axum::extract::State as Shared;
use ring_api::errors::ErrorCode;
use ring_api::model::{self, Changed, Done, DrainRequest, NodePatch};
use ring_state::{Command, NodeUpdate};
use ring_types::{NodeId, Rule, Span};

use crate::rest::App;
use crate::rest::body::{Body, Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::View;
use crate::rest::view;
use crate::rest::write::Request;

/// Jobs may run so long on a host that is being emptied when nobody says otherwise.
const DRAIN_DEADLINE: Span = Span::seconds(3600);
const MAX_DRAIN_DEADLINE: Span = Span::seconds(30 * 24 * 3600);

/// The hosts that run work.
#[utoipa::path(get, path = "/nodes", tag = "nodes", responses((status = 200, body = Vec<model::Node>)))]
pub(in crate::rest) async fn list(view: View) -> Json<Vec<model::Node>> {
    let mut nodes: Vec<_> = view.state.nodes().map(|n| view::node(&view.state, n)).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    Json(nodes)
}

/// The host of the control node that answers.
#[utoipa::path(get, path = "/node/get", tag = "nodes", responses((status = 200, body = model::Node)))]
pub(in crate::rest) async fn own(Shared(app): Shared<App>, view: View) -> Result<Json<model::Node>> {
    let node = app.node.and_then(|id| view.state.node(id));
    let missing = || ApiError::new(ErrorCode::NodeNotFound, format!("control node '{}' runs no work", app.name));
    node.map(|n| Json(view::node(&view.state, n))).ok_or_else(missing)
}

/// One host.
#[utoipa::path(get, path = "/nodes/{id}", tag = "nodes", params(("id" = String, Path)), responses((status = 200, body = model::Node)))]
pub(in crate::rest) async fn one(view: View, Id(id): Id<NodeId>) -> Result<Json<model::Node>> {
    view.state.node(id).map(|n| Json(view::node(&view.state, n))).ok_or_else(|| ApiError::not_found(ErrorCode::NodeNotFound, id))
}

/// Changes the labels of a host, whether it takes new instances, has it emptied, or says that one out of contact is lost.
#[utoipa::path(patch, path = "/nodes/{id}", tag = "nodes", params(("id" = String, Path)), request_body = NodePatch,
    responses((status = 200, body = model::Node)))]
pub(in crate::rest) async fn change(
    Shared(app): Shared<App>,
    request: Request,
    Id(node): Id<NodeId>,
    Body(patch): Body<NodePatch>,
) -> Result<Json<Changed<model::Node>>> {
    // What is written depends on what is there.
    let state = app.store.read().await?;
    let known = state.node(node).ok_or_else(|| ApiError::not_found(ErrorCode::NodeNotFound, node))?;
    let mut labels = known.labels.clone();
    for (key, value) in &patch.labels {
        match value {
            Some(value) => drop(labels.insert(key.clone(), value.clone())),
            None => drop(labels.remove(key)),
        }
    }
    let labels = (!patch.labels.is_empty()).then_some(labels);
    let drain = patch.drain.map(deadline).transpose()?;
    let command = Command::UpdateNode(NodeUpdate {
        node,
        labels,
        schedulable: patch.schedulable,
        drain,
        lost: patch.lost,
        until_return: false,
    });
    let (done, state) = app.commit_and_see(&request, command).await?;
    let node = state.node(node).ok_or_else(|| ApiError::not_found(ErrorCode::NodeNotFound, node))?;
    Ok(Json(Changed { object: view::node(&state, node), revision: done.revision.0 }))
}

fn deadline(drain: DrainRequest) -> Result<Span> {
    let deadline = drain.deadline.unwrap_or(DRAIN_DEADLINE);
    if deadline > MAX_DRAIN_DEADLINE {
        let said = format!("drain.deadline may be at most {MAX_DRAIN_DEADLINE}, not {deadline}");
        return Err(ApiError::violation("drain.deadline", "node.drain.deadline", Rule::Invalid, said));
    }
    Ok(deadline)
}

/// Takes a host out of the cluster for good: its instances count as lost.
#[utoipa::path(delete, path = "/nodes/{id}", tag = "nodes", params(("id" = String, Path)), responses((status = 200, body = Done)))]
pub(in crate::rest) async fn remove(Shared(app): Shared<App>, request: Request, Id(node): Id<NodeId>) -> Result<Json<Done>> {
    let done = app.commit(&request, Command::RemoveNode { node }).await?;
    Ok(Json(Done { revision: done.revision.0 }))
}
