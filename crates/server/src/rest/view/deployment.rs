//! Deployments, their instances and events.

use ring_api::model;
use ring_state::{Deployment, Event, EventKind, EventLevel, Instance, RolloutPhase, State};
use ring_types::{InstanceState, NodeId};

fn node_name(state: &State, node: NodeId) -> Option<String> {
    state.node(node).map(|n| n.name.to_string())
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn exit(state: &State, exit: &ring_types::ExitStatus) -> model::ExitStatus {
    model::ExitStatus::new(exit, node_name(state, exit.node).or_else(|| Some(exit.node.to_string())))
}

pub(in crate::rest) fn deployment(state: &State, deployment: &Deployment) -> model::Deployment {
    let instances = instances(state, deployment);
    let running = instances.iter().filter(|i| i.status == InstanceState::Running).count();
    let ready = state.serving(deployment);
    let spec = &*deployment.spec;
    model::Deployment {
        id: deployment.id,
        created_at: deployment.created_at,
        updated_at: deployment.updated_at,
        status: deployment.status,
        reason: text(&deployment.reason),
        message: text(&deployment.message),
        conditions: deployment.conditions.clone(),
        restart_count: deployment.restart_count,
        namespace: spec.namespace.to_string(),
        name: spec.name.to_string(),
        kind: spec.kind,
        runtime: spec.runtime,
        image: spec.image.clone(),
        image_digest: deployment.image_digest.clone(),
        command: spec.command.clone(),
        replicas: u32::try_from(running).unwrap_or(u32::MAX),
        ready_replicas: Some(ready),
        desired_replicas: deployment.wanted(),
        ports: spec.ports.clone(),
        labels: spec.labels.clone(),
        environment: spec.environment.clone(),
        volumes: spec.volumes.clone(),
        resources: spec.resources,
        health_checks: spec.health_checks.clone(),
        config: spec.config.clone(),
        network: model::Network { mode: spec.network },
        autoscale: spec.autoscale,
        placement: spec.placement.clone(),
        restart: spec.restart,
        timeout: spec.timeout,
        retries: spec.retries,
        depends_on: spec.depends_on.clone(),
        on_node_loss: Some(spec.on_node_loss),
        stop_grace: Some(spec.stop_grace),
        stop_on_disconnect: spec.stop_on_disconnect,
        parent_id: deployment.parent,
        exit_status: deployment.exit.as_ref().map(|e| exit(state, e)),
        rollout: deployment.rollout.map(|rollout| phase(rollout.phase)),
        has_previous: deployment.previous.is_some(),
        instances,
        version: deployment.version.0,
    }
}

const fn phase(phase: RolloutPhase) -> model::RolloutPhase {
    match phase {
        RolloutPhase::Progressing => model::RolloutPhase::Progressing,
        RolloutPhase::Completed => model::RolloutPhase::Completed,
        RolloutPhase::Failed => model::RolloutPhase::Failed,
    }
}

/// The instances of a deployment, latest first.
pub(in crate::rest) fn instances(state: &State, deployment: &Deployment) -> Vec<model::Instance> {
    let mut found: Vec<_> = state.instances_of(deployment.id).collect();
    found.sort_by_key(|i| (std::cmp::Reverse(i.created_at), i.slot, i.id));
    found.into_iter().map(|i| instance(state, deployment, i)).collect()
}

fn instance(state: &State, deployment: &Deployment, instance: &Instance) -> model::Instance {
    model::Instance {
        id: instance.id,
        node: node_name(state, instance.node),
        node_id: Some(instance.node),
        status: instance.state,
        ready: instance.serves(&deployment.spec),
        slot: instance.slot,
        attempt: instance.attempt,
        address: instance.address.as_deref().map(str::to_owned),
        created_at: Some(instance.created_at),
        started_at: instance.started_at,
        exit_status: instance.exit.as_ref().map(|e| exit(state, e)),
        stop_cause: instance.stop_cause,
        message: None,
        failing_checks: failing(deployment, instance),
    }
}

/// What has ended does not fail any more; how it ended is told.
fn failing(deployment: &Deployment, instance: &Instance) -> Vec<model::FailingCheck> {
    let health = instance.health.as_deref().filter(|_| instance.state == InstanceState::Running);
    let failing = health.map(|health| health.failing.as_slice()).unwrap_or_default();
    failing.iter().map(|failing| failing_check(deployment, failing)).collect()
}

fn failing_check(deployment: &Deployment, failing: &ring_types::FailingCheck) -> model::FailingCheck {
    let check_type = check_type(deployment, failing.check).unwrap_or_default().to_owned();
    model::FailingCheck { check: failing.check, check_type, message: failing.message.clone() }
}

/// The type of a health check, by its place.
pub(in crate::rest) fn check_type(deployment: &Deployment, check: u32) -> Option<&'static str> {
    deployment.spec.health_checks.get(check as usize).map(|check| check.kind.as_str())
}

pub(in crate::rest) const fn level(level: EventLevel) -> model::EventLevel {
    match level {
        EventLevel::Info => model::EventLevel::Info,
        EventLevel::Warning => model::EventLevel::Warning,
        EventLevel::Error => model::EventLevel::Error,
    }
}

const fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Created => "created",
        EventKind::Scaled => "scaled",
        EventKind::Deleting => "deleting",
        EventKind::StatusChanged => "status_changed",
        EventKind::InstanceAssigned => "instance_assigned",
        EventKind::InstanceStarted => "instance_started",
        EventKind::InstanceExited => "instance_exited",
        EventKind::InstanceLost => "instance_lost",
        EventKind::ExitCorrected => "exit_corrected",
        EventKind::NotPlaced => "not_placed",
        EventKind::HealthCheckFailed => "health_check_failed",
        EventKind::HealthCheckRecovered => "health_check_recovered",
        EventKind::InstanceReady => "instance_ready",
        EventKind::InstanceStopping => "instance_stopping",
        EventKind::RolloutStarted => "rollout_started",
        EventKind::RolloutCompleted => "rollout_completed",
        EventKind::RolloutFailed => "rollout_failed",
        EventKind::RestartRequested => "restart_requested",
        EventKind::Autoscaled => "autoscaled",
        EventKind::Retried => "retried",
    }
}

pub(in crate::rest) fn event(state: &State, event: &Event) -> model::DeploymentEvent {
    model::DeploymentEvent {
        id: event.id,
        deployment_id: event.deployment,
        timestamp: event.at,
        level: level(event.level),
        kind: kind(event.kind).to_owned(),
        message: event.message.clone(),
        instance: event.instance,
        node: event.node.and_then(|node| node_name(state, node)),
    }
}
