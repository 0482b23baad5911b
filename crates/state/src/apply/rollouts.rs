//! Rolling updates as entries change them: how one begins and ends, restart and rollback.

use std::sync::Arc;

use ring_types::{Condition, DeploymentId, DeploymentSpec, DeploymentStatus, Kind};

use super::deployments::Manner;
use super::{Done, EventAt, Tx};
use crate::{
    ApplyDeployment, Deployment, DeploymentOutcome, EventKind, EventLevel, Instance, Outcome, Refusal, RefusalCode, Reply,
    RolloutPhase, Succession, may_run, parent_keeps,
};

impl Tx<'_> {
    pub(super) fn restart_deployment(&mut self, wanted: &Succession) -> Done {
        let current = self.to_be_followed(wanted)?;
        let name = format!("deployment '{}/{}'", current.spec.namespace, current.spec.name);
        if current.spec.kind == Kind::Job {
            return Err(invalid(format!("{name} is a job, which runs once: apply it with force to run it again")));
        }
        if current.is_rolling_out() || self.state.child_of(&current).is_some() {
            return Err(Refusal::conflict(format!("{name} is being updated: wait until that is done, or roll it back")));
        }
        let deadline = Manner::new(false, wanted.rollout_deadline).deadline;
        let registry_password = current.registry_password.clone();
        let successor = ApplyDeployment { registry_password, ..ApplyDeployment::new(wanted.successor, current.spec.clone()) };
        let outcome = self.succeed(&current, &successor, Some(deadline));
        let message = format!("restarts {}", current.id);
        self.event(successor.id, EventLevel::Info, EventKind::RestartRequested, EventAt::NOTHING, message);
        Ok(Reply::Deployments(vec![outcome]))
    }

    pub(super) fn rollback_deployment(&mut self, wanted: &Succession) -> Done {
        let current = self.to_be_followed(wanted)?;
        let child = if current.is_rolling_out() { Some(current.clone()) } else { self.state.child_of(&current).cloned() };
        if let Some(child) = child
            && let Some(parent) = self.state.parent_of(&child).cloned()
        {
            return Ok(Reply::Deployments(vec![self.call_off(&child, &parent, None)]));
        }
        let Some(previous) = current.previous.clone() else {
            let (namespace, name) = (&current.spec.namespace, &current.spec.name);
            let message = format!("deployment '{namespace}/{name}' has no specification before this one: it was never changed");
            return Err(invalid(message));
        };
        let deadline = Manner::new(false, wanted.rollout_deadline).deadline;
        let registry_password = previous.registry_password.clone();
        let spec = as_many(&previous.spec, current.spec.replicas);
        let successor = ApplyDeployment { registry_password, ..ApplyDeployment::new(wanted.successor, spec) };
        let rolls = (!successor.spec.health_checks.is_empty()).then_some(deadline);
        Ok(Reply::Deployments(vec![self.succeed(&current, &successor, rolls)]))
    }

    /// The deployment that is to be followed by another: it stands for its name.
    fn to_be_followed(&self, wanted: &Succession) -> Result<Arc<Deployment>, Refusal> {
        let found = self.state.deployment(wanted.id).filter(|d| !d.deleting).cloned();
        let found = found.ok_or_else(|| Refusal::not_found(format!("deployment '{}'", wanted.id)))?;
        if found.has_failed_to_roll_out() {
            let stands = self.state.deployment_named(&found.spec.namespace, &found.spec.name);
            let stands = stands.map_or_else(String::new, |d| format!(": {} stands", d.id));
            return Err(Refusal::conflict(format!("deployment '{}' is an update that failed{stands}", wanted.id)));
        }
        if self.state.deployment(wanted.successor).is_some() {
            return Err(Refusal::conflict(format!("deployment id {} is taken", wanted.successor)));
        }
        Ok(found)
    }

    pub(super) fn begin_rollout(&mut self, parent: &Arc<Deployment>, child: DeploymentId) {
        if let Some(parent) = self.state.deployment(parent.id).cloned() {
            self.edit_deployment(&parent, |d| {
                d.conditions.push(Condition::RollingOut);
                d.conditions.sort_unstable();
                d.conditions.dedup();
            });
        }
        let message = format!("takes the place of {} one instance at a time", parent.id);
        self.event(child, EventLevel::Info, EventKind::RolloutStarted, EventAt::NOTHING, message);
        if let Some(new) = self.state.deployment(child).cloned() {
            self.tell_rollout(&new, None, "started", &format!("takes the place of {} one instance at a time", parent.id));
        }
        let message = format!("{child} takes its place one instance at a time");
        self.event(parent.id, EventLevel::Info, EventKind::RolloutStarted, EventAt::NOTHING, message);
    }

    /// Ends a rolling update in favour of what was before.
    pub(super) fn call_off(
        &mut self,
        child: &Arc<Deployment>,
        parent: &Arc<Deployment>,
        replicas: Option<u32>,
    ) -> DeploymentOutcome {
        self.mark_deleting(child, &format!("its rolling update is called off; {} stays", parent.id));
        let message = format!("the update to {} is called off", child.id);
        self.event(parent.id, EventLevel::Warning, EventKind::RolloutFailed, EventAt::NOTHING, message);
        if let Some(replicas) = replicas {
            self.scale(parent, replicas);
        }
        DeploymentOutcome { id: parent.id, outcome: Outcome::Restored(child.id) }
    }

    /// Updates that failed give way to whatever is applied next.
    pub(super) fn clear_failed_updates(&mut self, spec: &DeploymentSpec) {
        let all = self.state.deployments_named(&spec.namespace, &spec.name);
        let failed: Vec<_> = all.filter(|d| !d.deleting && d.has_failed_to_roll_out()).cloned().collect();
        for deployment in &failed {
            self.mark_deleting(deployment, "another version was applied");
        }
    }

    pub(super) fn set_phase(&mut self, deployment: &Arc<Deployment>, phase: RolloutPhase) {
        self.edit_deployment(deployment, |d| {
            if let Some(rollout) = &mut d.rollout {
                rollout.phase = phase;
            }
        });
    }

    pub(super) fn note_rollout(&mut self, id: DeploymentId, ready: u32) -> bool {
        let found = self.state.deployment(id).filter(|d| d.is_rolling_out()).cloned();
        let Some(deployment) = found.filter(|d| d.rollout.is_some_and(|rollout| rollout.ready < ready)) else { return false };
        let at = self.at;
        self.edit_deployment(&deployment, |d| {
            if let Some(rollout) = &mut d.rollout {
                rollout.ready = ready;
                rollout.progress_at = at;
            }
        });
        true
    }

    pub(super) fn end_rollout(&mut self, id: DeploymentId, phase: RolloutPhase, reason: &str, message: &str) -> bool {
        let Some(child) = self.state.deployment(id).filter(|d| d.is_rolling_out()).cloned() else { return false };
        let Some(parent) = self.state.parent_of(&child).cloned() else { return false };
        match phase {
            RolloutPhase::Progressing => false,
            RolloutPhase::Completed => self.complete_rollout(&child, &parent),
            RolloutPhase::Failed => {
                self.fail_rollout(&child, &parent, reason, message);
                true
            }
        }
    }

    fn complete_rollout(&mut self, child: &Arc<Deployment>, parent: &Arc<Deployment>) -> bool {
        if self.state.serving(child) < child.wanted() {
            return false;
        }
        self.set_phase(child, RolloutPhase::Completed);
        let message = format!("took the place of {}", parent.id);
        self.tell_rollout(child, Some("started"), "completed", &message);
        self.event(child.id, EventLevel::Info, EventKind::RolloutCompleted, EventAt::NOTHING, message);
        self.mark_deleting(parent, &format!("{} took its place", child.id));
        true
    }

    fn fail_rollout(&mut self, child: &Arc<Deployment>, parent: &Arc<Deployment>, reason: &str, message: &str) {
        self.edit_deployment(child, |d| {
            d.status = DeploymentStatus::Failed;
            reason.clone_into(&mut d.reason);
            message.clone_into(&mut d.message);
            d.conditions.clear();
            d.placement_failure = None;
            if let Some(rollout) = &mut d.rollout {
                rollout.phase = RolloutPhase::Failed;
            }
        });
        let text = format!("{} -> failed: {message}", child.status);
        self.event(child.id, EventLevel::Error, EventKind::StatusChanged, EventAt::NOTHING, text);
        self.tell_new_status(child);
        if let Some(failed) = self.state.deployment(child.id).cloned() {
            self.tell_rollout(&failed, Some("started"), "failed", message);
        }
        self.event(child.id, EventLevel::Error, EventKind::RolloutFailed, EventAt::NOTHING, message.to_owned());
        let text = format!("the update to {} failed: {message}", child.id);
        self.event(parent.id, EventLevel::Error, EventKind::RolloutFailed, EventAt::NOTHING, text);
    }

    /// One that serves may only give way while enough others do: a plan may be older than that an update is called off, and
    /// than what readiness says now.
    pub(super) fn may_give_way(&self, instance: &Instance) -> bool {
        let Some(deployment) = self.state.deployment(instance.deployment) else { return true };
        if !self.state.serves(instance, deployment) {
            return true;
        }
        if deployment.deleting || deployment.has_failed_to_roll_out() {
            let parent = self.state.parent_of(deployment).filter(|p| !p.status.is_final() && p.placement_failure.is_none());
            return parent.is_none_or(|parent| self.all_serving(parent) > parent.wanted());
        }
        let Some(child) = self.state.child_of(deployment) else { return false };
        let keeps = parent_keeps(deployment.wanted(), child.wanted(), self.state.serving(child));
        self.state.serving(deployment) > keeps
    }

    /// One that serves may end before what takes its place has begun while a new version is short of an instance, none of that
    /// is on its way, and as many serve as are to.
    pub(super) fn may_make_room(&self, instance: &Instance) -> bool {
        let Some(deployment) = self.state.deployment(instance.deployment) else { return true };
        if !self.state.serves(instance, deployment) {
            return true;
        }
        let mut named = self.state.deployments_named(&deployment.spec.namespace, &deployment.spec.name);
        let Some(child) = named.find(|d| d.is_rolling_out() && d.id != deployment.id) else { return false };
        let Some(parent) = self.state.parent_of(child) else { return false };
        let live = self.state.instances_of(child.id).filter(|i| may_run(i)).count() as u32;
        let is_due = live < child.wanted() && live <= self.state.serving(child);
        is_due && self.all_serving(parent) >= parent.wanted().min(child.wanted())
    }

    /// Instances of all versions that serve.
    fn all_serving(&self, deployment: &Deployment) -> u32 {
        let all = self.state.deployments_named(&deployment.spec.namespace, &deployment.spec.name);
        all.map(|one| self.state.serving(one)).sum()
    }
}

fn invalid(message: String) -> Refusal {
    Refusal::new(RefusalCode::Invalid, message)
}

/// The specification with this many replicas, unless it does not allow so many.
fn as_many(spec: &Arc<DeploymentSpec>, replicas: u32) -> Arc<DeploymentSpec> {
    let scaled = DeploymentSpec { replicas, ..DeploymentSpec::clone(spec) };
    if ring_types::validate(&scaled).is_empty() { Arc::new(scaled) } else { spec.clone() }
}
