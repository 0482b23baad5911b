//! Rolling updates: what a deployment may do while another record of its name takes its place, or it takes another's.
//!
//! Nothing of a rollout is remembered here. How many of the new version are ready follows from its instances, and how many the
//! old one keeps follows from that, so that every leader decides the same at any moment.

use ring_state::{Action, Deployment, Instance, RolloutPhase, State, may_run, parent_keeps};
use ring_types::{CheckAction, DeploymentStatus, FailingCheck, Goal, InstanceId, InstanceState, Span, StopCause, Timestamp};

use crate::pause::Times;
use crate::place::Own;
use crate::reconcile::Turn;
use crate::status::Derived;
use crate::text;
use crate::view::{self, View};

/// How long an instance without any check has to run to count as ready.
const UNCHECKED: Span = Span::seconds(10);

/// After an election nothing is taken from the old version for so long: nodes have to have had their say, and those that are out
/// of contact to be known.
const SETTLING: Span = Span::seconds(5);

/// What a deployment is to the others of its name.
#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    /// There is no other.
    Alone,
    /// This one is taking its place.
    Parent(&'a Deployment),
    /// It is taking another's place.
    Child,
}

impl Part<'_> {
    /// Why instances beyond the wanted ones go.
    pub(crate) fn surplus_cause(self) -> StopCause {
        if matches!(self, Self::Parent(_)) { StopCause::Superseded } else { StopCause::ScaledDown }
    }
}

/// How far the new version is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Instances that are past the gate.
    pub(crate) ready: u32,
    /// Instances that are not, and may run.
    pub(crate) unready: u32,
    /// When the next one is past the gate, if it stays as it is.
    pub(crate) next: Option<Timestamp>,
}

/// Whether an instance may be used in the place of another.
pub(crate) enum Gate {
    Passed,
    /// At this time, if it stays as it is.
    Until(Timestamp),
    Closed,
}

fn gate(state: &State, instance: &Instance, deployment: &Deployment, times: &Times, now: Timestamp) -> Gate {
    let spec = &deployment.spec;
    let told = instance.goal > Goal::Run || instance.state != InstanceState::Running;
    // Of one that is out of contact nobody knows.
    if told || !view::node_is_ready(state, instance.node) {
        return Gate::Closed;
    }
    let failing = instance.health.as_deref().map_or(&[][..], |health| &health.failing);
    let action = |one: &FailingCheck| spec.health_checks.get(one.check as usize).map(|check| check.on_failure);
    // It is about to be told to end.
    if failing.iter().filter_map(action).any(|action| action != CheckAction::Alert) {
        return Gate::Closed;
    }
    if spec.is_gated() {
        return if instance.ready_at.is_some() { Gate::Passed } else { Gate::Closed };
    }
    if !failing.is_empty() {
        return Gate::Closed;
    }
    let window = spec.health_checks.iter().map(|check| check.min_healthy_time).max().unwrap_or(UNCHECKED);
    let heard = state.node(instance.node).map_or(now, |node| node.status_since);
    let until = times.healthy_since(instance).max(heard) + window;
    if until <= now { Gate::Passed } else { Gate::Until(until) }
}

/// How far a deployment's instances are.
pub(crate) fn progress(state: &State, deployment: &Deployment, now: Timestamp) -> Progress {
    let times = Times::of(state, deployment, now);
    let mut progress = Progress::default();
    for instance in state.instances_of(deployment.id).filter(|instance| may_run(instance)) {
        match gate(state, instance, deployment, &times, now) {
            Gate::Passed => progress.ready += 1,
            Gate::Until(at) => {
                progress.unready += 1;
                progress.next = Some(progress.next.map_or(at, |earlier| earlier.min(at)));
            }
            Gate::Closed => progress.unready += 1,
        }
    }
    progress
}

