//! Clients: they apply, scale, update, restart, roll back and delete, and ask again under the same request id when no answer
//! comes.

use std::sync::Arc;

use ring_state::{Action, ApplyDeployment, Command, NodeUpdate, Rebalance, Relocation, State, Succession};
use ring_types::{
    Autoscale, CheckAction, CheckKind, Dependency, DependencyCondition, DeploymentId, DeploymentSpec, HealthCheck, Kind, Name,
    OnNodeLoss, Permission, RequestId, RestartPolicy, RuntimeKind, Span, Volume, VolumeDriver, VolumeId, VolumeKind,
};

use super::control::Origin;
use super::run::{Event, Sim};

/// Deployments a history has at most at a time.
const MOST: usize = 14;

/// Of every rolling update, so that those that come to nothing do within a history.
const DEADLINE: Span = Span(15_000);

/// The image that never gets ready.
pub(crate) const BAD: &str = "image:bad";

/// What clients remember.
#[derive(Default)]
pub(crate) struct Clients {
    made: u32,
}

impl Sim {
    pub(crate) fn client_acts(&mut self) {
        if !self.chaos {
            return;
        }
        let pause = self.rng.range(100, 1500) * self.options.pace;
        self.after(pause, Event::Client);
        let all: Vec<_> = self.control.tip().deployments().map(|deployment| deployment.id).collect();
        let deletes = all.len() >= MOST || self.rng.chance(25);
        let request = RequestId(self.rng.uuid());
        if self.rng.chance(8) {
            self.operator_acts(request);
            return;
        }
        if deletes {
            let Some(id) = self.rng.pick(&all).copied() else { return };
            self.propose(Origin::Client, request, Command::DeleteDeployments { ids: vec![id] });
            return;
        }
        if self.rng.chance(12) {
            let Some(id) = self.rng.pick(&all).copied() else { return };
            let successor = DeploymentId(self.rng.uuid());
            let succession = Succession { id, successor, rollout_deadline: Some(DEADLINE) };
            let back = self.rng.chance(50);
            let command = if back { Command::RollbackDeployment } else { Command::RestartDeployment };
            self.propose(Origin::Client, request, command(succession));
            return;
        }
        let Some(spec) = self.some_spec() else { return };
        let volumes = spec.named_volumes().map(|(_, name)| (name.to_string(), VolumeId(self.rng.uuid()))).collect();
        let one = ApplyDeployment::new(DeploymentId(self.rng.uuid()), Arc::new(spec));
        let deployments = vec![ApplyDeployment { volumes, ..one }];
        let force = self.rng.chance(10);
        self.propose(
            Origin::Client,
            request,
            Command::Apply { namespaces: Vec::new(), configs: Vec::new(), deployments, force, rollout_deadline: Some(DEADLINE) },
        );
    }

    /// Drains a node, with time or without, or ends the drain of one, or has instances moved for an even spread.
    fn operator_acts(&mut self, request: RequestId) {
        if self.rng.chance(40) {
            self.rebalances(request);
            return;
        }
        let nodes: Vec<_> = self.control.tip().nodes().map(|node| node.id).collect();
        let Some(node) = self.rng.pick(&nodes).copied() else { return };
        let drain = self.rng.chance(50).then(|| Span(self.rng.range(0, 20_000)));
        let schedulable = drain.is_none().then_some(true);
        self.note(|| format!("node {node}: drain {drain:?}"));
        self.propose(
            Origin::Client,
            request,
            Command::UpdateNode(NodeUpdate { node, labels: None, schedulable, drain, lost: false, until_return: false }),
        );
    }

    fn rebalances(&mut self, request: RequestId) {
        let planned = ring_planner::rebalance(self.control.tip());
        let moves: Vec<_> = planned.iter().map(|one| Relocation { instance: one.instance, to: one.to }).collect();
        self.note(|| format!("rebalance: {moves:?}"));
        let within = Span(self.rng.range(1000, 60_000));
        self.propose(Origin::Client, request, Command::Rebalance(Rebalance { moves, within }));
    }

    /// The operator asks once more for an even spread.
    pub(crate) fn spreads_out(&mut self) {
        let request = RequestId(self.rng.uuid());
        self.rebalances(request);
    }

    /// From here on every node takes new work.
    pub(crate) fn end_drains(&mut self) {
        let nodes: Vec<_> = self.control.tip().nodes().map(|node| node.id).collect();
        for node in nodes {
            let request = RequestId(self.rng.uuid());
            let update =
                NodeUpdate { node, labels: None, schedulable: Some(true), drain: None, lost: false, until_return: false };
            self.propose(Origin::Client, request, Command::UpdateNode(update));
        }
    }

