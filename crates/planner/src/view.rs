//! The instances of a deployment as they are, and as they will be once the actions decided so far are applied.

use ring_state::{Action, Instance, Move, Node, State};
use ring_types::{
    ExitStatus, Goal, InstanceId, InstanceState, NodeId, NodeStatus, Outcome, StartFailure, StopCause, Timestamp, UnknownExit,
};

use crate::output::Output;

/// One instance.
#[derive(Clone, Debug)]
pub(crate) struct View<'a> {
    pub(crate) id: InstanceId,
    pub(crate) slot: u32,
    pub(crate) attempt: u32,
    pub(crate) node: NodeId,
    pub(crate) goal: Goal,
    pub(crate) state: InstanceState,
    /// Why it was told to end.
    pub(crate) stop_cause: Option<StopCause>,
    /// What the state has of it; None for one made by this plan.
    pub(crate) record: Option<&'a Instance>,
    /// Its move was given up by this plan.
    pub(crate) stays: bool,
    /// Its row goes.
    pub(crate) forgotten: bool,
}

impl<'a> View<'a> {
    fn of(record: &'a Instance) -> Self {
        Self {
            id: record.id,
            slot: record.slot,
            attempt: record.attempt,
            node: record.node,
            goal: record.goal,
            state: record.state,
            stop_cause: record.stop_cause,
            record: Some(record),
            stays: false,
            forgotten: false,
        }
    }

    /// One this plan makes.
    pub(crate) fn made(id: InstanceId, slot: u32, attempt: u32, node: NodeId) -> Self {
        let (goal, state) = (Goal::Run, InstanceState::Assigned);
        Self { id, slot, attempt, node, goal, state, stop_cause: None, record: None, stays: false, forgotten: false }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.state.is_live()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.state >= InstanceState::Exited
    }

    pub(crate) fn exit(&self) -> Option<&'a ExitStatus> {
        self.record.and_then(|record| record.exit.as_deref())
    }

    /// Why it was never started, when that is certain.
    pub(crate) fn start_failure(&self) -> Option<StartFailure> {
        match self.exit().map(|exit| &exit.outcome) {
            Some(Outcome::NotStarted { cause, .. }) if self.has_ended() => Some(*cause),
            // Taken away without a word by a node that had never claimed it.
            None if self.has_ended() && self.record.is_some_and(|r| r.claim.is_none()) => Some(StartFailure::NodeGone),
            _ => None,
        }
    }

    /// Why it was never started, with what the runtime said.
    pub(crate) fn start_failure_said(&self) -> Option<(StartFailure, &'a str)> {
        let said = match self.exit().map(|exit| &exit.outcome) {
            Some(Outcome::NotStarted { message, .. }) => message.as_str(),
            _ => "",
        };
        self.start_failure().map(|cause| (cause, said))
    }

    /// It was taken back before it started: there is nothing to keep of it and nothing to blame it for.
    pub(crate) fn never_mattered(&self) -> bool {
        match self.start_failure() {
            Some(StartFailure::NodeGone) => true,
            Some(StartFailure::Cancelled) => self.goal > Goal::Run,
            _ => false,
        }
    }

    /// Its agent stopped it since it was cut off: no crash.
    pub(crate) fn was_cut_off(&self) -> bool {
        self.goal == Goal::Run && self.has_ended() && self.stop_cause == Some(StopCause::Disconnected)
    }

    /// A health check failed that has it replaced.
    pub(crate) fn was_unhealthy(&self) -> bool {
        self.goal == Goal::Stop && self.stop_cause == Some(StopCause::Unhealthy)
    }

    /// A health check failed that has it stopped for good.
    pub(crate) fn was_stopped_by_check(&self) -> bool {
        self.goal == Goal::Stop && self.stop_cause == Some(StopCause::StoppedByCheck)
    }

    /// Why its end is not known.
    pub(crate) fn unknown(&self) -> Option<UnknownExit> {
        match self.exit().map(|exit| &exit.outcome) {
            Some(Outcome::Unknown(why)) => Some(*why),
            _ => None,
        }
    }

    /// It may still run, or come to run. One that is to go and was never claimed cannot.
    pub(crate) fn may_run(&self) -> bool {
        self.is_live() && !(self.state == InstanceState::Assigned && self.goal > Goal::Run)
    }

    /// Its move to another node, as long as it is wanted.
    pub(crate) fn pending_move(&self) -> Option<Move> {
        let pending = self.record.and_then(|record| record.pending_move());
        pending.filter(|_| self.goal == Goal::Run && self.is_live() && !self.stays).copied()
    }

    /// Later lives come after earlier ones. By the clock too, since a job keeps its attempt number after a failed start.
    fn age(&self) -> (u32, Option<Timestamp>, InstanceId) {
        (self.attempt, self.record.map(|r| r.created_at), self.id)
    }
}

/// All instances of a deployment, by slot, oldest first in each.
pub(crate) fn instances(state: &State, deployment: ring_types::DeploymentId) -> Vec<View<'_>> {
    let mut views: Vec<_> = state.instances_of(deployment).map(|record| View::of(record)).collect();
    views.sort_by_key(|view| (view.slot, view.age()));
    views
}

/// The node an instance is on is lost, or is no more.
pub(crate) fn node_is_gone(state: &State, node: NodeId) -> bool {
    state.is_gone(node)
}

/// The node an instance is on is in contact.
pub(crate) fn node_is_ready(state: &State, node: NodeId) -> bool {
    state.node(node).is_some_and(|node: &std::sync::Arc<Node>| node.status == NodeStatus::Ready)
}

/// Moves an instance's goal, unless it is that far already.
pub(crate) fn set_goal(view: &mut View<'_>, goal: Goal, cause: StopCause, out: &mut Output) {
    if view.goal < goal && !view.forgotten && out.push(Action::SetGoal { instance: view.id, goal, cause: Some(cause) }) {
        view.goal = goal;
        view.stop_cause = view.stop_cause.or(Some(cause));
    }
}

/// Records that the node of an instance cannot tell what becomes of it; of one that its agent stops, once that has certainly happened.
/// False: not yet.
pub(crate) fn lose(state: &State, view: &mut View<'_>, (leading_since, now): (Timestamp, Timestamp), out: &mut Output) -> bool {
    let stopped = view.record.and_then(|record| state.stopped_at(record, leading_since));
    if let Some(stopped) = stopped.filter(|stopped| now < *stopped) {
        out.wake_at(stopped);
        return false;
    }
    if out.push(Action::LoseInstance { instance: view.id }) {
        let never_claimed = view.state == InstanceState::Assigned;
        view.state = if never_claimed { InstanceState::Exited } else { InstanceState::Lost };
    }
    true
}

/// Forgets instances whose remains are gone, or never were where nobody answers any more. `all` forgets those that may have
/// remains on a lost node too: its agent takes away what it finds unassigned when it comes back.
pub(crate) fn forget(state: &State, views: &mut [View<'_>], all: bool, out: &mut Output) {
    for view in views.iter_mut().filter(|view| !view.forgotten) {
        let gone = view.goal == Goal::Remove && !view.is_live() && node_is_gone(state, view.node);
        let nothing_left = all || view.never_mattered() || state.node(view.node).is_none();
        if view.state == InstanceState::Removed || (gone && nothing_left) {
            view.forgotten = out.push(Action::ForgetInstance { instance: view.id });
        }
    }
}
