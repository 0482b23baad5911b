//! The status of a worker.

use ring_state::PlacementFailure;
use ring_types::{Condition, DeploymentStatus, InstanceState, OnNodeLoss, StartFailure, UnknownExit};

use super::slots::{self, Slot, Standing};
use super::{Findings, crash, has_failed};
use crate::reconcile::{Hindrance, Turn};
use crate::status::{self, Derived, exit_reason};
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
    derived
}

fn main(turn: &Turn<'_, '_>, findings: &Findings, noted: Option<&PlacementFailure>) -> Derived {
    if has_failed(turn) {
        return failed(turn);
    }
    if turn.has_given_up() {
        return Derived::recorded(turn.deployment);
    }
    if let Some(outcome) = &findings.crash_loop {
        let message = text::crash_loop(outcome, findings.restarts);
        return Derived::because(DeploymentStatus::CrashLoopBackOff, exit_reason(outcome), message);
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
    start_failure(turn, &slots).unwrap_or_else(|| progress(turn, findings, noted, &slots))
}

/// Everything is as it should be, or on its way there.
fn progress(turn: &Turn<'_, '_>, findings: &Findings, noted: Option<&PlacementFailure>, slots: &[Slot]) -> Derived {
    let runs = |slot: &Slot| slot.live().is_some_and(|index| turn.views[index].state == InstanceState::Running);
    let in_use = slots.iter().any(|slot| slot.standing != Standing::Free);
    let status = if slots.iter().any(runs) || turn.deployment.wanted() == 0 {
        DeploymentStatus::Running
    } else if in_use {
        DeploymentStatus::Creating
    } else {
        DeploymentStatus::Pending
    };
    if let Some((outcome, restart)) = &findings.waiting {
        let policy = turn.deployment.spec.restart;
        let message = text::restarting(outcome, *restart, policy.max, policy.pause(*restart));
        return Derived::because(status, exit_reason(outcome), message);
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
    let (cause, said) = ended.filter(|view| crash(view).is_none()).find_map(View::start_failure_said)?;
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
