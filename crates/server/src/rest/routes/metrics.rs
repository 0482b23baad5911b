//! What the instances of a deployment use, asked of their nodes on demand.

use std::sync::Arc;

use axum::extract::State as Shared;
use ring_api::model::{DeploymentMetrics, InstanceMetrics, Usage};
use ring_proto::agent::v1::InstanceStats;
use ring_state::{Instance, State};
use ring_types::{DeploymentId, InstanceState, Timestamp};

use super::deployments::find;
use crate::rest::App;
use crate::rest::auth::Caller;
use crate::rest::body::{Id, Json};
use crate::rest::error::Result;
use crate::rest::read::View;

/// Instances asked at a time.
const TOGETHER: usize = 64;

/// What the instances of a deployment use now, asked of the hosts that run them.
#[utoipa::path(get, path = "/deployments/{id}/metrics", tag = "deployments", params(("id" = String, Path)),
    responses((status = 200, body = DeploymentMetrics), (status = 404, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn metrics(
    Shared(app): Shared<App>,
    caller: Caller,
    view: View,
    Id(id): Id<DeploymentId>,
) -> Result<Json<DeploymentMetrics>> {
    let found = find(&view.state, &caller, id)?;
    let mut running: Vec<_> = view.state.instances_of(id).filter(|i| i.state == InstanceState::Running).cloned().collect();
    running.sort_by_key(|instance| (instance.slot, instance.id));
    let mut instances = Vec::with_capacity(running.len());
    for part in running.chunks(TOGETHER) {
        let asked = part.iter().map(|instance| measure(&app, &view.state, instance));
        instances.extend(futures::future::join_all(asked).await);
    }
    let sum = |of: fn(&Usage) -> u64| instances.iter().filter_map(|i| i.usage.as_ref()).map(of).sum();
    let (cpu_millis, memory_bytes) = (sum(|usage| usage.cpu_millis), sum(|usage| usage.memory_bytes));
    Ok(Json(DeploymentMetrics { deployment_id: found.id, cpu_millis, memory_bytes, instances }))
}

async fn measure(app: &App, state: &State, instance: &Arc<Instance>) -> InstanceMetrics {
    let node = state.node(instance.node).map_or_else(|| instance.node.to_string(), |n| n.name.to_string());
    let (usage, error) = match app.agents.stats(instance.node, instance.id).await {
        Ok(stats) => (Some(usage(&stats)), None),
        Err(error) => (None, Some(error.to_string())),
    };
    InstanceMetrics { instance: instance.id, node, slot: instance.slot, usage, error }
}

const fn usage(stats: &InstanceStats) -> Usage {
    Usage {
        at: Timestamp(stats.at_ms),
        cpu_millis: stats.cpu_millis,
        cpu_time_us: stats.cpu_time_us,
        memory_bytes: stats.memory_bytes,
        memory_limit_bytes: stats.memory_limit_bytes,
        network_received_bytes: stats.network_received,
        network_sent_bytes: stats.network_sent,
        block_read_bytes: stats.block_read,
        block_written_bytes: stats.block_written,
        processes: stats.processes,
    }
}
