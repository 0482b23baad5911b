//! Workers: `replicas` instances kept alive.

mod derive;
mod slots;

use std::collections::BTreeSet;

use ring_state::Action;
use ring_types::{DeploymentStatus, Goal, InstanceState, OnNodeLoss, Outcome, StopCause, Timestamp, UnknownExit};

use crate::pause;
use crate::reconcile::{Hindrance, Turn, Wanted};
use crate::view::{self, View};
use slots::{Slot, Standing};

/// What the turn of a worker found out.
#[derive(Default)]
pub(crate) struct Findings {
    /// It kept ending: how the last one did.
    crash_loop: Option<Outcome>,
    /// Why instances that are wanted now were not made.
    hindrance: Option<Hindrance>,
    /// How many of them.
    missing: u32,
    /// A crash whose restart waits, and the restart's number.
    waiting: Option<(Outcome, u32)>,
    /// Something waits for the end of a pause.
    backing_off: bool,
    /// Restarts, those of this plan counted.
    restarts: u32,
}

pub(crate) fn plan(turn: &mut Turn<'_, '_>) {
    if turn.loses_what_is_gone() {
        return;
    }
    let mut findings = Findings { restarts: turn.deployment.restart_count, ..Findings::default() };
    give_up_lost(turn);
    slots::trim(turn);
    keep_newest_ended(turn);
    view::forget(turn.state, &mut turn.views, false, turn.out);
    turn.views.retain(|view| !view.forgotten);
    if !has_failed(turn) && !turn.has_given_up() {
        fill(turn, &mut findings);
    }
    forgive(turn, &findings);
    if turn.out.was_cut() {
        return;
    }
    let failure = match &findings.hindrance {
        Some(Hindrance::Nodes(refused)) => Some(refused.failure(findings.missing)),
        _ => None,
    };
    let noted = turn.note(failure);
    derive::derive(turn, &findings, noted.as_ref()).record(turn.deployment, turn.out);
}

/// A lost node's instances are replaced; should the node return, they are to go.
fn give_up_lost(turn: &mut Turn<'_, '_>) {
    let fails = turn.deployment.spec.on_node_loss == OnNodeLoss::Fail;
    for view in &mut turn.views {
        if (view.state == InstanceState::Lost && !fails) || view.never_mattered() {
            view::set_goal(view, Goal::Remove, StopCause::Cleared, turn.out);
        }
    }
}

/// The loss of a node was to be a failure, and a node was lost.
fn has_failed(turn: &Turn<'_, '_>) -> bool {
    let lost = |view: &View<'_>| {
        let gone = matches!(view.unknown(), Some(UnknownExit::NodeLost | UnknownExit::NodeRemoved));
        view.goal == Goal::Run && (view.state == InstanceState::Lost || (view.has_ended() && gone))
    };
    turn.deployment.status == DeploymentStatus::Failed
        || (turn.deployment.spec.on_node_loss == OnNodeLoss::Fail && turn.views.iter().any(lost))
}

/// Of each slot the newest instance that ended is kept for its logs.
fn keep_newest_ended(turn: &mut Turn<'_, '_>) {
    let kept: BTreeSet<_> = slots::slots(&turn.views).into_iter().filter_map(|slot| slot.ended).collect();
    for (index, view) in turn.views.iter_mut().enumerate() {
        if view.has_ended() && !kept.contains(&index) {
            view::set_goal(view, Goal::Remove, StopCause::Cleared, turn.out);
        }
    }
}

