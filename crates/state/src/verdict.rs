//! How one execution of a job counts. It depends on the recorded facts alone, so every leader judges the same way.

use ring_types::{DeploymentSpec, ExitStatus, InstanceState, Outcome, Span, StopCause};

use crate::Instance;

/// How an execution that may have run counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It ended by itself with 0.
    Completed,
    /// It ended in another way.
    Failed,
    /// It ran longer than its job may.
    TimedOut,
    /// Nobody can tell how it ended.
    Unknown,
}

impl Verdict {
    /// May the job be tried again after it? An end nobody knows may have been a success, so that is left to the job: with
    /// `on_node_loss: reschedule` it says that being executed twice is better than not at all.
    pub fn allows_another(self, instance: &Instance, spec: &DeploymentSpec) -> bool {
        let outcome = instance.exit.as_deref().map(|exit| &exit.outcome);
        match self {
            Self::Completed => false,
            // There is no such command, or it cannot be run: there will not be one next time either.
            Self::Failed => !matches!(outcome, Some(Outcome::Code(126 | 127))),
            Self::TimedOut => true,
            Self::Unknown => spec.on_node_loss == ring_types::OnNodeLoss::Reschedule,
        }
    }
}

impl Instance {
    /// How it counts as an execution of its job; None while it has not ended, and when it certainly never ran.
    pub fn verdict(&self, spec: &DeploymentSpec) -> Option<Verdict> {
        if self.state < InstanceState::Lost {
            return None;
        }
        let Some(exit) = self.exit.as_deref() else { return self.claim.map(|_| Verdict::Unknown) };
        match &exit.outcome {
            Outcome::NotStarted { .. } => None,
            Outcome::Unknown(_) => Some(Verdict::Unknown),
            _ if self.was_too_long(exit, spec.timeout) => Some(Verdict::TimedOut),
            Outcome::Code(0) => Some(Verdict::Completed),
            Outcome::Code(_) | Outcome::Signal { .. } => Some(Verdict::Failed),
        }
    }

    /// It was told to end for running too long, and it had run so long. What had ended in time by the clock of its own host
    /// was only heard of too late.
    fn was_too_long(&self, exit: &ExitStatus, timeout: Option<Span>) -> bool {
        let (Some(StopCause::TimedOut), Some(timeout)) = (self.stop_cause, timeout) else { return false };
        let ran = exit.started_at.map(|start| exit.finished_at.since(start));
        ran.is_none_or(|ran| ran >= timeout)
    }
}

#[cfg(test)]
mod tests {
    use ring_types::{DeploymentId, Epoch, Generation, Goal, InstanceId, Kind, Name, NodeId, OnNodeLoss, Revision, RuntimeKind};
    use ring_types::{StartFailure, Timestamp, UnknownExit};
    use uuid::Uuid;

    use super::*;

    fn spec() -> DeploymentSpec {
        let (namespace, name) = (Name::new("ns").unwrap(), Name::new("j").unwrap());
        let mut spec = DeploymentSpec::new(namespace, name, Kind::Job, RuntimeKind::Process, "");
        spec.timeout = Some(Span(2000));
        spec
    }

    /// An instance that ended so long after its start, told to end for its time or not.
    fn ended(outcome: Outcome, ran: i64, timed_out: bool) -> Instance {
        let node = NodeId(Uuid::nil());
        let exit = ExitStatus { outcome, started_at: Some(Timestamp(0)), finished_at: Timestamp(ran), node };
        Instance {
            id: InstanceId(Uuid::nil()),
            deployment: DeploymentId(Uuid::nil()),
            slot: 0,
            attempt: 1,
            node,
            claim: Some(Epoch(1)),
            generation: Generation(1),
            goal: Goal::Run,
            state: InstanceState::Exited,
            address: None,
            image_digest: None,
            created_at: Timestamp(0),
            started_at: Some(Timestamp(0)),
            exit: Some(Box::new(exit)),
            stop_cause: timed_out.then_some(StopCause::TimedOut),
            health: None,
            ready_at: None,
            running_since: None,
            moving: None,
            version: Revision(1),
        }
    }

    #[test]
    fn what_ended_by_itself_in_time_did_not_time_out() {
        let killed = |signal| Outcome::Signal { signal, oom_killed: false };
        let cases = [
            (Outcome::Code(0), 1000, false, Verdict::Completed),
            (Outcome::Code(1), 1000, false, Verdict::Failed),
            (Outcome::Code(0), 2001, true, Verdict::TimedOut),
            (killed(15), 2001, true, Verdict::TimedOut),
            (killed(9), 12_000, true, Verdict::TimedOut),
            // Ended in time; heard of too late.
            (Outcome::Code(0), 1000, true, Verdict::Completed),
            (Outcome::Code(3), 1000, true, Verdict::Failed),
            (killed(9), 1000, true, Verdict::Failed),
            (Outcome::Signal { signal: 9, oom_killed: true }, 1000, true, Verdict::Failed),
            (Outcome::Unknown(UnknownExit::NodeLost), 5000, true, Verdict::Unknown),
        ];
        for (outcome, ran, timed_out, verdict) in cases {
            let instance = ended(outcome.clone(), ran, timed_out);
            assert_eq!(instance.verdict(&spec()), Some(verdict), "{outcome:?} after {ran}, told {timed_out}");
        }
    }

    #[test]
    fn what_never_ran_or_runs_has_no_verdict() {
        let never = Outcome::NotStarted { cause: StartFailure::ImagePull, message: String::new() };
        assert_eq!(ended(never, 0, false).verdict(&spec()), None);
        let running = Instance { state: InstanceState::Running, exit: None, ..ended(Outcome::Code(0), 1, false) };
        assert_eq!(running.verdict(&spec()), None);
        let removed = Instance { state: InstanceState::Removed, ..running };
        assert_eq!(removed.verdict(&spec()), Some(Verdict::Unknown));
        assert_eq!(Instance { claim: None, ..removed }.verdict(&spec()), None);
    }

    #[test]
    fn an_unknown_end_is_tried_again_only_where_the_job_says_so() {
        let cases = [
            (Outcome::Code(0), false, false),
            (Outcome::Code(1), true, true),
            (Outcome::Code(126), false, false),
            (Outcome::Code(127), false, false),
            (Outcome::Signal { signal: 9, oom_killed: true }, true, true),
            (Outcome::Unknown(UnknownExit::NodeLost), false, true),
            (Outcome::Unknown(UnknownExit::LedgerLost), false, true),
        ];
        for (outcome, by_default, rescheduled) in cases {
            let instance = ended(outcome.clone(), 1, false);
            for (policy, wanted) in
                [(OnNodeLoss::Fail, by_default), (OnNodeLoss::Wait, by_default), (OnNodeLoss::Reschedule, rescheduled)]
            {
                let spec = DeploymentSpec { on_node_loss: policy, ..spec() };
                let verdict = instance.verdict(&spec).unwrap();
                assert_eq!(verdict.allows_another(&instance, &spec), wanted, "{outcome:?} {policy}");
            }
        }
    }
}
