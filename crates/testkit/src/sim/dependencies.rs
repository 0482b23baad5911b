//! What waits for what: said here in other words than in the planner.

use std::collections::BTreeMap;

use ring_state::{Deployment, RowKey, State};
use ring_types::{DependencyCondition, DeploymentId, DeploymentStatus, Goal, InstanceState, Name, Revision};

use super::run::Sim;

/// When what others depend on was there.
#[derive(Default)]
pub(crate) struct There {
    /// The last entry after which a name was as others wait for it.
    last: BTreeMap<(Name, &'static str), Revision>,
    /// The entry that made a deployment.
    made: BTreeMap<DeploymentId, Revision>,
}

/// Is a name as those that wait for it want it?
fn holds(state: &State, namespace: &Name, name: &Name, condition: DependencyCondition) -> bool {
    let all: Vec<_> = state.deployments_named(namespace, name).filter(|d| !d.deleting).collect();
    let completed = all.iter().any(|d| d.status == DeploymentStatus::Completed);
    let serves = |d: &Deployment| {
        let ready = |ready: bool| !d.spec.health_checks.iter().any(|check| check.readiness) || ready;
        let mut instances = state.instances_of(d.id);
        instances.any(|i| i.goal == Goal::Run && i.state == InstanceState::Running && ready(i.ready_at.is_some()))
    };
    match condition {
        DependencyCondition::Completed => completed,
        DependencyCondition::Running => completed || all.iter().any(|d| serves(d)),
    }
}

const BOTH: [DependencyCondition; 2] = [DependencyCondition::Completed, DependencyCondition::Running];

fn key(name: &Name, condition: DependencyCondition) -> (Name, &'static str) {
    (name.clone(), condition.as_str())
}

/// It was never begun, and what it depends on is not there.
pub(crate) fn waits(state: &State, deployment: &Deployment) -> bool {
    let spec = &deployment.spec;
    let missing = |name: &str, condition| Name::new(name).is_ok_and(|name| !holds(state, &spec.namespace, &name, condition));
    !deployment.released && spec.depends_on.iter().any(|one| missing(&one.deployment, one.condition))
}

impl Sim {
    /// The first instance of what waits is made only once all it depends on has been there since it was applied. What was there
    /// when a leader planned may be gone when its plan is done.
    pub(crate) fn check_dependencies(&mut self, before: &State, after: &State, keys: &[RowKey]) -> Result<(), String> {
        for key in keys {
            match key {
                RowKey::Deployment(id) => {
                    let Some(now) = after.deployment(*id).or_else(|| before.deployment(*id)) else { continue };
                    let at = after.revision();
                    self.checks.there.made.entry(*id).or_insert(at);
                    self.summary.released += u64::from(now.released && before.deployment(*id).is_some_and(|was| !was.released));
                    self.note_there(before, now);
                    self.note_there(after, now);
                }
                RowKey::Instance(id) => {
                    let Some(row) = after.instance(*id).or_else(|| before.instance(*id)) else { continue };
                    let Some(deployment) = after.deployment(row.deployment) else { continue };
                    if before.instance(*id).is_none() {
                        self.check_begun(before, deployment)?;
                    }
                    self.note_there(before, deployment);
                    self.note_there(after, deployment);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn note_there(&mut self, state: &State, deployment: &Deployment) {
        let (namespace, name) = (&deployment.spec.namespace, &deployment.spec.name);
        for condition in BOTH.into_iter().filter(|condition| holds(state, namespace, name, *condition)) {
            self.checks.there.last.insert(key(name, condition), state.revision());
        }
    }

    fn check_begun(&self, before: &State, deployment: &Deployment) -> Result<(), String> {
        let there = &self.checks.there;
        if before.deployment(deployment.id).is_some_and(|was| was.released) {
            return Ok(());
        }
        for one in &deployment.spec.depends_on {
            let Ok(name) = Name::new(&one.deployment) else { continue };
            let since = there.made.get(&deployment.id);
            let was = there.last.get(&key(&name, one.condition)).is_some_and(|last| Some(last) >= since);
            if !was && !holds(before, &deployment.spec.namespace, &name, one.condition) {
                return Err(format!("{} begins before {} is {}", deployment.id, name, one.condition));
            }
        }
        Ok(())
    }
}