impl<'a> Turn<'a, '_> {
    /// Whether one of its instances may be used in the place of another.
    pub(crate) fn gate(&mut self, instance: &Instance) -> Gate {
        let (state, deployment, now) = (self.state, self.deployment, self.now);
        gate(state, instance, deployment, self.times(), now)
    }

    pub(crate) fn part(&self) -> Part<'a> {
        if self.deployment.is_rolling_out() {
            return Part::Child;
        }
        self.state.child_of(self.deployment).map_or(Part::Alone, |child| Part::Parent(child))
    }

    /// Sets how many instances this one is to have now, and how many it may make.
    pub(crate) fn take_part(&mut self, part: Part<'a>) -> Progress {
        let (state, spec) = (self.state, &self.deployment.spec);
        let surge = state.surge(&spec.namespace, &spec.name);
        let progress = match part {
            Part::Alone => {
                self.room = surge;
                return Progress::default();
            }
            Part::Parent(child) => {
                let progress = progress(state, child, self.now);
                self.wanted = parent_keeps(self.deployment.wanted(), child.wanted(), progress.ready);
                // The next one of the new version comes first.
                let reserved = u32::from(progress.unready == 0);
                self.room = surge.map(|surge| surge.saturating_sub(reserved));
                progress
            }
            Part::Child => {
                let progress = progress(state, self.deployment, self.now);
                let one = u32::from(progress.unready == 0);
                self.room = Some(surge.unwrap_or(one).min(one));
                progress
            }
        };
        if let Some(next) = progress.next {
            self.out.wake_at(next);
        }
        progress
    }

    /// A leader that has just begun leaves rolling updates as they are; has it looked at again when it has heard enough.
    pub(crate) fn is_settling(&mut self) -> bool {
        let settled = self.leading_since + SETTLING;
        if self.now < settled {
            self.out.wake_at(settled);
        }
        self.now < settled
    }

    /// The time by which the next instance has to be ready has passed; else has it looked at again then.
    pub(crate) fn is_overdue(&mut self) -> bool {
        let Some(rollout) = self.deployment.rollout else { return false };
        let due = rollout.progress_at + rollout.deadline + start_period(self.deployment);
        if due > self.now {
            self.out.wake_at(due);
        }
        due <= self.now
    }

    pub(crate) fn note_progress(&mut self, progress: Progress) {
        let deployment = self.deployment.id;
        if self.deployment.rollout.is_some_and(|rollout| rollout.ready < progress.ready) {
            self.out.close(Action::NoteRollout { deployment, ready: progress.ready });
        }
    }

    pub(crate) fn end_rollout(&mut self, end: End) {
        let (phase, reason, message) = match end {
            End::Completed => (RolloutPhase::Completed, String::new(), String::new()),
            End::Failed { reason, message } => (RolloutPhase::Failed, reason, message),
        };
        self.out.close(Action::EndRollout { deployment: self.deployment.id, phase, reason, message });
    }

    /// An update that failed: what is still there of it goes, as its parent comes back.
    pub(crate) fn retire(&mut self) {
        let held = self.held();
        for view in self.views.iter_mut().filter(|view| view.is_live() && !held.contains(&view.id)) {
            // What it wrote is kept for whoever wants to know why.
            view::set_goal(view, Goal::Stop, StopCause::Superseded, self.out);
        }
        for view in self.views.iter_mut().filter(|view| view.state == InstanceState::Lost || view.never_mattered()) {
            view::set_goal(view, Goal::Remove, StopCause::Cleared, self.out);
        }
        view::forget(self.state, &mut self.views, false, self.out);
    }

    /// Instances of an update that came to nothing which still serve in place of its parent's: as many as that is short of.
    /// One that is being deleted does not wait for a parent that has given up, nor longer than an update may take.
    pub(crate) fn held(&mut self) -> Vec<InstanceId> {
        if self.holds_no_longer() {
            return Vec::new();
        }
        let recovers = |parent: &Deployment| !(self.deployment.deleting && parent.status.is_final());
        let Some(parent) = self.state.parent_of(self.deployment).filter(|parent| recovers(parent)) else {
            return Vec::new();
        };
        let named = self.state.deployments_named(&parent.spec.namespace, &parent.spec.name);
        // The update under way, and earlier ones that came to nothing: what those hold need not be held twice.
        let holds = |d: &Deployment| d.id < self.deployment.id && holds_until(d).is_none_or(|until| until > self.now);
        let others = named.filter(|d| d.parent == Some(parent.id) && (d.is_rolling_out() || holds(d)));
        let others: u32 = others.map(|other| self.state.serving(other)).sum();
        // Those the parent gives up for the update under way do not serve beside what this plan would take away.
        let kept = self.state.child_of(parent).map_or(u32::MAX, |child| {
            let ready = progress(self.state, child, self.now).ready;
            parent_keeps(parent.wanted(), child.wanted(), ready)
        });
        let short = parent.wanted().saturating_sub(self.state.serving(parent).min(kept) + others) as usize;
        let serves = |view: &&View<'_>| {
            view.goal == Goal::Run && view.record.is_some_and(|record| self.state.serves(record, self.deployment))
        };
        let mut serving: Vec<InstanceId> = self.views.iter().filter(serves).map(|view| view.id).collect();
        // While fewer serve than are to, an earlier one is on its way out, and its room is still to come.
        if serving.len() == short
            && let Some(first) = self.first_to_make_room(parent, &serving)
        {
            serving.remove(first);
        }
        serving.truncate(short);
        serving
    }

    /// Where no host has room for the parent's instance beside these: which of them makes some by going.
    fn first_to_make_room(&mut self, parent: &'a Deployment, serving: &[InstanceId]) -> Option<usize> {
        parent.placement_failure.as_ref()?;
        let own = Own::of(self.state, &parent.spec, &view::instances(self.state, parent.id));
        if self.placer.fits(parent, &own) {
            return None;
        }
        let mut makes_room = |id| self.state.instance(id).is_some_and(|one| self.placer.fits_without(parent, &own, one));
        serving.iter().position(|id| makes_room(*id))
    }

    /// It is being deleted, and its parent had its time to come back; else has it looked at again then.
    pub(crate) fn holds_no_longer(&mut self) -> bool {
        let Some(until) = holds_until(self.deployment) else { return false };
        if until > self.now && self.views.iter().any(View::is_live) {
            self.out.wake_at(until);
        }
        until <= self.now
    }
}

