//! Specifications: one with everything, one with nothing.

use ring_types::{
    Autoscale, CheckAction, CheckKind, Constraint, Cpu, Dependency, DependencyCondition, DeploymentSpec, EnvValue, HealthCheck,
    ImageConfig, Kind, Memory, NetworkMode, OnNodeLoss, Permission, Placement, Port, Protocol, PullPolicy, ResourceAmounts,
    Resources, RestartPolicy, RuntimeKind, Span, Spread, UserConfig, Volume, VolumeDriver, VolumeKind,
};

use crate::{map, name};

pub(crate) fn plain() -> DeploymentSpec {
    DeploymentSpec::new(name("default"), name("migrate"), Kind::Job, RuntimeKind::Process, "")
}

pub(crate) fn full() -> DeploymentSpec {
    DeploymentSpec {
        namespace: name("shop"),
        name: name("web"),
        kind: Kind::Worker,
        runtime: RuntimeKind::Docker,
        image: "registry.example/web:1".to_owned(),
        replicas: 3,
        command: vec!["serve".to_owned(), "--all".to_owned()],
        environment: [
            ("MODE".to_owned(), EnvValue::Plain("live".to_owned())),
            ("KEY".to_owned(), EnvValue::Secret("web-key".to_owned())),
        ]
        .into(),
        ports: vec![Port { published: 8080, target: 80, host_ip: "127.0.0.1".to_owned(), protocol: Protocol::Udp }],
        volumes: volumes(),
        labels: map(&[("tier", "front")]),
        resources: Resources {
            limits: ResourceAmounts { cpu: Some(Cpu(1500)), memory: Some(Memory(512 << 20)) },
            requests: ResourceAmounts { cpu: Some(Cpu(0)), memory: None },
        },
        health_checks: vec![
            check(CheckKind::Tcp { port: 80 }, CheckAction::Restart),
            check(CheckKind::Http { url: "http://localhost/health".to_owned() }, CheckAction::Stop),
            check(CheckKind::Command { command: "true".to_owned() }, CheckAction::Alert),
        ],
        config: ImageConfig {
            image_pull_policy: PullPolicy::IfNotPresent,
            server: Some("registry.example".to_owned()),
            username: Some("robot".to_owned()),
            use_host_auth: true,
            image_pull_secret: Some("registry".to_owned()),
            user: UserConfig { id: Some(1000), group: Some(0), privileged: true },
        },
        network: NetworkMode::Host,
        autoscale: Some(Autoscale { min: 1, max: 9, target_cpu: 70 }),
        placement: Placement {
            nodes: vec!["n1".to_owned()],
            constraints: vec![
                Constraint { label: "zone".to_owned(), value: "eu".to_owned(), equal: false },
                Constraint { label: "disk".to_owned(), value: "ssd".to_owned(), equal: true },
            ],
            spread: Spread::Label("rack".to_owned()),
            max_per_node: Some(2),
        },
        restart: RestartPolicy { max: 7, backoff: Span(500), max_backoff: Span(90_000) },
        timeout: Some(Span::seconds(3600)),
        retries: 4,
        depends_on: vec![Dependency { deployment: "db".to_owned(), condition: DependencyCondition::Running }],
        on_node_loss: OnNodeLoss::Wait,
        stop_grace: Span::seconds(30),
        stop_on_disconnect: None,
    }
}

fn volumes() -> Vec<Volume> {
    let volume = |kind, source: &str, key: Option<&str>, driver, permission| Volume {
        kind,
        source: source.to_owned(),
        destination: "/data".to_owned(),
        key: key.map(str::to_owned),
        driver,
        permission,
    };
    vec![
        volume(VolumeKind::Bind, "/srv", None, VolumeDriver::Local, Permission::ReadOnly),
        volume(VolumeKind::Volume, "", None, VolumeDriver::Nfs, Permission::ReadWrite),
        volume(VolumeKind::Config, "settings", Some("app.toml"), VolumeDriver::Local, Permission::ReadOnly),
        volume(VolumeKind::Secret, "tls", None, VolumeDriver::Local, Permission::ReadOnly),
    ]
}

fn check(kind: CheckKind, on_failure: CheckAction) -> HealthCheck {
    HealthCheck {
        kind,
        interval: Span::seconds(10),
        timeout: Span::seconds(2),
        threshold: 3,
        on_failure,
        readiness: true,
        min_healthy_time: Span(1),
        start_period: Span(2),
    }
}
