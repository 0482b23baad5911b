//! A controller's decisions, each checked against the facts: they were made from an older view.

use std::sync::Arc;

use ring_types::{
    Generation, Goal, InstanceId, InstanceState, Kind, NodeStatus, Outcome, StartFailure, StopCause, Timestamp, UnknownExit,
};

use super::{Done, EventAt, Tx};
use crate::level::JOBS_STAY_OVER;
use crate::{Action, Deployment, EventKind, EventLevel, Instance, Node, Reply, RowKey, Scale};

/// The instance a plan wants.
struct Wanted {
    id: InstanceId,
    slot: u32,
    attempt: u32,
    node: ring_types::NodeId,
    restart: bool,
}

impl Tx<'_> {
    pub(super) fn plan(&mut self, actions: &[Action]) -> Done {
        let done = actions.iter().filter(|action| self.act(action)).count();
        Ok(Reply::Planned { skipped: (actions.len() - done) as u32 })
    }

    /// False when the action does not fit the facts.
    fn act(&mut self, action: &Action) -> bool {
        match action {
            Action::CreateInstance { id, deployment, slot, attempt, node, restart } => {
                let wanted = Wanted { id: *id, slot: *slot, attempt: *attempt, node: *node, restart: *restart };
                let deployment = self.state.deployment(*deployment).cloned();
                deployment.is_some_and(|deployment| self.create_instance(&deployment, &wanted))
            }
            Action::SetGoal { instance, goal, cause } => self.set_goal(*instance, *goal, *cause),
            Action::LoseInstance { instance } => self.lose_instance(*instance),
            Action::DropMove { instance } => self.drop_move(*instance),
            Action::ForgetInstance { instance } => self.forget_instance(*instance),
            Action::SetStatus { deployment, .. } => {
                // How an update failed stands, whatever an older plan says.
                let open = |d: &&Arc<Deployment>| !d.deleting && !d.has_failed_to_roll_out();
                let deployment = self.state.deployment(*deployment).filter(open).cloned();
                deployment.is_some_and(|deployment| self.set_status(&deployment, action))
            }
            Action::NotePlacement(note) => {
                let deployment = self.state.deployment(note.deployment).cloned();
                deployment.filter(|d| d.placement_failure != note.failure).is_some_and(|d| {
                    self.edit_deployment(&d, |d| d.placement_failure.clone_from(&note.failure));
                    true
                })
            }
            Action::ForgiveRestarts { deployment } => {
                let deployment = self.state.deployment(*deployment).filter(|d| d.restart_count > 0).cloned();
                deployment.is_some_and(|d| {
                    self.edit_deployment(&d, |d| d.restart_count = 0);
                    true
                })
            }
            Action::NoteRollout { deployment, ready } => self.note_rollout(*deployment, *ready),
            Action::EndRollout { deployment, phase, reason, message } => self.end_rollout(*deployment, *phase, reason, message),
            Action::ForgetDeployment { deployment } => self.forget_deployment(*deployment),
            Action::Autoscale { deployment, from, replicas, message } => self.autoscale(*deployment, *from, *replicas, message),
        }
    }

    fn create_instance(&mut self, deployment: &Arc<Deployment>, wanted: &Wanted) -> bool {
        let Some(node) = self.state.node(wanted.node).cloned() else { return false };
        let stays_over = deployment.is_over() && self.state.level() >= JOBS_STAY_OVER;
        let fits = !deployment.deleting
            && !stays_over
            && self.slot_is_wanted(deployment, wanted.slot)
            && self.state.instance(wanted.id).is_none()
            && !deployment.has_failed_to_roll_out()
            && self.slot_is_free(deployment, wanted)
            && self.state.surge(&deployment.spec.namespace, &deployment.spec.name) != Some(0)
            && self.node_can_take(&node, deployment)
            && self.volumes_allow(node.id, deployment);
        if !fits {
            return false;
        }
        let instance = Instance {
            id: wanted.id,
            deployment: deployment.id,
            slot: wanted.slot,
            attempt: wanted.attempt,
            node: node.id,
            claim: None,
            generation: Generation(1),
            goal: Goal::Run,
            state: InstanceState::Assigned,
            address: None,
            image_digest: None,
            created_at: self.at,
            started_at: None,
            exit: None,
            stop_cause: None,
            health: None,
            ready_at: None,
            running_since: None,
            moving: None,
            version: self.revision,
        };
        let message = format!("assigned to {}", node.name);
        let place = EventAt::instance(&instance);
        self.put_instance(instance);
        self.begin_move(deployment);
        self.bind_volumes(node.id, deployment);
        let retried = self.note_retry(deployment, wanted);
        self.event(deployment.id, EventLevel::Info, EventKind::InstanceAssigned, place, message);
        if let Some(message) = retried {
            let place = EventAt(Some(wanted.id), Some(wanted.node));
            self.event(deployment.id, EventLevel::Warning, EventKind::Retried, place, message);
        }
        let released = !deployment.spec.depends_on.is_empty() && !deployment.released;
        if (wanted.restart || released)
            && let Some(now) = self.state.deployment(deployment.id).cloned()
        {
            self.edit_deployment(&now, |d| {
                d.restart_count += u32::from(wanted.restart);
                d.released |= released;
            });
        }
        true
    }

    /// While an instance is to leave its node there is a slot more, for what takes its place.
    fn slot_is_wanted(&self, deployment: &Deployment, slot: u32) -> bool {
        let most = deployment.wanted();
        slot < most || (slot == most && self.state.is_giving_way(deployment))
    }

    /// No other instance of the slot may run; and a job is executed again only after an attempt that allows another.
    fn slot_is_free(&self, deployment: &Deployment, wanted: &Wanted) -> bool {
        let mut others = self.state.instances_of(deployment.id).filter(|i| i.slot == wanted.slot);
        match deployment.spec.kind {
            Kind::Worker => others.all(|i| !i.state.is_live()),
            Kind::Job => {
                wanted.attempt <= deployment.spec.attempts()
                    && others.all(|i| never_ran(i) || may_be_followed(i, deployment, wanted))
            }
        }
    }

    /// What is said of the first instance of another attempt.
    fn note_retry(&self, deployment: &Deployment, wanted: &Wanted) -> Option<String> {
        let mut others = self.state.instances_of(deployment.id).filter(|i| i.id != wanted.id);
        let another = deployment.spec.kind == Kind::Job && wanted.attempt > 1;
        (another && others.all(|i| i.attempt < wanted.attempt))
            .then(|| format!("attempt {} of {}", wanted.attempt, deployment.spec.attempts()))
    }

    /// Placement was decided from an older view: the node must still be there and have room.
    fn node_can_take(&self, node: &Node, deployment: &Deployment) -> bool {
        let (cpu, memory) = deployment.spec.resources.reserved();
        let used = self.state.usage(node.id);
        let capacity = node.info.capacity;
        let runtime = node.info.runtimes.iter().any(|r| r.kind == deployment.spec.runtime && r.problem.is_none());
        node.status == NodeStatus::Ready
            && node.schedulable
            && runtime
            && used.cpu.0.saturating_add(cpu.0) <= capacity.cpu.0.max(used.cpu.0)
            && used.memory.0.saturating_add(memory.0) <= capacity.memory.0.max(used.memory.0)
    }

    fn set_goal(&mut self, id: InstanceId, goal: Goal, cause: Option<StopCause>) -> bool {
        // What has ended by itself was not ended for its time: a plan that says so is older than the report of its end.
        let outdated = |i: &Instance| cause == Some(StopCause::TimedOut) && i.state >= InstanceState::Exited;
        let Some(instance) = self.state.instance(id).filter(|i| i.goal < goal && !outdated(i)).cloned() else { return false };
        let may = match cause {
            Some(StopCause::Superseded) => self.may_give_way(&instance),
            Some(StopCause::MakesRoom) => self.may_make_room(&instance),
            Some(StopCause::Drained) => self.may_leave(&instance),
            Some(StopCause::Rebalanced) => self.may_move(&instance),
            _ => true,
        };
        if !may {
            return false;
        }
        let generation = instance.generation.next();
        let stop_cause = instance.stop_cause.or(cause);
        self.put_instance(Instance { generation, goal, stop_cause, ..Instance::clone(&instance) });
        if let Some(cause) = cause.filter(|_| instance.state == InstanceState::Running && instance.goal == Goal::Run) {
            let message = format!("told to end: {cause}");
            self.event(instance.deployment, EventLevel::Info, EventKind::InstanceStopping, EventAt::instance(&instance), message);
        }
        true
    }

    /// Its node is still being drained; and it does not run, its time is over, or others serve in its place.
    fn may_leave(&self, instance: &Instance) -> bool {
        let Some(drain) = self.state.node(instance.node).and_then(|node| node.drain) else { return false };
        let Some(deployment) = self.state.deployment(instance.deployment) else { return true };
        let serves = self.state.serves(instance, deployment);
        let job = deployment.spec.kind == Kind::Job && instance.state != InstanceState::Assigned;
        let replaced = !serves || self.state.serving(deployment) > deployment.wanted() || !deployment.may_surge();
        drain.deadline <= self.at || (replaced && !job)
    }

    fn lose_instance(&mut self, id: InstanceId) -> bool {
        let may_run_on = |i: &Instance| self.state.stopped_at(i, Timestamp(0)).is_some_and(|stopped| self.at < stopped);
        let lost = |i: &&Arc<Instance>| i.state.is_live() && self.state.is_gone(i.node) && !may_run_on(i);
        let Some(instance) = self.state.instance(id).filter(lost).cloned() else { return false };
        self.lose(&instance, UnknownExit::NodeLost);
        true
    }

    fn forget_instance(&mut self, id: InstanceId) -> bool {
        let Some(instance) = self.state.instance(id) else { return false };
        let cannot_tell = self.state.is_gone(instance.node) && instance.goal == Goal::Remove;
        if instance.state != InstanceState::Removed && !cannot_tell {
            return false;
        }
        self.delete(RowKey::Instance(id));
        true
    }

    fn set_status(&mut self, current: &Arc<Deployment>, action: &Action) -> bool {
        let Action::SetStatus { status, reason, message, conditions, exit, .. } = action else { return false };
        if current.is_over() && !status.is_final() {
            return false;
        }
        let mut changed = Deployment::clone(current);
        changed.status = *status;
        changed.reason.clone_from(reason);
        changed.message.clone_from(message);
        changed.conditions.clone_from(conditions);
        changed.exit.clone_from(exit);
        if changed == **current {
            return false;
        }
        let moved = changed.status != current.status;
        let text = if message.is_empty() {
            format!("{} -> {status}", current.status)
        } else {
            format!("{} -> {status}: {message}", current.status)
        };
        self.edit_deployment(current, |d| *d = changed);
        if moved {
            let level = match status {
                s if matches!(s.as_str(), "pending" | "creating" | "running" | "completed") => EventLevel::Info,
                s if s.is_final() => EventLevel::Error,
                _ => EventLevel::Warning,
            };
            self.event(current.id, level, EventKind::StatusChanged, EventAt::NOTHING, text);
            self.tell_new_status(current);
        }
        true
    }

    fn autoscale(&mut self, id: ring_types::DeploymentId, from: u32, replicas: u32, message: &str) -> bool {
        let fits = |d: &&Arc<Deployment>| {
            let bounds = d.spec.autoscale.filter(|_| d.spec.kind == Kind::Worker && !d.deleting);
            d.wanted() == from && from != replicas && bounds.is_some_and(|bounds| bounds.within(replicas) == replicas)
        };
        let Some(deployment) = self.state.deployment(id).filter(fits).cloned() else { return false };
        let scale = Some(Scale { replicas, at: Some(self.at) });
        self.edit_deployment(&deployment, |d| d.scale = scale);
        self.tell_scaled(&deployment, (from, replicas), "autoscale", message);
        self.event(id, EventLevel::Info, EventKind::Autoscaled, EventAt::NOTHING, message.to_owned());
        true
    }

    fn forget_deployment(&mut self, id: ring_types::DeploymentId) -> bool {
        let going = self.state.deployment(id).is_some_and(|d| d.deleting);
        if !going || self.state.instances_of(id).next().is_some() {
            return false;
        }
        let events: Vec<u64> = self.state.events(id).map(|e| e.id).collect();
        for event in events {
            self.delete(RowKey::Event(id, event));
        }
        self.delete(RowKey::Deployment(id));
        true
    }
}

/// An earlier attempt, which ended in a way that allows another.
fn may_be_followed(earlier: &Instance, deployment: &Deployment, wanted: &Wanted) -> bool {
    let verdict = earlier.verdict(&deployment.spec);
    earlier.attempt < wanted.attempt && verdict.is_some_and(|verdict| verdict.allows_another(earlier, &deployment.spec))
}

/// It is certain that this instance never started and never will.
fn never_ran(instance: &Instance) -> bool {
    let outcome = instance.exit.as_deref().map(|e| &e.outcome);
    let not_started = matches!(outcome, Some(Outcome::NotStarted { cause, .. }) if *cause != StartFailure::Cancelled || instance.goal > Goal::Run);
    instance.state >= InstanceState::Exited && not_started
}
