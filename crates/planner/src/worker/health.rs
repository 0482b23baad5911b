//! What health checks do to the instances of a worker.

use ring_state::Instance;
use ring_types::{CheckAction, FailingCheck, Goal, InstanceState, StopCause};

use crate::reconcile::Turn;
use crate::text;
use crate::view::{self, View};

/// Ends instances whose checks fail, as the checks that fail say. Where several do, stopping goes before replacing.
pub(super) fn judge(turn: &mut Turn<'_, '_>) {
    let checks = &turn.deployment.spec.health_checks;
    for view in turn.views.iter_mut().filter(|view| view.goal == Goal::Run && view.state == InstanceState::Running) {
        let actions: Vec<_> =
            failing(view).iter().filter_map(|one| checks.get(one.check as usize)).map(|c| c.on_failure).collect();
        if actions.contains(&CheckAction::Stop) {
            view::set_goal(view, Goal::Stop, StopCause::StoppedByCheck, turn.out);
        } else if actions.contains(&CheckAction::Restart) {
            view::set_goal(view, Goal::Stop, StopCause::Unhealthy, turn.out);
        }
    }
}

/// The checks that fail for an instance.
pub(super) fn failing<'a>(view: &View<'a>) -> &'a [FailingCheck] {
    view.record.and_then(|record| record.health.as_deref()).map_or(&[], |health| &health.failing)
}

/// It runs and is wanted, and a check of it fails.
pub(super) fn is_unhealthy(view: &View<'_>) -> bool {
    runs(view) && !failing(view).is_empty()
}

/// It runs and is wanted, and has not passed its readiness checks.
pub(super) fn is_unready(turn: &Turn<'_, '_>, view: &View<'_>) -> bool {
    let ready = |record: &Instance| record.is_ready(&turn.deployment.spec);
    runs(view) && !view.record.is_some_and(ready)
}

fn runs(view: &View<'_>) -> bool {
    view.goal == Goal::Run && view.state == InstanceState::Running
}

/// What the first failing check of an instance that was told to end by it said.
pub(super) fn said(turn: &Turn<'_, '_>, view: &View<'_>) -> String {
    match failing(view).first() {
        Some(one) => {
            let check = turn.deployment.spec.health_checks.get(one.check as usize);
            text::failing_check(one.check, check.map(|check| &check.kind), &one.message)
        }
        None => "a health check failed".to_owned(),
    }
}
