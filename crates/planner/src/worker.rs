//! Workers: `replicas` instances kept alive.

mod derive;
mod drain;
mod health;
mod moves;
mod slots;

use std::collections::BTreeSet;

use ring_state::{Action, Unplaced, UnplacedReason};
use ring_types::{DeploymentStatus, Goal, InstanceState, OnNodeLoss, Outcome, StopCause, Timestamp, UnknownExit};

use crate::pause;
use crate::place::Refused;
use crate::reconcile::{Hindrance, Turn, Wanted};
use crate::rollout::{End, Part, Progress};
use crate::text;
use crate::view::{self, View};
use slots::{Slot, Standing};

/// An end that counts against an instance.
#[derive(Clone)]
struct Crash {
    outcome: Outcome,
    /// The health check it was told to end for, in words.
    check: Option<String>,
}

impl Crash {
    fn reason(&self) -> &'static str {
        if self.check.is_some() { StopCause::Unhealthy.as_str() } else { crate::status::exit_reason(&self.outcome) }
    }

    fn text(&self) -> String {
        self.check.clone().unwrap_or_else(|| text::ended(&self.outcome))
    }

    /// Why starting it again is of no use.
    fn hopeless(&self) -> Option<&'static str> {
        if self.check.is_some() { None } else { text::hopeless(&self.outcome) }
    }
}

/// What the turn of a worker found out.
#[derive(Default)]
pub(crate) struct Findings {
    /// It kept ending: how the last one did.
    crash_loop: Option<Crash>,
    /// Why instances that are wanted now were not made.
    hindrance: Option<Hindrance>,
    /// How many of them.
    missing: u32,
    /// A crash whose restart waits, and the restart's number.
    waiting: Option<(Crash, u32)>,
    /// Something waits for the end of a pause.
    backing_off: bool,
    /// Restarts, those of this plan counted.
    restarts: u32,
}

pub(crate) fn plan(turn: &mut Turn<'_, '_>) {
    if turn.loses_what_is_gone() {
        return;
    }
    if turn.deployment.has_failed_to_roll_out() {
        turn.retire();
        return;
    }
    let part = turn.part();
    let progress = turn.take_part(part);
    let is_child = matches!(part, Part::Child);
    let settling = !matches!(part, Part::Alone) && turn.is_settling();
    if is_child && !settling && progress.ready < turn.deployment.wanted() && turn.is_overdue() {
        turn.end_rollout(End::overdue(turn.deployment, progress));
        return;
    }
    if matches!(part, Part::Parent(_)) {
        turn.make_room();
    }
    if settling && !is_child {
        // None goes before it is known that what takes its place is there.
        turn.wanted = turn.deployment.spec.wanted();
        turn.room = Some(0);
    }
    let findings = reconcile(turn, part);
    if turn.out.was_cut() {
        return;
    }
    let failure = match &findings.hindrance {
        Some(Hindrance::Nodes(refused)) => Some(refused.failure(findings.missing)),
        _ => None,
    };
    let noted = turn.note(failure);
    let derived = derive::derive(turn, &findings, noted.as_ref());
    let end = if is_child { ended(turn, progress, &derived).filter(|end| !settling || !end.is_completed()) } else { None };
    match end {
        Some(End::Completed) => {
            turn.end_rollout(End::Completed);
            derived.record(turn.deployment, turn.out);
        }
        Some(failed) => turn.end_rollout(failed),
        None => {
            if is_child {
                turn.note_progress(progress);
            }
            derive::with_rollout(derived, part, progress, turn.deployment).record(turn.deployment, turn.out);
        }
    }
}

/// Brings the instances to what they should be.
fn reconcile(turn: &mut Turn<'_, '_>, part: Part<'_>) -> Findings {
    let mut findings = Findings { restarts: turn.deployment.restart_count, ..Findings::default() };
    give_up_lost(turn);
    health::judge(turn);
    if !drain::give_way(turn, part) {
        moves::go_on(turn, part);
    }
    slots::trim(turn, part.surplus_cause());
    keep_newest_ended(turn);
    view::forget(turn.state, &mut turn.views, false, turn.out);
    turn.views.retain(|view| !view.forgotten);
    if !has_failed(turn) && !turn.has_given_up() {
        fill(turn, &mut findings);
    }
    forgive(turn, &findings);
    findings
}

/// How a rolling update is over, if it is.
fn ended(turn: &Turn<'_, '_>, progress: Progress, derived: &crate::status::Derived) -> Option<End> {
    if progress.ready >= turn.deployment.wanted() {
        return Some(End::Completed);
    }
    let stopped = slots::slots(&turn.views).iter().any(|slot| matches!(slot.standing, Standing::Stopped(_)));
    End::of(derived, stopped)
}

