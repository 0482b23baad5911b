//! Objects for tests.

use std::collections::BTreeMap;

use ring_api::model::{Deployment, ExitStatus, FailingCheck, Instance, Network};
use ring_types::{
    DeploymentId, DeploymentStatus, EnvValue, ImageConfig, InstanceId, InstanceState, Kind, Placement, Resources, RestartPolicy,
    RuntimeKind, Timestamp,
};
use uuid::Uuid;

/// 2026-04-12 13:20:00 UTC.
const TIME: Timestamp = Timestamp(1_776_000_000_000);

/// A job that failed with code 7.
pub(crate) fn job() -> Deployment {
    let exit = ExitStatus {
        code: Some(7),
        signal: None,
        oom_killed: false,
        started_at: Some(TIME),
        finished_at: Some(Timestamp(TIME.0 + 3_250)),
        node: Some("host-1".into()),
        reason: None,
        message: None,
    };
    let instance = Instance {
        id: InstanceId(Uuid::from_u128(0x11)),
        node: Some("host-1".into()),
        node_id: None,
        status: InstanceState::Exited,
        ready: false,
        slot: 0,
        attempt: 1,
        address: None,
        created_at: Some(TIME),
        started_at: Some(TIME),
        exit_status: Some(exit.clone()),
        stop_cause: None,
        message: None,
        failing_checks: Vec::new(),
    };
    Deployment {
        id: DeploymentId(Uuid::from_u128(0x1a2b_0000_0000_0000_0000_0000_0000_0001)),
        status: DeploymentStatus::Failed,
        namespace: "production".into(),
        name: "migrate".into(),
        kind: Kind::Job,
        image: "myapp:v1.2.3".into(),
        command: vec!["npm".into(), "run".into(), "migrate".into()],
        replicas: 0,
        desired_replicas: 1,
        environment: BTreeMap::from([("DATABASE_URL".into(), EnvValue::Secret("database-url".into()))]),
        exit_status: Some(exit),
        instances: vec![instance],
        ..worker()
    }
}

fn failing() -> FailingCheck {
    FailingCheck { check: 0, check_type: "http".into(), message: "HTTP 503".into() }
}

/// A worker, two of whose three instances run.
pub(crate) fn worker() -> Deployment {
    let instance = |n: u32| Instance {
        id: InstanceId(Uuid::from_u128(u128::from(n) + 0x21)),
        node: Some(format!("host-{n}")),
        node_id: None,
        status: InstanceState::Running,
        slot: n,
        attempt: 1,
        address: Some(format!("172.18.0.{n}")),
        created_at: Some(TIME),
        started_at: Some(TIME),
        exit_status: None,
        stop_cause: None,
        message: None,
        ready: n == 1,
        failing_checks: (n == 2).then(failing).into_iter().collect(),
    };
    Deployment {
        id: DeploymentId(Uuid::from_u128(0x1a2b_0000_0000_0000_0000_0000_0000_0002)),
        created_at: TIME,
        updated_at: Timestamp(TIME.0 + 60_000),
        status: DeploymentStatus::Running,
        reason: None,
        message: None,
        conditions: Vec::new(),
        restart_count: 0,
        namespace: "production".into(),
        name: "api".into(),
        kind: Kind::Worker,
        runtime: RuntimeKind::Docker,
        image: "myapp:v1.2.3".into(),
        image_digest: None,
        command: Vec::new(),
        replicas: 2,
        ready_replicas: None,
        desired_replicas: 3,
        ports: Vec::new(),
        labels: BTreeMap::from([("team".into(), "core".into())]),
        environment: BTreeMap::new(),
        volumes: Vec::new(),
        resources: Resources::default(),
        health_checks: Vec::new(),
        config: ImageConfig::default(),
        network: Network::default(),
        autoscale: None,
        placement: Placement::default(),
        restart: RestartPolicy::default(),
        timeout: None,
        retries: 0,
        depends_on: Vec::new(),
        on_node_loss: None,
        stop_grace: None,
        stop_on_disconnect: None,
        parent_id: None,
        rollout: None,
        has_previous: false,
        exit_status: None,
        instances: vec![instance(1), instance(2)],
        version: 42,
    }
}
