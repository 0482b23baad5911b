//! What a deployment asks for: the canonical form every manifest becomes, and what is kept and replicated.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::status::words;
use crate::{
    Autoscale, CheckKind, Dependency, EnvValue, HealthCheck, ImageConfig, Name, Placement, Port, Resources, RestartPolicy, Span,
    Volume, VolumeKind,
};

/// Worker or job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Kept running.
    #[default]
    Worker,
    /// Run once; its exit status is the result.
    Job,
}

words!(Kind { Worker = "worker", Job = "job" });

/// What runs the instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuntimeKind {
    /// A Docker engine.
    #[default]
    Docker,
    /// Podman, through its Docker-compatible socket.
    Podman,
    /// A micro-VM.
    CloudHypervisor,
    /// A supervised process of the host itself.
    Process,
}

words!(RuntimeKind { Docker = "docker", Podman = "podman", CloudHypervisor = "cloud-hypervisor", Process = "process" });

/// How an instance meets the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// A network of the namespace; ports are published.
    #[default]
    Bridge,
    /// The host's own.
    Host,
}

words!(NetworkMode { Bridge = "bridge", Host = "host" });

/// What happens to an instance whose node stays out of contact past the grace time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNodeLoss {
    /// Another is started elsewhere. The default of workers.
    Reschedule,
    /// Nothing; its node's return is awaited.
    Wait,
    /// It counts as failed. The default of jobs.
    Fail,
}

words!(OnNodeLoss { Reschedule = "reschedule", Wait = "wait", Fail = "fail" });

/// A deployment as it is asked for, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentSpec {
    /// Namespace.
    pub namespace: Name,
    /// Name, unique in its namespace among deployments that are not being deleted.
    pub name: Name,
    /// Worker or job.
    pub kind: Kind,
    /// What runs it.
    pub runtime: RuntimeKind,
    /// Image reference; may be empty for `process`.
    pub image: String,
    /// Wanted instances; a job has one whatever is written.
    pub replicas: u32,
    /// Arguments; empty means the image's own.
    pub command: Vec<String>,
    /// Environment.
    pub environment: BTreeMap<String, EnvValue>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Mounts.
    pub volumes: Vec<Volume>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Requests and limits.
    pub resources: Resources,
    /// Health checks.
    pub health_checks: Vec<HealthCheck>,
    /// How the image is had and as whom it runs.
    pub config: ImageConfig,
    /// Network mode.
    pub network: NetworkMode,
    /// Scaling by load; workers only.
    pub autoscale: Option<Autoscale>,
    /// Where it may run.
    pub placement: Placement,
    /// How a worker is started again.
    pub restart: RestartPolicy,
    /// Longest run of a job.
    pub timeout: Option<Span>,
    /// Attempts of a job after the first.
    pub retries: u32,
    /// What has to be there before.
    pub depends_on: Vec<Dependency>,
    /// What the loss of its node means.
    pub on_node_loss: OnNodeLoss,
    /// From SIGTERM to SIGKILL.
    pub stop_grace: Span,
    /// An instance whose host has had no contact with a control node for so long is stopped by its agent, and only when it certainly
    /// is may another take its place. None: it runs on. Needs level 2.
    pub stop_on_disconnect: Option<Span>,
}

impl DeploymentSpec {
    /// A specification with nothing but what is required; everything else has its default.
    pub fn new(namespace: Name, name: Name, kind: Kind, runtime: RuntimeKind, image: &str) -> Self {
        Self {
            namespace,
            name,
            kind,
            runtime,
            image: image.to_owned(),
            replicas: 1,
            command: Vec::new(),
            environment: BTreeMap::new(),
            ports: Vec::new(),
            volumes: Vec::new(),
            labels: BTreeMap::new(),
            resources: Resources::default(),
            health_checks: Vec::new(),
            config: ImageConfig::default(),
            network: NetworkMode::Bridge,
            autoscale: None,
            placement: Placement::default(),
            restart: RestartPolicy::default(),
            timeout: None,
            retries: 0,
            depends_on: Vec::new(),
            on_node_loss: match kind {
                Kind::Worker => OnNodeLoss::Reschedule,
                Kind::Job => OnNodeLoss::Fail,
            },
            stop_grace: Span::seconds(10),
            stop_on_disconnect: None,
        }
    }

    /// How many instances it begins with: a job has one, and what scales with its load is within its bounds from the start.
    pub fn wanted(&self) -> u32 {
        match (self.kind, &self.autoscale) {
            (Kind::Worker, None) => self.replicas,
            (Kind::Worker, Some(bounds)) => bounds.within(self.replicas),
            (Kind::Job, _) => 1,
        }
    }

    /// The most instances it can come to have.
    pub fn most(&self) -> u32 {
        match (self.kind, &self.autoscale) {
            (Kind::Worker, Some(bounds)) => bounds.max,
            _ => self.wanted(),
        }
    }

    /// The most executions of a job.
    pub fn attempts(&self) -> u32 {
        self.retries.saturating_add(1)
    }

    /// The check that a runtime with health checks of its own runs by itself, with its place: the first readiness check of
    /// type command. A container has one such check at most.
    pub fn native_check(&self) -> Option<(usize, &HealthCheck)> {
        let native = |check: &HealthCheck| check.readiness && matches!(check.kind, CheckKind::Command { .. });
        self.health_checks.iter().enumerate().find(|(_, check)| native(check))
    }

    /// It has checks that decide when an instance counts as ready.
    pub fn is_gated(&self) -> bool {
        self.health_checks.iter().any(|check| check.readiness)
    }

    /// Names of the secrets its environment, mounts and image credentials refer to, each once, sorted.
    pub fn secret_refs(&self) -> Vec<&str> {
        let env = self.environment.values().filter_map(|value| match value {
            EnvValue::Secret(name) => Some(name.as_str()),
            EnvValue::Plain(_) => None,
        });
        let mut names: Vec<_> =
            env.chain(self.mounts(VolumeKind::Secret)).chain(self.config.image_pull_secret.as_deref()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Names of the configs it mounts, each once, sorted.
    pub fn config_refs(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.mounts(VolumeKind::Config).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn mounts(&self, kind: VolumeKind) -> impl Iterator<Item = &str> {
        self.volumes.iter().filter(move |volume| volume.kind == kind).map(|volume| volume.source.as_str())
    }

    /// Its mounts of volumes that have a name, and so are objects of their own.
    pub fn named_volumes(&self) -> impl Iterator<Item = (&Volume, Name)> {
        self.volumes.iter().filter_map(|volume| volume.object().map(|name| (volume, name)))
    }
}
