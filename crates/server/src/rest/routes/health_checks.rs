//! What the health checks of a deployment found: asked of the node of each instance, since only it keeps single probes.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State as Shared;
use futures::{StreamExt as _, stream};
use ring_api::model::{self, HealthCheckStatus};
use ring_api::query::HealthCheckQuery;
use ring_proto::agent::v1::ProbeResult;
use ring_state::{Deployment, Instance, State};
use ring_types::{DeploymentId, InstanceState, Span, Timestamp};

use super::deployments::find;
use crate::rest::App;
use crate::rest::auth::Caller;
use crate::rest::body::{Id, Json};
use crate::rest::error::Result;
use crate::rest::read::{Query, View};
use crate::rest::view;
use crate::session::AskError;

/// Probes of one reply when the caller says nothing.
const LIMIT: u32 = 100;
/// Most probes of one reply.
const MOST: u32 = 10_000;
/// Instances asked at the same time.
const AT_ONCE: usize = 64;

/// What the health checks of a deployment found, the newest first, asked of the hosts that run it.
#[utoipa::path(get, path = "/deployments/{id}/health-checks", tag = "deployments",
    params(("id" = String, Path), ("latest" = Option<bool>, Query), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = Vec<model::HealthCheckResult>)))]
pub(in crate::rest) async fn health_checks(
    Shared(app): Shared<App>,
    caller: Caller,
    view: View,
    Id(id): Id<DeploymentId>,
    Query(query): Query,
) -> Result<Json<Vec<model::HealthCheckResult>>> {
    let query = HealthCheckQuery::parse(&query)?;
    let deployment = find(&view.state, &caller, id)?;
    let limit = query.limit.unwrap_or(LIMIT).min(MOST);
    let asked = stream::iter(probed(&view.state, &deployment, query.latest)).map(|instance| {
        let (app, state, deployment) = (&app, &view.state, &deployment);
        async move {
            // The last of each check is among the last of all only when all are asked for.
            let wanted = if query.latest { 0 } else { limit };
            let probes = app.agents.health_history(instance.node, instance.id, wanted).await;
            shown(state, deployment, &instance, probes, query.latest)
        }
    });
    let mut found = asked.buffer_unordered(AT_ONCE).concat().await;
    // Instances nobody could be asked about come first, so that no limit hides them.
    found.sort_by_key(|r| (r.status != HealthCheckStatus::Unreachable, std::cmp::Reverse(r.started_at), r.instance, r.check));
    let unreachable = found.iter().take_while(|r| r.status == HealthCheckStatus::Unreachable).count();
    found.truncate(unreachable + limit as usize);
    Ok(Json(found))
}

/// The instances that have been probed: for the latest word those that run.
fn probed(state: &State, deployment: &Deployment, latest: bool) -> Vec<Arc<Instance>> {
    if deployment.spec.health_checks.is_empty() {
        return Vec::new();
    }
    let until = if latest { InstanceState::Exited } else { InstanceState::Removed };
    let wanted = |i: &&Arc<Instance>| (InstanceState::Running..until).contains(&i.state);
    state.instances_of(deployment.id).filter(wanted).cloned().collect()
}

fn shown(
    state: &State,
    deployment: &Deployment,
    instance: &Instance,
    probes: std::result::Result<Vec<ProbeResult>, AskError>,
    latest: bool,
) -> Vec<model::HealthCheckResult> {
    let blank = model::HealthCheckResult {
        id: instance.id.to_string(),
        deployment_id: deployment.id,
        instance: instance.id,
        node: state.node(instance.node).map_or_else(|| instance.node.to_string(), |node| node.name.to_string()),
        check: None,
        check_type: None,
        status: HealthCheckStatus::Unreachable,
        message: None,
        created_at: None,
        started_at: None,
        finished_at: None,
    };
    match probes {
        Ok(probes) => {
            let newest = probes.iter().rev();
            let mut seen = BTreeSet::new();
            let wanted = newest.filter(|probe| !latest || seen.insert(probe.check));
            wanted.map(|probe| one(deployment, blank.clone(), probe)).collect()
        }
        // It is over, and its node has forgotten it.
        Err(AskError::NotFound) => Vec::new(),
        Err(error) => vec![model::HealthCheckResult { message: Some(error.to_string()), ..blank }],
    }
}

fn one(deployment: &Deployment, blank: model::HealthCheckResult, probe: &ProbeResult) -> model::HealthCheckResult {
    let started_at = Timestamp(probe.at_ms);
    let finished_at = started_at + Span(probe.took_ms);
    model::HealthCheckResult {
        id: format!("{}-{}-{}", blank.instance, probe.check, probe.at_ms),
        check: Some(probe.check),
        check_type: view::check_type(deployment, probe.check).map(str::to_owned),
        status: match (probe.healthy, probe.late) {
            (true, _) => HealthCheckStatus::Success,
            (false, true) => HealthCheckStatus::Timeout,
            (false, false) => HealthCheckStatus::Failed,
        },
        message: Some(probe.message.clone()).filter(|message| !message.is_empty()),
        created_at: Some(finished_at),
        started_at: Some(started_at),
        finished_at: Some(finished_at),
        ..blank
    }
}
