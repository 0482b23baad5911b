//! What a deployment waits for before anything of it is made for the first time.

use ring_state::{Deployment, State};
use ring_types::{Dependency, DependencyCondition, DeploymentStatus, Goal, Kind, Name};

use crate::text;

/// Reason of a deployment that waits for something that failed.
pub(crate) const FAILED: &str = "dependency_failed";
/// Reason of a deployment that waits for something that is not there.
pub(crate) const MISSING: &str = "dependency_missing";
/// Reason of a deployment that waits for something under way.
pub(crate) const WAITING: &str = "dependency_waiting";

/// Something it depends on is not there yet. The gravest comes last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unmet {
    /// It is under way.
    Waiting(String),
    /// Nothing of that name exists.
    Missing(String),
    /// It will not get there by itself.
    Failed(String),
}

impl Unmet {
    /// The word and the sentence for it.
    pub(crate) fn said(&self) -> (&'static str, &str) {
        match self {
            Self::Waiting(message) => (WAITING, message),
            Self::Missing(message) => (MISSING, message),
            Self::Failed(message) => (FAILED, message),
        }
    }
}

/// The gravest of what is missing; None when all is there, or was once: what runs does not stop when its database does.
pub(crate) fn unmet(state: &State, deployment: &Deployment) -> Option<Unmet> {
    if deployment.released {
        return None;
    }
    let spec = &deployment.spec;
    spec.depends_on.iter().filter_map(|dependency| judge(state, &spec.namespace, dependency)).max()
}

fn judge(state: &State, namespace: &Name, dependency: &Dependency) -> Option<Unmet> {
    let name = &dependency.deployment;
    let found = Name::new(name).ok().and_then(|name| state.deployment_named(namespace, &name));
    let Some(found) = found else { return Some(Unmet::Missing(text::no_such_dependency(namespace, name))) };
    if is_met(state, found, dependency.condition) {
        return None;
    }
    if found.spec.kind == Kind::Worker && dependency.condition == DependencyCondition::Completed {
        return Some(Unmet::Failed(text::never_completes(name)));
    }
    let over = found.status.is_final() && found.status != DeploymentStatus::Completed;
    let stuck = found.status == DeploymentStatus::Pending && matches!(found.reason.as_str(), FAILED | MISSING);
    Some(match dependency.condition {
        _ if over => Unmet::Failed(text::dependency_failed(found, dependency.condition)),
        _ if stuck => Unmet::Failed(text::dependency_stuck(found)),
        condition => Unmet::Waiting(text::waits_for(name, condition)),
    })
}

fn is_met(state: &State, found: &Deployment, condition: DependencyCondition) -> bool {
    let completed = found.status == DeploymentStatus::Completed;
    match condition {
        DependencyCondition::Completed => completed,
        // During an update either version serves.
        DependencyCondition::Running => {
            let records = state.deployments_named(&found.spec.namespace, &found.spec.name).filter(|d| !d.deleting);
            completed || records.into_iter().any(|d| state.instances_of(d.id).any(|i| i.goal == Goal::Run && i.is_ready(&d.spec)))
        }
    }
}
