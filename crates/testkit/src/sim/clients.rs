//! Clients: they apply, scale and delete, and ask again under the same request id when no answer comes.

use std::sync::Arc;

use ring_state::{Action, ApplyDeployment, Command, State};
use ring_types::{DeploymentId, DeploymentSpec, Kind, Name, OnNodeLoss, RequestId, RestartPolicy, RuntimeKind, Span};

use super::control::Origin;
use super::run::{Event, Sim};

/// Deployments a history has at most at a time.
const MOST: usize = 14;

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
        let pause = self.rng.range(100, 1500);
        self.after(pause, Event::Client);
        let all: Vec<_> = self.control.tip().deployments().map(|deployment| deployment.id).collect();
        let deletes = all.len() >= MOST || self.rng.chance(25);
        let request = RequestId(self.rng.uuid());
        if deletes {
            let Some(id) = self.rng.pick(&all).copied() else { return };
            self.propose(Origin::Client, request, Command::DeleteDeployments { ids: vec![id] });
            return;
        }
        let Some(spec) = self.some_spec() else { return };
        let deployments = vec![ApplyDeployment { id: DeploymentId(self.rng.uuid()), spec: Arc::new(spec) }];
        let force = self.rng.chance(10);
        self.propose(Origin::Client, request, Command::Apply { namespaces: Vec::new(), configs: Vec::new(), deployments, force, rollout_deadline: None });
    }

    fn some_spec(&mut self) -> Option<DeploymentSpec> {
        let kind = if self.rng.chance(60) { Kind::Job } else { Kind::Worker };
        // Few names for workers, so that they are scaled and replaced; a name of its own for most jobs.
        let name = match kind {
            Kind::Worker => format!("worker-{}", self.rng.range(0, 3)),
            Kind::Job if self.rng.chance(20) => "job-again".to_owned(),
            Kind::Job => {
                self.clients.made += 1;
                format!("job-{}", self.clients.made)
            }
        };
        let mut spec = DeploymentSpec::new(Name::new("ns").ok()?, Name::new(&name).ok()?, kind, RuntimeKind::Docker, "image");
        spec.replicas = if kind == Kind::Worker { self.rng.range(0, 5) as u32 } else { 1 };
        spec.image = if self.rng.chance(20) { "image:2".to_owned() } else { "image:1".to_owned() };
        spec.restart = RestartPolicy { max: 5, backoff: Span(200), max_backoff: Span(5000) };
        spec.on_node_loss = match self.rng.range(0, 6) {
            0 => OnNodeLoss::Wait,
            1 => OnNodeLoss::Fail,
            2 => OnNodeLoss::Reschedule,
            _ => spec.on_node_loss,
        };
        Some(spec)
    }
}

/// The deployment an action is about.
pub(crate) fn deployment_of(state: &State, action: &Action) -> Option<DeploymentId> {
    let of = |instance| state.instance(instance).map(|instance| instance.deployment);
    match action {
        Action::CreateInstance { deployment, .. }
        | Action::SetStatus { deployment, .. }
        | Action::ForgiveRestarts { deployment }
        | Action::ForgetDeployment { deployment } => Some(*deployment),
        Action::NotePlacement(note) => Some(note.deployment),
        Action::SetGoal { instance, .. } | Action::LoseInstance { instance } | Action::ForgetInstance { instance } => {
            of(*instance)
        }
    }
}