/// Makes what is missing: restarts that are due first, then slots that are free.
fn fill(turn: &mut Turn<'_, '_>, findings: &mut Findings) {
    let slots = slots::slots(&turn.views);
    findings.crash_loop =
        slots.iter().filter_map(|slot| dead(turn, slot)).find_map(|view| gives_up(turn, view, findings.restarts));
    if findings.crash_loop.is_some() {
        return;
    }
    let mut wanted: Vec<Wanted> = slots.iter().filter_map(|slot| restart(turn, slot, findings)).collect();
    wanted.extend(slots::vacancies(&turn.views, turn.deployment.wanted()));
    if wanted.is_empty() {
        return;
    }
    findings.missing = wanted.len() as u32;
    findings.hindrance = turn.hindrance();
    if findings.hindrance.is_some() {
        return;
    }
    for one in wanted {
        // Another restart of this same plan may have used up the last one.
        if one.restart && findings.restarts >= turn.deployment.spec.restart.max {
            continue;
        }
        match turn.create(one) {
            Ok(true) => {
                findings.missing -= 1;
                findings.restarts += u32::from(one.restart);
            }
            Ok(false) => return,
            Err(refused) => {
                findings.hindrance = Some(Hindrance::Nodes(refused));
                return;
            }
        }
    }
}

fn dead<'v, 'a>(turn: &'v Turn<'a, '_>, slot: &Slot) -> Option<&'v View<'a>> {
    slot.ended.filter(|_| slot.standing == Standing::Dead).map(|index| &turn.views[index])
}

/// How an instance ended, when that was a crash.
fn crash<'a>(view: &View<'a>) -> Option<&'a Outcome> {
    match view.exit().map(|exit| &exit.outcome) {
        Some(Outcome::NotStarted { .. }) | None => None,
        // The host's doing, not the workload's.
        Some(Outcome::Unknown(why)) if *why != UnknownExit::InstanceVanished => None,
        crash => crash,
    }
}

fn gives_up(turn: &Turn<'_, '_>, view: &View<'_>, restarts: u32) -> Option<Outcome> {
    let outcome = crash(view)?;
    let hopeless = matches!(outcome, Outcome::Code(126 | 127));
    (hopeless || restarts >= turn.deployment.spec.restart.max).then(|| outcome.clone())
}

/// The next life of a dead slot, when its pause is over.
fn restart(turn: &mut Turn<'_, '_>, slot: &Slot, findings: &mut Findings) -> Option<Wanted> {
    let view = dead(turn, slot)?.clone();
    let due = due(turn, &view, findings);
    if due <= turn.now {
        return Some(Wanted { slot: slot.number, attempt: view.attempt + 1, restart: crash(&view).is_some() });
    }
    turn.out.wake_at(due);
    findings.backing_off = true;
    if let Some(outcome) = crash(&view) {
        findings.waiting = Some((outcome.clone(), findings.restarts + 1));
    }
    None
}

fn due(turn: &mut Turn<'_, '_>, view: &View<'_>, findings: &Findings) -> Timestamp {
    let Some(record) = view.record else { return turn.now };
    let policy = turn.deployment.spec.restart;
    let failures = turn.deployment.start_failures.max(1);
    let pause = match (crash(view), view.start_failure()) {
        (Some(_), _) => policy.pause(findings.restarts + 1),
        (None, Some(_)) => policy.pause(failures),
        (None, None) => return turn.now,
    };
    turn.times().ended(record) + pause
}

/// Forgets the restarts once everything has run for the healthy window.
fn forgive(turn: &mut Turn<'_, '_>, findings: &Findings) {
    let slots = slots::slots(&turn.views);
    let healthy = |slot: &Slot| match slot.standing {
        Standing::Live(index) => turn.views[index].state == InstanceState::Running,
        Standing::Dead => false,
        Standing::Free => true,
    };
    let live: Vec<_> = slots.iter().filter_map(Slot::live).collect();
    if findings.restarts == 0 || live.is_empty() || !slots.iter().all(healthy) {
        return;
    }
    let records: Vec<_> = live.iter().filter_map(|index| turn.views[*index].record).collect();
    let times = turn.times();
    let Some(youngest) = records.iter().map(|record| times.started(record)).max() else { return };
    let over = youngest + pause::healthy_window(turn.deployment);
    if over <= turn.now {
        turn.out.close(Action::ForgiveRestarts { deployment: turn.deployment.id });
    } else {
        turn.out.wake_at(over);
    }
}
