//! Instances on the hosts where placement would put them now.

use axum::extract::State as Shared;
use ring_api::model::{Move, MoveState, Rebalance, RebalanceRequest};
use ring_api::query;
use ring_planner::PlannedMove;
use ring_state::{Command, Instance, Rebalance as Wanted, Relocation, State};
use ring_types::{Goal, NodeId, Rule, Span};

use crate::rest::App;
use crate::rest::auth::Caller;
use crate::rest::body::{Body, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::{Query, View};
use crate::rest::write::Request;

/// What has not moved by then stays, when nobody says otherwise.
const DEADLINE: Span = Span::seconds(3600);
const LONGEST: Span = Span::seconds(24 * 3600);

/// The moves that would make the spread over the hosts even, and those under way; of deployments the caller may see.
/// With `under_way` only the latter, which costs little.
#[utoipa::path(get, path = "/nodes/rebalance", tag = "nodes", params(("under_way" = Option<bool>, Query)),
    responses((status = 200, body = Rebalance)))]
pub(in crate::rest) async fn look(caller: Caller, view: View, Query(query): Query) -> Result<Json<Rebalance>> {
    let state = view.state;
    let planned = if query::flag(&query, "under_way")? { Vec::new() } else { plan(&state).await? };
    Ok(Json(shown(&state, &caller, &planned)))
}

/// Moves instances until the spread over the hosts is even: one of each deployment at a time, each when another serves in its place.
#[utoipa::path(post, path = "/nodes/rebalance", tag = "nodes", request_body = RebalanceRequest, responses((status = 200, body = Rebalance)))]
pub(in crate::rest) async fn begin(
    Shared(app): Shared<App>,
    caller: Caller,
    request: Request,
    Body(body): Body<RebalanceRequest>,
) -> Result<Json<Rebalance>> {
    let within = deadline(body)?;
    // What is moved depends on what is there.
    let planned = plan(&app.store.read().await?).await?;
    let moves = planned.iter().map(|one| Relocation { instance: one.instance, to: one.to }).collect();
    let (done, state) = app.commit_and_see(&request, Command::Rebalance(Wanted { moves, within })).await?;
    Ok(Json(Rebalance { revision: done.revision.0, ..shown(&state, &caller, &planned) }))
}

fn deadline(body: RebalanceRequest) -> Result<Span> {
    let deadline = body.deadline.unwrap_or(DEADLINE);
    if deadline > LONGEST {
        let said = format!("deadline may be at most {LONGEST}, not {deadline}");
        return Err(ApiError::violation("deadline", "node.rebalance.deadline", Rule::Invalid, said));
    }
    Ok(deadline)
}

/// It looks at every instance: not on a thread that serves others.
async fn plan(state: &State) -> Result<Vec<PlannedMove>> {
    let state = state.clone();
    let planning = tokio::task::spawn_blocking(move || ring_planner::rebalance(&state));
    planning.await.map_err(|_| ApiError::internal("planning the moves failed"))
}

fn shown(state: &State, caller: &Caller, planned: &[PlannedMove]) -> Rebalance {
    let one = |planned: &PlannedMove| {
        let instance = state.instance(planned.instance)?;
        Some(Move { why: Some(planned.why.clone()), ..of(state, caller, instance, planned.to, MoveState::Planned)? })
    };
    let mut under_way: Vec<_> = state.moving().filter_map(|instance| Some((instance.moving.as_deref()?, instance))).collect();
    under_way.sort_by_key(|(pending, _)| pending.order);
    let under_way = under_way.into_iter().filter_map(|(pending, instance)| {
        let phase = match (instance.goal, pending.begun) {
            (Goal::Run, false) => MoveState::Waiting,
            (Goal::Run, true) => MoveState::Starting,
            _ => MoveState::Ending,
        };
        of(state, caller, instance, pending.to, phase)
    });
    Rebalance { moves: planned.iter().filter_map(one).collect(), under_way: under_way.collect(), revision: state.revision().0 }
}

/// None where the caller may not see the deployment.
fn of(state: &State, caller: &Caller, instance: &Instance, to: NodeId, phase: MoveState) -> Option<Move> {
    let deployment = state.deployment(instance.deployment).filter(|d| caller.sees(&d.spec.namespace))?;
    let name = |node: NodeId| state.node(node).map_or_else(|| node.to_string(), |node| node.name.to_string());
    Some(Move {
        deployment: deployment.id,
        namespace: deployment.spec.namespace.to_string(),
        name: deployment.spec.name.to_string(),
        instance: instance.id,
        from: name(instance.node),
        to: name(to),
        state: phase,
        why: None,
    })
}
