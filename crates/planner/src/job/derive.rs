//! The status of a job.
//!
//! Once an attempt has run the job shows `running` until it is over, also in the pause before the next attempt: whoever
//! waits while it is `running` waits for all of them.

use ring_state::{PlacementFailure, Verdict};
use ring_types::{Condition, DeploymentStatus, InstanceState, StartFailure, StopCause};

use super::{Stop, completed, main, never_ran, next_attempt, verdict};
use crate::reconcile::{Hindrance, Turn};
use crate::status::{self, Derived};
use crate::text;
use crate::view::View;

pub(super) fn derive(turn: &Turn<'_, '_>, stop: Option<&Stop>, noted: Option<&PlacementFailure>) -> Derived {
    let mut derived = match (main(&turn.views), stop) {
        (None, Some(Stop::End)) => return Derived::recorded(turn.deployment),
        (None, _) => before(turn, stop, noted),
        (Some(_), Some(Stop::End)) => return over(turn),
        (Some(main), _) if main.is_live() => under_way(turn, main),
        (Some(main), _) => between(turn, main, stop, noted),
    };
    match stop {
        Some(Stop::Pause) => derived.conditions.push(Condition::BackingOff),
        Some(Stop::By(Hindrance::Nodes(_))) => derived.conditions.push(Condition::NotPlaced),
        Some(Stop::By(Hindrance::Dependency(_))) => derived.conditions.push(Condition::Waiting),
        _ => {}
    }
    derived
}

/// Nothing may have run yet.
fn before(turn: &Turn<'_, '_>, stop: Option<&Stop>, noted: Option<&PlacementFailure>) -> Derived {
    in_the_way(stop, noted).or_else(|| start_failure(&turn.views)).unwrap_or_else(|| match (stop, noted) {
        (Some(Stop::By(Hindrance::Predecessor)), _) => Derived::waits_for_predecessor(),
        (_, Some(failure)) => Derived::because(DeploymentStatus::Pending, "not_placed", text::not_placed(failure)),
        _ => Derived::plain(DeploymentStatus::Pending),
    })
}

/// What has to be put right by somebody.
fn in_the_way(stop: Option<&Stop>, noted: Option<&PlacementFailure>) -> Option<Derived> {
    match stop {
        Some(Stop::By(Hindrance::Dependency(unmet))) => Some(Derived::waits_for(unmet)),
        Some(Stop::By(Hindrance::Reference(missing))) => {
            Some(Derived::because(DeploymentStatus::ConfigError, StartFailure::Config.as_str(), missing.to_string()))
        }
        Some(Stop::By(Hindrance::Nodes(refused))) if refused.never => {
            let message = noted.map(text::never_fits).unwrap_or_default();
            Some(Derived::because(DeploymentStatus::InsufficientResources, "insufficient_resources", message))
        }
        _ => None,
    }
}

fn start_failure(views: &[View<'_>]) -> Option<Derived> {
    let failed = views.iter().rev().filter(|view| !view.forgotten && !view.never_mattered());
    let (cause, said) = failed.filter(|view| view.goal == ring_types::Goal::Run).find_map(View::start_failure_said)?;
    Some(status::of_start_failure(cause, said))
}

/// An attempt before this one ended.
fn earlier<'v, 'a>(turn: &'v Turn<'a, '_>, attempt: u32) -> Option<&'v View<'a>> {
    turn.views.iter().rev().find(|view| !never_ran(view) && view.attempt < attempt)
}

fn under_way(turn: &Turn<'_, '_>, main: &View<'_>) -> Derived {
    if main.stop_cause == Some(StopCause::TimedOut) {
        let message = turn.deployment.spec.timeout.map(text::being_ended).unwrap_or_default();
        return Derived::because(DeploymentStatus::Running, "timeout", message);
    }
    let Some(before) = earlier(turn, main.attempt) else {
        return match main.state {
            InstanceState::Running => Derived::plain(DeploymentStatus::Running),
            _ => start_failure(&turn.views).unwrap_or_else(|| Derived::plain(DeploymentStatus::Creating)),
        };
    };
    let message = format!("{}; {}", text::attempt(main.attempt, &turn.deployment.spec), ended(turn, before).1);
    Derived { message, ..Derived::plain(DeploymentStatus::Running) }
}

/// Another attempt is to follow.
fn between(turn: &Turn<'_, '_>, main: &View<'_>, stop: Option<&Stop>, noted: Option<&PlacementFailure>) -> Derived {
    let hindered = in_the_way(stop, noted)
        .or_else(|| start_failure(&turn.views))
        .or_else(|| noted.map(|failure| Derived::because(DeploymentStatus::Running, "not_placed", text::not_placed(failure))));
    if let Some(Derived { status: DeploymentStatus::InsufficientResources, .. }) = hindered {
        return Derived { exit: main.exit().cloned(), ..hindered.unwrap_or_else(|| Derived::recorded(turn.deployment)) };
    }
    let (reason, how) = ended(turn, main);
    let next = text::attempt(next_attempt(turn).unwrap_or(main.attempt), &turn.deployment.spec);
    if let Some(hindered) = hindered {
        let message = format!("{next} waits: {}; {how}", hindered.message);
        return Derived { message, status: DeploymentStatus::Running, ..hindered };
    }
    let pause = turn.deployment.spec.restart.pause(main.attempt);
    Derived::because(DeploymentStatus::Running, reason, format!("{next} follows after {pause}; {how}"))
}

/// No further attempt is made.
fn over(turn: &Turn<'_, '_>) -> Derived {
    if let Some(completed) = completed(turn) {
        return Derived { exit: completed.exit().cloned(), ..Derived::plain(DeploymentStatus::Completed) };
    }
    if turn.deployment.status == DeploymentStatus::InsufficientResources {
        return Derived::recorded(turn.deployment);
    }
    let Some(main) = main(&turn.views) else { return Derived::recorded(turn.deployment) };
    let (reason, message) = ended(turn, main);
    Derived { exit: main.exit().cloned(), ..Derived::because(DeploymentStatus::Failed, reason, message) }
}

/// The word and the sentence for the end of an attempt.
fn ended(turn: &Turn<'_, '_>, view: &View<'_>) -> (&'static str, String) {
    let spec = &turn.deployment.spec;
    let (reason, how) = match (view.exit(), verdict(turn, view)) {
        (None, _) => ("unknown", "its node took it away and never said how it ended".to_owned()),
        (Some(exit), Some(Verdict::TimedOut)) => {
            ("timeout", spec.timeout.map(|timeout| text::timed_out(timeout, &exit.outcome)).unwrap_or_default())
        }
        (Some(exit), Some(Verdict::Failed)) if view.stop_cause == Some(StopCause::Drained) => {
            (StopCause::Drained.as_str(), format!("its node was drained before it had ended: {}", text::ended(&exit.outcome)))
        }
        (Some(exit), Some(Verdict::Failed)) if view.stop_cause == Some(StopCause::Disconnected) => {
            (StopCause::Disconnected.as_str(), text::cut_off(&exit.outcome))
        }
        (Some(exit), _) => (status::exit_reason(&exit.outcome), text::ended(&exit.outcome)),
    };
    let how = if spec.retries == 0 { how } else { format!("{}: {how}", text::attempt(view.attempt, spec)) };
    (reason, how)
}
