//! The cluster and its control nodes.

use std::time::Duration;

use axum::extract::State as Shared;
use ring_api::errors::ErrorCode;
use ring_api::model::{self, ClusterStatus, Done, NodeCounts, TransferLeader};
use ring_state::{Command, LEVEL, MemberState, State};
use ring_store::StoreStatus;
use ring_types::{MemberId, NodeStatus};

use crate::rest::App;
use crate::rest::audit;
use crate::rest::body::{Body, Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::View;
use crate::rest::view;
use crate::rest::write::Request;

/// A leader whose quorum confirmed it so lately can commit.
const FRESH: Duration = Duration::from_secs(3);

/// Whether the cluster works: who leads, whether there is a quorum, and how far each control node is.
#[utoipa::path(get, path = "/cluster", tag = "cluster", responses((status = 200, body = ClusterStatus)))]
pub(in crate::rest) async fn status(Shared(app): Shared<App>, view: View) -> Result<Json<ClusterStatus>> {
    let status = app.store.status();
    let count = |wanted: fn(NodeStatus) -> bool| {
        u32::try_from(view.state.nodes().filter(|n| wanted(n.status)).count()).unwrap_or(u32::MAX)
    };
    let state = view.state.clone();
    let digest = tokio::task::spawn_blocking(move || ring_proto::rows::digest(&state)).await.map_err(ApiError::internal)?;
    let (authority, authority_rotation) = super::authority::shown(&view.state)?;
    Ok(Json(ClusterStatus {
        id: app.cluster,
        generation: view.state.generation().to_string(),
        member: app.member,
        leader: status.leader,
        members: members_of(&view.state, &status),
        quorum: has_quorum(&app, &status),
        nodes: NodeCounts { total: count(|_| true), ready: count(|s| s == NodeStatus::Ready) },
        revision: view.state.revision().0,
        state_digest: hex::encode(digest),
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        level: view.state.level().0,
        level_of_release: LEVEL.0,
        lagging: lagging(&app, &view.state).await,
        authority,
        authority_rotation,
    }))
}

/// The control nodes because of which the cluster is not at the level of this release yet.
async fn lagging(app: &App, state: &State) -> Vec<String> {
    if state.level() >= LEVEL {
        return Vec::new();
    }
    let behind = app.store.levels().await.into_iter().filter(|member| member.speaks.is_none_or(|level| level < LEVEL));
    behind.map(|member| member.name).collect()
}

fn has_quorum(app: &App, status: &StoreStatus) -> bool {
    match status.quorum_ack_age {
        Some(age) => age < FRESH,
        None => status.leader.is_some() && !app.pulse.isolated(),
    }
}

fn members_of(state: &State, status: &StoreStatus) -> Vec<model::Member> {
    crate::services::members(state).map(|m| view::member(m, status)).collect()
}

/// The control nodes.
#[utoipa::path(get, path = "/cluster/members", tag = "cluster", responses((status = 200, body = Vec<model::Member>)))]
pub(in crate::rest) async fn members(Shared(app): Shared<App>, view: View) -> Json<Vec<model::Member>> {
    Json(members_of(&view.state, &app.store.status()))
}

/// Gives a control node that has caught up a vote.
#[utoipa::path(post, path = "/cluster/members/{id}/promote", tag = "cluster", params(("id" = u64, Path)),
    responses((status = 200, body = Done), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn promote(Shared(app): Shared<App>, request: Request, Id(id): Id<u64>) -> Result<Json<Done>> {
    let id = known(&app, MemberId(id)).await?;
    app.store.promote(id).await?;
    let done = app.commit(&request, Command::ActivateMember { id }).await?;
    Ok(Json(Done { revision: done.revision.0 }))
}

/// Takes a control node out of the cluster for good. The quorum shrinks first: a control node that is out of it,
/// though the record still has it, harms nobody.
#[utoipa::path(delete, path = "/cluster/members/{id}", tag = "cluster", params(("id" = u64, Path)),
    responses((status = 200, body = Done), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn remove(Shared(app): Shared<App>, request: Request, Id(id): Id<u64>) -> Result<Json<Done>> {
    let id = known(&app, MemberId(id)).await?;
    match app.store.remove(id).await {
        Ok(()) | Err(ring_store::MemberError::NotMember(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let done = app.commit(&request, Command::RemoveMember { id }).await?;
    Ok(Json(Done { revision: done.revision.0 }))
}

async fn known(app: &App, id: MemberId) -> Result<MemberId> {
    let state = app.store.read().await?;
    let member =
        state.member(id).ok_or_else(|| ApiError::new(ErrorCode::MemberNotFound, format!("control node {id} not found")))?;
    if member.state == MemberState::Removed {
        return Err(ApiError::new(ErrorCode::MemberNotFound, format!("control node {id} was removed")));
    }
    Ok(id)
}

/// Lets another control node lead.
#[utoipa::path(post, path = "/cluster/transfer-leader", tag = "cluster", request_body = TransferLeader,
    responses((status = 200, body = Done), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn transfer(
    Shared(app): Shared<App>,
    request: Request,
    Body(body): Body<TransferLeader>,
) -> Result<Json<Done>> {
    let status = app.store.status();
    let to = body.to.or_else(|| successor(&status));
    let to = to.ok_or_else(|| ApiError::new(ErrorCode::MemberAlone, "there is no other voter to lead"))?;
    app.record(audit::allowed(&request.1, None, None)).await?;
    app.store.transfer_leader(to).await?;
    Ok(Json(Done { revision: app.store.local().revision().0 }))
}

/// The other voter that has the most of the log, as far as this member knows.
fn successor(status: &StoreStatus) -> Option<MemberId> {
    let others = status.peers.iter().filter(|p| p.voter && Some(p.id) != status.leader);
    others.max_by_key(|p| (p.matched, std::cmp::Reverse(p.id))).map(|p| p.id)
}