/// How long an update that is being deleted may hold what serves; None for one that is not.
fn holds_until(deployment: &Deployment) -> Option<Timestamp> {
    let rollout = deployment.rollout.filter(|_| deployment.deleting)?;
    Some(deployment.updated_at + rollout.deadline + start_period(deployment))
}

/// Failures of its checks this early do not count.
fn start_period(deployment: &Deployment) -> Span {
    deployment.spec.health_checks.iter().map(|check| check.start_period).max().unwrap_or(Span::ZERO)
}

/// How a rolling update is over.
pub(crate) enum End {
    Completed,
    Failed { reason: String, message: String },
}

impl End {
    pub(crate) fn is_completed(&self) -> bool {
        matches!(self, Self::Completed)
    }

    pub(crate) fn overdue(deployment: &Deployment, progress: Progress) -> Self {
        let deadline = deployment.rollout.map_or(Span::ZERO, |rollout| rollout.deadline);
        let active =
            matches!(deployment.status, DeploymentStatus::Pending | DeploymentStatus::Creating | DeploymentStatus::Running);
        let said = Some(deployment.message.as_str()).filter(|_| !active || deployment.reason != "rolling_out");
        let message = text::rollout_overdue(progress.ready, deployment.wanted(), deadline, said.unwrap_or_default());
        Self::Failed { reason: "rollout_deadline".to_owned(), message }
    }

    /// The child has come to an end of its own, from which more time does not help.
    pub(crate) fn of(derived: &Derived, stopped: bool) -> Option<Self> {
        let hopeless =
            matches!(derived.status, DeploymentStatus::CrashLoopBackOff | DeploymentStatus::InsufficientResources) || stopped;
        hopeless.then(|| {
            let reason = if stopped { derived.reason.clone() } else { derived.status.to_string() };
            Self::Failed { reason, message: text::rollout_failed(&derived.message) }
        })
    }
}
