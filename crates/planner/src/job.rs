//! Jobs: one instance, executed at most once. Another is made only when it is certain that the one before never ran.

use ring_types::{Condition, DeploymentStatus, Goal, InstanceState, StartFailure, StopCause};

use crate::reconcile::{Hindrance, Turn, Wanted};
use crate::status::{self, Derived};
use crate::text;
use crate::view::{self, View};

pub(crate) fn plan(turn: &mut Turn<'_, '_>) {
    if turn.loses_what_is_gone() {
        return;
    }
    clean(turn);
    let hindrance = if main(&turn.views).is_none() { make(turn) } else { None };
    let failure = match &hindrance {
        Some(Stop::By(Hindrance::Nodes(refused))) => Some(refused.failure(1)),
        _ => None,
    };
    let noted = if turn.out.was_cut() { turn.deployment.placement_failure.clone() } else { turn.note(failure) };
    if turn.out.was_cut() {
        return;
    }
    let mut derived = derive(turn, hindrance.as_ref(), noted.as_ref());
    if status::unreachable(turn.state, &turn.views) {
        derived.conditions.push(Condition::NodeUnreachable);
    }
    derived.record(turn.deployment, turn.out);
}

/// Why nothing was made.
enum Stop {
    /// Something is in the way.
    By(Hindrance),
    /// The pause after a failed start is not over.
    Pause,
    /// It has come to its end.
    End,
}

/// The attempt that counts: the newest one that may have run.
fn main<'v, 'a>(views: &'v [View<'a>]) -> Option<&'v View<'a>> {
    views.iter().rev().find(|view| !never_ran(view))
}

/// It is certain that nothing of it was ever executed.
fn never_ran(view: &View<'_>) -> bool {
    match view.start_failure() {
        Some(StartFailure::Cancelled) => view.goal > Goal::Run,
        other => other.is_some(),
    }
}

/// Failed starts are kept only while they say why nothing runs yet.
fn clean(turn: &mut Turn<'_, '_>) {
    let newest = turn.views.iter().rposition(|view| never_ran(view) && !view.never_mattered());
    let started = main(&turn.views).is_some_and(|view| view.state >= InstanceState::Running);
    for (index, view) in turn.views.iter_mut().enumerate() {
        if never_ran(view) && (started || Some(index) != newest) {
            view::set_goal(view, Goal::Remove, StopCause::Cleared, turn.out);
        }
    }
    let (done, mut spent): (Vec<_>, Vec<_>) = std::mem::take(&mut turn.views).into_iter().partition(|view| !never_ran(view));
    view::forget(turn.state, &mut spent, false, turn.out);
    turn.views = done;
    turn.views.extend(spent);
    turn.views.sort_by_key(|view| (view.attempt, view.record.map(|r| r.created_at), view.id));
}

fn make(turn: &mut Turn<'_, '_>) -> Option<Stop> {
    if turn.has_given_up() || turn.deployment.status == DeploymentStatus::Completed {
        return Some(Stop::End);
    }
    if let Some(hindrance) = turn.hindrance() {
        return Some(Stop::By(hindrance));
    }
    let last = turn.views.last().cloned();
    if let Some(record) = last.as_ref().filter(|view| !view.never_mattered()).and_then(|view| view.record) {
        let pause = turn.deployment.spec.restart.pause(turn.deployment.start_failures.max(1));
        let due = turn.times().ended(record) + pause;
        if due > turn.now {
            turn.out.wake_at(due);
            return Some(Stop::Pause);
        }
    }
    let attempt = last.map_or(1, |view| view.attempt);
    turn.create(Wanted { slot: 0, attempt, restart: false }).err().map(|refused| Stop::By(Hindrance::Nodes(refused)))
}

fn derive(turn: &Turn<'_, '_>, stop: Option<&Stop>, noted: Option<&ring_state::PlacementFailure>) -> Derived {
    if let Some(main) = main(&turn.views) {
        return of_instance(main, &turn.views);
    }
    let mut derived = match stop {
        Some(Stop::End) => return Derived::recorded(turn.deployment),
        Some(Stop::By(Hindrance::Reference(missing))) => {
            Derived::because(DeploymentStatus::ConfigError, StartFailure::Config.as_str(), missing.to_string())
        }
        Some(Stop::By(Hindrance::Nodes(refused))) if refused.never => {
            let message = noted.map(text::never_fits).unwrap_or_default();
            Derived::because(DeploymentStatus::InsufficientResources, "insufficient_resources", message)
        }
        _ => start_failure(&turn.views).unwrap_or_else(|| waiting(stop, noted)),
    };
    match stop {
        Some(Stop::Pause) => derived.conditions.push(Condition::BackingOff),
        Some(Stop::By(Hindrance::Nodes(_))) => derived.conditions.push(Condition::NotPlaced),
        _ => {}
    }
    derived
}

fn waiting(stop: Option<&Stop>, noted: Option<&ring_state::PlacementFailure>) -> Derived {
    match stop {
        Some(Stop::By(Hindrance::Predecessor)) => Derived::waits_for_predecessor(),
        _ => match noted {
            Some(failure) => Derived::because(DeploymentStatus::Pending, "not_placed", text::not_placed(failure)),
            None => Derived::plain(DeploymentStatus::Pending),
        },
    }
}

fn start_failure(views: &[View<'_>]) -> Option<Derived> {
    let failed = views.iter().rev().filter(|view| !view.forgotten && !view.never_mattered());
    let (cause, said) = failed.filter(|view| view.goal == Goal::Run).find_map(View::start_failure_said)?;
    Some(status::of_start_failure(cause, said))
}

fn of_instance(main: &View<'_>, views: &[View<'_>]) -> Derived {
    match main.state {
        InstanceState::Running => Derived::plain(DeploymentStatus::Running),
        live if live.is_live() => start_failure(views).unwrap_or_else(|| Derived::plain(DeploymentStatus::Creating)),
        _ => {
            let Some(exit) = main.exit() else {
                let message = "its node took it away and never said how it ended".to_owned();
                return Derived::because(DeploymentStatus::Failed, "unknown", message);
            };
            let mut derived = if exit.success() {
                Derived::plain(DeploymentStatus::Completed)
            } else {
                let message = text::ended(&exit.outcome);
                Derived::because(DeploymentStatus::Failed, status::exit_reason(&exit.outcome), message)
            };
            derived.exit = Some(exit.clone());
            derived
        }
    }
}