/// A lost node's instances are replaced; should the node return, they are to go. So are those that an agent stopped while it was cut off.
fn give_up_lost(turn: &mut Turn<'_, '_>) {
    let fails = turn.deployment.spec.on_node_loss == OnNodeLoss::Fail;
    for view in &mut turn.views {
        if (view.state == InstanceState::Lost && !fails) || view.never_mattered() || view.was_cut_off() {
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
    let kept: BTreeSet<_> = slots::slots(&turn.views).into_iter().filter_map(|slot| slot.kept()).collect();
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
    wanted.extend(slots::vacancies(&turn.views, turn.wanted));
    wanted.truncate(turn.room.map_or(usize::MAX, |room| room as usize));
    if wanted.is_empty() {
        return;
    }
    findings.missing = wanted.len() as u32;
    findings.hindrance = turn.hindrance();
    if findings.hindrance.is_some() {
        return;
    }
    make(turn, wanted, findings);
}

/// Makes these, until the plan is full or one finds no node.
fn make(turn: &mut Turn<'_, '_>, wanted: Vec<Wanted>, findings: &mut Findings) {
    for one in wanted {
        // Another restart of this same plan may have used up the last one.
        if one.restart && findings.restarts >= turn.deployment.spec.restart.max {
            continue;
        }
        match create(turn, one) {
            Ok(true) => {
                findings.missing -= 1;
                findings.restarts += u32::from(one.restart);
            }
            Ok(false) => return,
            Err(None) => {
                findings.missing = 0;
                return;
            }
            Err(Some(refused)) => {
                findings.hindrance = Some(Hindrance::Nodes(refused));
                return;
            }
        }
    }
}

/// `Err(None)`: there is no room, and that is in the nature of a rolling update.
fn create(turn: &mut Turn<'_, '_>, wanted: Wanted) -> Result<bool, Option<Refused>> {
    let refused = match turn.create(wanted) {
        Err(refused) => refused,
        Ok(made) => return Ok(made),
    };
    let contended = |one: &Unplaced| matches!(one.reason, UnplacedReason::Port(_) | UnplacedReason::Full);
    if !refused.reasons.iter().any(contended) {
        return Err(Some(refused));
    }
    if turn.gave_way || (turn.deployment.is_rolling_out() && turn.is_given_room()) {
        return Err(None);
    }
    if !turn.deployment.is_rolling_out() || turn.deployment.spec.placement.max_per_node.is_none() {
        return Err(Some(refused));
    }
    // No end of one instance would make room within `max_per_node`, as when that got lower: it is met when the update is over.
    turn.beside = true;
    turn.create(wanted).map_err(Some)
}

fn dead<'v, 'a>(turn: &'v Turn<'a, '_>, slot: &Slot) -> Option<&'v View<'a>> {
    slot.ended.filter(|_| slot.standing == Standing::Dead).map(|index| &turn.views[index])
}

/// How an instance ended, when that was a crash. One that was told to end never crashed, whatever its exit says, unless it was
/// told so because it was not healthy.
fn crash(turn: &Turn<'_, '_>, view: &View<'_>) -> Option<Crash> {
    let check = view.was_unhealthy().then(|| health::said(turn, view));
    if view.goal > Goal::Run && check.is_none() {
        return None;
    }
    match view.exit().map(|exit| &exit.outcome) {
        Some(Outcome::NotStarted { .. }) | None => None,
        // The host's doing, not the workload's.
        Some(Outcome::Unknown(why)) if !matches!(why, UnknownExit::InstanceVanished | UnknownExit::VmLost) => None,
        Some(outcome) => Some(Crash { outcome: outcome.clone(), check }),
    }
}

fn gives_up(turn: &Turn<'_, '_>, view: &View<'_>, restarts: u32) -> Option<Crash> {
    let crash = crash(turn, view)?;
    (crash.hopeless().is_some() || restarts >= turn.deployment.spec.restart.max).then_some(crash)
}

/// The next life of a dead slot, when its pause is over.
fn restart(turn: &mut Turn<'_, '_>, slot: &Slot, findings: &mut Findings) -> Option<Wanted> {
    let view = dead(turn, slot)?.clone();
    let crash = crash(turn, &view);
    let due = due(turn, &view, crash.is_some(), findings);
    if due <= turn.now {
        return Some(Wanted { slot: slot.number, attempt: view.attempt + 1, restart: crash.is_some() });
    }
    turn.out.wake_at(due);
    findings.backing_off = true;
    if let Some(crash) = crash {
        findings.waiting = Some((crash, findings.restarts + 1));
    }
    None
}

fn due(turn: &mut Turn<'_, '_>, view: &View<'_>, crashed: bool, findings: &Findings) -> Timestamp {
    let Some(record) = view.record else { return turn.now };
    let policy = turn.deployment.spec.restart;
    let failures = turn.deployment.start_failures.max(1);
    let pause = match view.start_failure() {
        _ if crashed => policy.pause(findings.restarts + 1),
        Some(_) => policy.pause(failures),
        None => return turn.now,
    };
    turn.times().ended(record) + pause
}

/// Forgets the restarts once everything has run, and been ready, for the healthy window.
fn forgive(turn: &mut Turn<'_, '_>, findings: &Findings) {
    let slots = slots::slots(&turn.views);
    let healthy = |slot: &Slot| match slot.standing {
        Standing::Live(index) => {
            let view = &turn.views[index];
            let runs = view.state == InstanceState::Running;
            runs && !health::is_unhealthy(view) && !health::is_unready(turn, view)
        }
        Standing::Dead => false,
        // Something that is to end is still there: what takes its place counts.
        Standing::Free => !slot.stopping,
        Standing::Stopped(_) => true,
    };
    let live: Vec<_> = slots.iter().filter_map(Slot::live).collect();
    if findings.restarts == 0 || live.is_empty() || !slots.iter().all(healthy) {
        return;
    }
    let records: Vec<_> = live.iter().filter_map(|index| turn.views[*index].record).collect();
    let times = turn.times();
    let Some(youngest) = records.iter().map(|record| times.healthy_since(record)).max() else { return };
    let over = youngest + pause::healthy_window(turn.deployment);
    if over <= turn.now {
        turn.out.close(Action::ForgiveRestarts { deployment: turn.deployment.id });
    } else {
        turn.out.wake_at(over);
    }
}
