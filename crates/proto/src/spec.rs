//! What a deployment asks for.

use ring_types::{
    Autoscale, CheckAction, CheckKind, Constraint, Dependency, DependencyCondition, DeploymentSpec, EnvValue, HealthCheck,
    ImageConfig, Kind, NetworkMode, OnNodeLoss, Permission, Placement, Port, Protocol, PullPolicy, ResourceAmounts, Resources,
    RestartPolicy, RuntimeKind, Spread, UserConfig, Volume, VolumeDriver, VolumeKind,
};

message! {
    DeploymentSpec => DeploymentSpec {
        namespace, name, kind, runtime, image, replicas, command, environment, ports, volumes, labels, resources, health_checks,
        config, network, autoscale, placement, restart, timeout, retries, depends_on, on_node_loss, stop_grace,
        stop_on_disconnect,
    }
    Port => Port { published, target, host_ip, protocol }
    Volume => Volume { kind, source, destination, key, driver, permission }
    Resources => Resources { limits, requests }
    ResourceAmounts => ResourceAmounts { cpu, memory }
    HealthCheck => HealthCheck {
        kind, interval, timeout, threshold, on_failure, readiness, min_healthy_time, start_period,
    }
    ImageConfig => ImageConfig { image_pull_policy, server, username, use_host_auth, image_pull_secret, user }
    UserConfig => UserConfig { id, group, privileged }
    Autoscale => Autoscale { min, max, target_cpu }
    Placement => Placement { nodes, constraints, spread, max_per_node }
    Constraint => Constraint { label, value, equal }
    RestartPolicy => RestartPolicy { max, backoff, max_backoff }
    Dependency => Dependency { deployment, condition }
}

oneof! {
    EnvValue => EnvValue in env_value {
        values { Plain, Secret }
        records {}
        tuples {}
    }
}

oneof! {
    CheckKind => CheckKind in check_kind {
        values {}
        records { Tcp { port }, Http { url }, Command { command } }
        tuples {}
    }
}

oneof! {
    Spread => Spread in spread {
        values { Label }
        records { Node {} }
        tuples {}
    }
}

enumeration! {
    Kind => Kind { Worker, Job }
    RuntimeKind => RuntimeKind { Docker, Podman, CloudHypervisor, Process }
    NetworkMode => NetworkMode { Bridge, Host }
    OnNodeLoss => OnNodeLoss { Reschedule, Wait, Fail }
    Protocol => Protocol { Tcp, Udp }
    VolumeKind => VolumeKind { Bind, Volume, Config, Secret }
    VolumeDriver => VolumeDriver { Local, Nfs }
    Permission => Permission { ReadWrite, ReadOnly }
    CheckAction => CheckAction { Restart, Stop, Alert }
    PullPolicy => PullPolicy { Always, IfNotPresent, Never }
    DependencyCondition => DependencyCondition { Completed, Running }
}