    fn some_spec(&mut self) -> Option<DeploymentSpec> {
        let kind = if self.rng.chance(60) { Kind::Job } else { Kind::Worker };
        // Few names for workers, so that they are scaled and replaced; a name of its own for most jobs.
        let name = match kind {
            Kind::Worker => format!("worker-{}", self.rng.range(0, 5).min(3)),
            Kind::Job if self.rng.chance(20) => "job-again".to_owned(),
            Kind::Job => {
                self.clients.made += 1;
                format!("job-{}", self.clients.made)
            }
        };
        let mut spec = DeploymentSpec::new(Name::new("ns").ok()?, Name::new(&name).ok()?, kind, RuntimeKind::Docker, "image");
        spec.replicas = if kind == Kind::Worker { self.rng.range(0, 5) as u32 } else { 1 };
        // One worker has its data on a node, whose loss it has to wait out.
        if name == "worker-2" {
            let (kind, driver, permission) = (VolumeKind::Volume, VolumeDriver::Local, Permission::ReadOnly);
            let (source, destination) = ("data".to_owned(), "/data".to_owned());
            spec.volumes = vec![Volume { kind, source, destination, key: None, driver, permission }];
        }
        // One worker never runs twice at once, however long its node is cut off. It is rarely replaced: that takes long with it.
        if name == "worker-3" {
            "image:1".clone_into(&mut spec.image);
            (spec.stop_on_disconnect, spec.stop_grace) = (Some(Span(5000)), Span(1000));
            spec.restart = RestartPolicy { max: 5, backoff: Span(200), max_backoff: Span(5000) };
            return Some(spec);
        }
        let image = ["image:1", "image:1", "image:1", "image:2", "image:2", BAD][self.rng.range(0, 6) as usize];
        image.clone_into(&mut spec.image);
        if kind == Kind::Worker && self.rng.chance(80) {
            spec.health_checks = self.some_checks();
        }
        spec.depends_on = self.some_dependencies(&name);
        if name == "worker-1" && self.rng.chance(80) {
            spec.autoscale = Some(Autoscale { min: 1, max: 4, target_cpu: 50 });
        }
        spec.restart = RestartPolicy { max: 5, backoff: Span(200), max_backoff: Span(5000) };
        spec.on_node_loss = match self.rng.range(0, 6) {
            0 => OnNodeLoss::Wait,
            1 => OnNodeLoss::Fail,
            2 => OnNodeLoss::Reschedule,
            _ => spec.on_node_loss,
        };
        if kind == Kind::Job {
            spec.retries = if self.rng.chance(50) { self.rng.range(1, 4) as u32 } else { 0 };
            // Some end in time, some do not.
            spec.timeout = self.rng.chance(40).then(|| Span(self.rng.range(500, 12_000)));
        }
        Some(spec)
    }
}

impl Sim {
    /// Mostly none. Circles come about, and are refused.
    fn some_dependencies(&mut self, name: &str) -> Vec<Dependency> {
        if !self.rng.chance(15) {
            return Vec::new();
        }
        let last = self.clients.made.saturating_sub(1);
        let on = ["worker-0".to_owned(), "worker-1".to_owned(), "job-again".to_owned(), format!("job-{last}")];
        let on = on[self.rng.range(0, 4) as usize].clone();
        let condition = if on.starts_with("job") && self.rng.chance(70) {
            DependencyCondition::Completed
        } else {
            DependencyCondition::Running
        };
        if on == name { Vec::new() } else { vec![Dependency { deployment: on, condition }] }
    }

    /// One that decides readiness, or one that does not, or both.
    fn some_checks(&mut self) -> Vec<HealthCheck> {
        let action = |rng: &mut super::rng::Rng| match rng.range(0, 6) {
            0 => CheckAction::Stop,
            1 | 2 => CheckAction::Alert,
            _ => CheckAction::Restart,
        };
        let check = |readiness, on_failure| HealthCheck {
            kind: CheckKind::Tcp { port: 80 },
            interval: Span(500),
            timeout: Span(500),
            threshold: 1,
            on_failure,
            readiness,
            min_healthy_time: Span(1000),
            start_period: Span::ZERO,
        };
        match self.rng.range(0, 4) {
            0 => vec![check(false, action(&mut self.rng))],
            1 => vec![check(true, action(&mut self.rng)), check(false, action(&mut self.rng))],
            _ => vec![check(true, action(&mut self.rng))],
        }
    }
}

/// The deployment an action is about.
pub(crate) fn deployment_of(state: &State, action: &Action) -> Option<DeploymentId> {
    let of = |instance| state.instance(instance).map(|instance| instance.deployment);
    match action {
        Action::CreateInstance { deployment, .. }
        | Action::SetStatus { deployment, .. }
        | Action::ForgiveRestarts { deployment }
        | Action::NoteRollout { deployment, .. }
        | Action::EndRollout { deployment, .. }
        | Action::ForgetDeployment { deployment }
        | Action::Autoscale { deployment, .. } => Some(*deployment),
        Action::NotePlacement(note) => Some(note.deployment),
        Action::SetGoal { instance, .. }
        | Action::LoseInstance { instance }
        | Action::ForgetInstance { instance }
        | Action::DropMove { instance } => of(*instance),
    }
}
