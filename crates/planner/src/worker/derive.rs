//! The status of a worker.

use ring_state::{Deployment, PlacementFailure};
use ring_types::{Condition, DeploymentStatus, InstanceState, OnNodeLoss, StartFailure, StopCause, UnknownExit};

use super::slots::{self, Slot, Standing};
use super::{Findings, crash, has_failed, health};
use crate::reconcile::{Hindrance, Turn};
use crate::rollout::{Part, Progress};
use crate::status::{self, Derived};
use crate::text;
use crate::view::View;

pub(super) fn derive(turn: &Turn<'_, '_>, findings: &Findings, noted: Option<&PlacementFailure>) -> Derived {
    let mut derived = main(turn, findings, noted);
    derived.conditions.clear();
    if status::unreachable(turn.state, &turn.views) {
        derived.conditions.push(Condition::NodeUnreachable);
    }
    if noted.is_some() {
        derived.conditions.push(Condition::NotPlaced);
    }
    if findings.backing_off {
        derived.conditions.push(Condition::BackingOff);
    }
    if matches!(findings.hindrance, Some(Hindrance::Dependency(_))) {
        derived.conditions.push(Condition::Waiting);
    }
    if turn.views.iter().any(health::is_unhealthy) {
        derived.conditions.push(Condition::Unhealthy);
    }
    if turn.views.iter().any(|view| health::is_unready(turn, view)) {
        derived.conditions.push(Condition::NotReady);
    }
    derived
}

/// Says that a rolling update is under way, and how far it is when there is nothing else to say.
pub(super) fn with_rollout(mut derived: Derived, part: Part<'_>, progress: Progress, deployment: &Deployment) -> Derived {
    let message = match part {
        Part::Alone => return derived,
        Part::Parent(child) => text::giving_way(child.id),
        Part::Child => text::rolling_out(progress.ready, deployment.wanted()),
    };
    derived.conditions.push(Condition::RollingOut);
    let active = matches!(derived.status, DeploymentStatus::Pending | DeploymentStatus::Creating | DeploymentStatus::Running);
    if active && derived.message.is_empty() {
        Condition::RollingOut.as_str().clone_into(&mut derived.reason);
        derived.message = message;
    }
    derived
}

fn main(turn: &Turn<'_, '_>, findings: &Findings, noted: Option<&PlacementFailure>) -> Derived {
    if has_failed(turn) {
        return failed(turn);
    }
    if turn.has_given_up() {
        return Derived::recorded(turn.deployment);
    }
    if let Some(crash) = &findings.crash_loop {
        let message = crash.hopeless().map_or_else(|| text::crash_loop(&crash.text(), findings.restarts), str::to_owned);
        return Derived::because(DeploymentStatus::CrashLoopBackOff, crash.reason(), message);
    }
    let slots = slots::slots(&turn.views);
    let live = slots.iter().any(|slot| slot.live().is_some());
    match &findings.hindrance {
        Some(Hindrance::Nodes(refused)) if refused.never && !live => {
            let message = noted.map(text::never_fits).unwrap_or_default();
            return Derived::because(DeploymentStatus::InsufficientResources, "insufficient_resources", message);
        }
        Some(Hindrance::Reference(missing)) => {
            return Derived::because(DeploymentStatus::ConfigError, StartFailure::Config.as_str(), missing.to_string());
        }
        _ => {}
    }
    start_failure(turn, &slots)
        .or_else(|| stopped_by_check(turn, &slots))
        .unwrap_or_else(|| progress(turn, findings, noted, &slots))
}

/// A health check had instances stopped for good. With none left to run it is an error.
fn stopped_by_check(turn: &Turn<'_, '_>, slots: &[Slot]) -> Option<Derived> {
    let stopped = slots.iter().filter_map(|slot| match slot.standing {
        Standing::Stopped(index) => Some(&turn.views[index]),
        _ => None,
    });
    let stopped: Vec<_> = stopped.collect();
    let said = health::said(turn, stopped.first()?);
    let message = text::stopped_by_check(stopped.len() as u32, turn.deployment.wanted(), &said);
    let others = slots.iter().any(|slot| slot.live().is_some() || slot.standing == Standing::Dead);
    let status = if others { status_of(turn, slots) } else { DeploymentStatus::Error };
    Some(Derived::because(status, StopCause::StoppedByCheck.as_str(), message))
}

fn status_of(turn: &Turn<'_, '_>, slots: &[Slot]) -> DeploymentStatus {
    let runs = |slot: &Slot| slot.live().is_some_and(|index| turn.views[index].state == InstanceState::Running);
    let in_use = slots.iter().any(|slot| slot.standing != Standing::Free || slot.stopping);
    if slots.iter().any(runs) || turn.deployment.wanted() == 0 {
        DeploymentStatus::Running
    } else if in_use {
        DeploymentStatus::Creating
    } else {
        DeploymentStatus::Pending
    }
}

/// Everything is as it should be, or on its way there.
fn progress(turn: &Turn<'_, '_>, findings: &Findings, noted: Option<&PlacementFailure>, slots: &[Slot]) -> Derived {
    let status = status_of(turn, slots);
    if let Some((crash, restart)) = &findings.waiting {
        let policy = turn.deployment.spec.restart;
        let message = text::restarting(&crash.text(), *restart, policy.max, policy.pause(*restart));
        return Derived::because(status, crash.reason(), message);
    }
    match (&findings.hindrance, noted) {
        (Some(Hindrance::Predecessor), _) => Derived::waits_for_predecessor(),
        (Some(Hindrance::Dependency(unmet)), _) => Derived::waits_for(unmet),
        (_, Some(failure)) => Derived::because(status, "not_placed", text::not_placed(failure)),
        _ => Derived::plain(status),
    }
}

/// A start that failed shows until one succeeds, also while the next try is under way.
fn start_failure(turn: &Turn<'_, '_>, slots: &[Slot]) -> Option<Derived> {
    let not_running = |slot: &&Slot| slot.live().is_none_or(|index| turn.views[index].state != InstanceState::Running);
    let ended = slots.iter().filter(not_running).filter_map(|slot| slot.ended).map(|index| &turn.views[index]);
    let (cause, said) = ended.filter(|view| crash(turn, view).is_none()).find_map(View::start_failure_said)?;
    Some(status::of_start_failure(cause, said))
}

/// The loss of a node counts as failure here. Once recorded it stands.
fn failed(turn: &Turn<'_, '_>) -> Derived {
    if turn.deployment.status == DeploymentStatus::Failed || turn.deployment.spec.on_node_loss != OnNodeLoss::Fail {
        return Derived::recorded(turn.deployment);
    }
    let why = UnknownExit::NodeLost;
    Derived::because(DeploymentStatus::Failed, why.as_str(), text::unknown(why).to_owned())
}
