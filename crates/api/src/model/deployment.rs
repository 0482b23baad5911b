//! A deployment as the API shows it.

use std::collections::BTreeMap;

use ring_types::{
    Autoscale, Condition, Dependency, DeploymentId, DeploymentStatus, EnvValue, HealthCheck, ImageConfig, Kind, NetworkMode,
    OnNodeLoss, Placement, Port, Resources, RestartPolicy, RuntimeKind, Span, Timestamp, Volume,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ExitStatus, Instance, words};

/// How a rolling update is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutPhase {
    /// Its instances take the place of its parent's, one at a time.
    Progressing,
    /// It took its parent's place.
    Completed,
    /// It came to nothing: its parent serves.
    Failed,
}

words!(RolloutPhase { Progressing = "progressing", Completed = "completed", Failed = "failed" });

/// How instances meet the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Network {
    /// `bridge` or `host`.
    #[schema(value_type = String)]
    pub mode: NetworkMode,
}

/// A deployment: what was asked for and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deployment {
    /// Identity of this record.
    #[schema(value_type = String)]
    pub id: DeploymentId,
    /// When it was first applied.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String)]
    pub updated_at: Timestamp,
    /// Where it is in its life.
    #[schema(value_type = String)]
    pub status: DeploymentStatus,
    /// One word for why it has this status: `timeout`, `node_lost`, `oom_killed` and the like.
    #[serde(default)]
    pub reason: Option<String>,
    /// A sentence for people.
    #[serde(default)]
    pub message: Option<String>,
    /// What else is worth knowing.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub conditions: Vec<Condition>,
    /// Restarts since the last healthy window.
    #[serde(default)]
    pub restart_count: u32,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `worker` or `job`.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// What runs it.
    #[schema(value_type = String)]
    pub runtime: RuntimeKind,
    /// Image reference.
    pub image: String,
    /// Digest of the image that runs, once a node has said it.
    #[serde(default)]
    pub image_digest: Option<String>,
    /// Arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// Instances that are running; for an ended job, 0.
    pub replicas: u32,
    /// Instances that run and are ready to be used: past their readiness checks, where there are any.
    #[serde(default)]
    pub ready_replicas: Option<u32>,
    /// Instances there should be.
    pub desired_replicas: u32,
    /// Published ports.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub ports: Vec<Port>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Environment; a secret stays a reference.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub environment: BTreeMap<String, EnvValue>,
    /// Mounts.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub volumes: Vec<Volume>,
    /// Requests and limits.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub resources: Resources,
    /// Health checks.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub health_checks: Vec<HealthCheck>,
    /// How the image is had and as whom it runs; never a password.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub config: ImageConfig,
    /// Network mode.
    #[serde(default)]
    pub network: Network,
    /// Scaling by load.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub autoscale: Option<Autoscale>,
    /// Where it may run.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub placement: Placement,
    /// How a worker is started again.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub restart: RestartPolicy,
    /// Longest run of a job.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub timeout: Option<Span>,
    /// Attempts of a job after the first.
    #[serde(default)]
    pub retries: u32,
    /// What has to be there before.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub depends_on: Vec<Dependency>,
    /// What the loss of its node means.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub on_node_loss: Option<OnNodeLoss>,
    /// From SIGTERM to SIGKILL.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub stop_grace: Option<Span>,
    /// An instance whose host is out of contact for so long is stopped there.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub stop_on_disconnect: Option<Span>,
    /// The deployment this one takes, or took, the place of in a rolling update.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub parent_id: Option<DeploymentId>,
    /// How the rolling update that brings it is going, or went; null for one that no rolling update brought.
    #[serde(default)]
    pub rollout: Option<RolloutPhase>,
    /// There is a specification before this one, which a rollback goes back to.
    #[serde(default)]
    pub has_previous: bool,
    /// How a job ended.
    #[serde(default)]
    pub exit_status: Option<ExitStatus>,
    /// Its executions, latest first.
    #[serde(default)]
    pub instances: Vec<Instance>,
    /// Revision that last wrote it.
    #[serde(default)]
    pub version: u64,
}

impl Deployment {
    /// It stands for its name: not being deleted, not an update that failed, nor about to give its place to one.
    pub fn stands(&self) -> bool {
        let rolling = self.rollout == Some(RolloutPhase::Progressing);
        let gives_way = self.conditions.contains(&Condition::RollingOut) && !rolling;
        self.status != DeploymentStatus::Deleted && self.rollout != Some(RolloutPhase::Failed) && !gives_way
    }

    /// A worker of which every instance that should be there runs and is ready, and no update is under way.
    pub fn is_ready(&self) -> bool {
        let ready = self.ready_replicas.unwrap_or(self.replicas).min(self.replicas);
        let rolling = self.conditions.contains(&Condition::RollingOut);
        self.status == DeploymentStatus::Running && ready >= self.desired_replicas && !rolling
    }

    /// Names of the nodes its live instances are on, each once, sorted.
    pub fn nodes(&self) -> Vec<&str> {
        let mut names: Vec<_> = self
            .instances
            .iter()
            .filter(|i| self.kind == Kind::Job || i.status.is_live())
            .filter_map(|i| i.node.as_deref())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
