//! `POST /deployments/{id}/restart` and `/rollback`: a deployment is followed by another of the same name.

use axum::extract::State as Shared;
use ring_api::model::{Applied, ApplyReply};
use ring_state::{Command, Reply, Succession};
use ring_types::DeploymentId;

use super::apply::word;
use super::deployments::may_change;
use crate::rest::App;
use crate::rest::auth::Caller;
use crate::rest::body::{Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::write::Request;

/// New instances of the same specification, one at a time where health checks tell when the next may go.
#[utoipa::path(post, path = "/deployments/{id}/restart", tag = "deployments",
    params(("id" = String, Path), ("idempotency-key" = Option<String>, Header)),
    responses((status = 200, body = ApplyReply), (status = 404, body = ring_api::problem::Problem),
        (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn restart(
    Shared(app): Shared<App>,
    caller: Caller,
    request: Request,
    Id(id): Id<DeploymentId>,
) -> Result<Json<ApplyReply>> {
    follow(&app, &caller, request, id, Command::RestartDeployment).await
}

/// Back to the specification before; calls off a rolling update under way.
#[utoipa::path(post, path = "/deployments/{id}/rollback", tag = "deployments",
    params(("id" = String, Path), ("idempotency-key" = Option<String>, Header)),
    responses((status = 200, body = ApplyReply), (status = 404, body = ring_api::problem::Problem),
        (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn rollback(
    Shared(app): Shared<App>,
    caller: Caller,
    request: Request,
    Id(id): Id<DeploymentId>,
) -> Result<Json<ApplyReply>> {
    follow(&app, &caller, request, id, Command::RollbackDeployment).await
}

async fn follow(
    app: &App,
    caller: &Caller,
    request: Request,
    id: DeploymentId,
    command: fn(Succession) -> Command,
) -> Result<Json<ApplyReply>> {
    may_change(app, caller, id).await?;
    let successor = DeploymentId(request.part("successor").0);
    let rollout_deadline = Some(app.rollout_deadline);
    let (done, state) = app.commit_and_see(&request, command(Succession { id, successor, rollout_deadline })).await?;
    let Reply::Deployments(outcomes) = &done.reply else {
        return Err(ApiError::internal(format!("unexpected answer to a restart or rollback: {:?}", done.reply)));
    };
    let applied = outcomes.iter().filter_map(|outcome| {
        let spec = &state.deployment(outcome.id)?.spec;
        Some(Applied {
            label: spec.name.to_string(),
            id: outcome.id,
            namespace: spec.namespace.to_string(),
            name: spec.name.to_string(),
            outcome: word(outcome.outcome),
            warnings: Vec::new(),
        })
    });
    Ok(Json(ApplyReply { deployments: applied.collect(), revision: done.revision.0 }))
}
