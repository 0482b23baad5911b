//! Jobs: one instance at a time, each executed at most once. Another attempt is made only when the job asks for one and the
//! attempt before ended in a way that allows it; another instance of the same attempt only when it is certain that the one
//! before never ran.

mod derive;

use ring_state::Verdict;
use ring_types::{Condition, DeploymentStatus, Goal, InstanceState, StartFailure, StopCause};

use crate::drain;
use crate::reconcile::{Hindrance, Turn, Wanted};
use crate::view::{self, View};

pub(crate) fn plan(turn: &mut Turn<'_, '_>) {
    if turn.loses_what_is_gone() {
        return;
    }
    end_overdue(turn);
    drain::end_overdue(turn, Goal::Stop);
    end_replaced(turn);
    clean(turn);
    let stop = make(turn);
    let failure = match &stop {
        Some(Stop::By(Hindrance::Nodes(refused))) => Some(refused.failure(1)),
        _ => None,
    };
    let noted = if turn.out.was_cut() { turn.deployment.placement_failure.clone() } else { turn.note(failure) };
    if turn.out.was_cut() {
        return;
    }
    let mut derived = derive::derive(turn, stop.as_ref(), noted.as_ref());
    if turn.views.iter().any(|view| view.is_live() && !view::node_is_ready(turn.state, view.node)) {
        derived.conditions.push(Condition::NodeUnreachable);
    }
    derived.record(turn.deployment, turn.out);
}

/// Why nothing was made.
enum Stop {
    /// An attempt is under way.
    UnderWay,
    /// Something is in the way.
    By(Hindrance),
    /// The pause after a failed start, or between two attempts, is not over.
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

/// Ends what runs longer than the job may. The clock is the leader's, from the first word that it runs; on a node that was
/// lost before that word came, from its loss. What its node cannot be told now it is told when it is back.
fn end_overdue(turn: &mut Turn<'_, '_>) {
    let Some(timeout) = turn.deployment.spec.timeout else { return };
    for view in turn.views.iter_mut().filter(|view| view.goal == Goal::Run) {
        let Some(record) = view.record.filter(|r| matches!(r.state, InstanceState::Running | InstanceState::Lost)) else {
            continue;
        };
        let since = record.running_since.or_else(|| record.exit.as_deref().map(|exit| exit.finished_at));
        let Some(due) = since.map(|since| since + timeout) else { continue };
        if due <= turn.now {
            view::set_goal(view, Goal::Stop, StopCause::TimedOut, turn.out);
        } else {
            turn.out.wake_at(due);
        }
    }
}

/// A lost attempt that another one has followed is to end, should its node return: its end is still told.
fn end_replaced(turn: &mut Turn<'_, '_>) {
    let newest = main(&turn.views).map_or(0, |view| view.attempt);
    for view in turn.views.iter_mut().filter(|view| view.state == InstanceState::Lost && view.attempt < newest) {
        view::set_goal(view, Goal::Stop, StopCause::Retried, turn.out);
    }
}

/// Failed starts are kept only while they say why nothing runs yet. Attempts that ran are kept, with what they wrote.
fn clean(turn: &mut Turn<'_, '_>) {
    let newest = turn.views.iter().rposition(|view| never_ran(view) && !view.never_mattered());
    let ran = |view: &&View<'_>| !never_ran(view) && view.state >= InstanceState::Running;
    let started = turn.views.iter().filter(ran).map(|view| view.attempt).max().unwrap_or(0);
    for (index, view) in turn.views.iter_mut().enumerate() {
        if never_ran(view) && (view.attempt <= started || Some(index) != newest) {
            view::set_goal(view, Goal::Remove, StopCause::Cleared, turn.out);
        }
    }
    let (done, mut spent): (Vec<_>, Vec<_>) = std::mem::take(&mut turn.views).into_iter().partition(|view| !never_ran(view));
    view::forget(turn.state, &mut spent, false, turn.out);
    turn.views = done;
    turn.views.extend(spent);
    turn.views.sort_by_key(|view| (view.attempt, view.record.map(|r| r.created_at), view.id));
}

/// Its end is known, and was this.
fn verdict(turn: &Turn<'_, '_>, view: &View<'_>) -> Option<Verdict> {
    view.record.and_then(|record| record.verdict(&turn.deployment.spec))
}

/// One of its attempts completed.
fn completed<'v, 'a>(turn: &'v Turn<'a, '_>) -> Option<&'v View<'a>> {
    turn.views.iter().rev().find(|view| !never_ran(view) && verdict(turn, view) == Some(Verdict::Completed))
}

/// The number of the next attempt; None when there is none: an attempt completed, all were used, or the end is not one to
/// try again after. What was told to be over stays over, whatever the truth about a lost attempt turns out to be.
fn next_attempt(turn: &Turn<'_, '_>) -> Option<u32> {
    if turn.has_given_up() || turn.deployment.status == DeploymentStatus::Completed || completed(turn).is_some() {
        return None;
    }
    let Some(last) = main(&turn.views) else { return Some(turn.views.last().map_or(1, |view| view.attempt)) };
    let spec = &turn.deployment.spec;
    let allowed = last.record.is_some_and(|r| r.verdict(spec).is_some_and(|verdict| verdict.allows_another(r, spec)));
    (allowed && last.attempt < spec.attempts()).then(|| last.attempt + 1)
}

fn make(turn: &mut Turn<'_, '_>) -> Option<Stop> {
    if turn.views.iter().any(View::is_live) {
        return Some(Stop::UnderWay);
    }
    let Some(attempt) = next_attempt(turn) else { return Some(Stop::End) };
    if let Some(hindrance) = turn.hindrance() {
        return Some(Stop::By(hindrance));
    }
    if pauses(turn, attempt) {
        return Some(Stop::Pause);
    }
    turn.create(Wanted { slot: 0, attempt, restart: false }).err().map(|refused| Stop::By(Hindrance::Nodes(refused)))
}

/// The pause before the next start of an attempt is not over: after a start of it that failed, and after the attempt before.
fn pauses(turn: &mut Turn<'_, '_>, attempt: u32) -> bool {
    let policy = turn.deployment.spec.restart;
    let counts = |view: &&View<'_>| if never_ran(view) { view.attempt == attempt && !view.never_mattered() } else { true };
    let Some(last) = turn.views.iter().rev().find(counts) else { return false };
    let pause = policy.pause(if never_ran(last) { turn.deployment.start_failures.max(1) } else { last.attempt });
    let Some(record) = last.record else { return false };
    let due = turn.times().ended(record) + pause;
    if due > turn.now {
        turn.out.wake_at(due);
    }
    due > turn.now
}
