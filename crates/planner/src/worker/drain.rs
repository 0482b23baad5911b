//! Workers leave a node that is being drained one at a time, each once another instance has taken its place.
//!
//! Nothing of it is remembered: which instances are to leave follows from their nodes, and how far the one that takes a place is
//! follows from its state, so that every leader goes on where the one before was.

use ring_types::{Goal, InstanceState, StopCause, VolumeDriver};

use super::slots;
use crate::drain;
use crate::reconcile::Turn;
use crate::rollout::{Gate, Part};
use crate::view::{self, View};

/// Ends what leaves now, and makes room for what is to take the place of the next. A deployment that is being updated has its
/// instances replaced in any case: of those only what is overdue is ended. False when nothing is to leave.
pub(super) fn give_way(turn: &mut Turn<'_, '_>, part: Part<'_>) -> bool {
    drain::end_overdue(turn, Goal::Remove);
    let leaving: Vec<usize> = (0..turn.views.len()).filter(|&index| is_leaving(turn, &turn.views[index])).collect();
    if leaving.is_empty() || !matches!(part, Part::Alone) {
        return !leaving.is_empty();
    }
    let used = slots::slots(&turn.views).iter().filter(|slot| slot.in_use()).count() as u32;
    let others_serve = others_serve(turn, &leaving);
    let surges = turn.deployment.may_surge();
    if surges && (used <= turn.wanted || !others_serve) {
        turn.wanted += 1;
        return true;
    }
    if !others_serve || turn.is_settling() || (!surges && is_tied(turn)) {
        turn.wanted = turn.wanted.max(used);
        return true;
    }
    if let Some(&next) = leaving.iter().min_by_key(|&&index| turn.views[index].state == InstanceState::Running) {
        view::set_goal(&mut turn.views[next], Goal::Remove, StopCause::Drained, turn.out);
    }
    true
}

fn is_leaving(turn: &Turn<'_, '_>, view: &View<'_>) -> bool {
    view.goal == Goal::Run && view.is_live() && turn.state.is_draining(view.node)
}

/// Every instance that stays can be used, and nothing is still on its way out.
pub(super) fn others_serve(turn: &mut Turn<'_, '_>, leaving: &[usize]) -> bool {
    let mut all = true;
    for index in 0..turn.views.len() {
        let view = &turn.views[index];
        if view.forgotten || leaving.contains(&index) {
            continue;
        }
        let gate = match view.record {
            _ if view.goal > Goal::Run && !view.is_live() => continue,
            Some(record) => turn.gate(record),
            None => Gate::Closed,
        };
        match gate {
            Gate::Passed => {}
            Gate::Until(at) => {
                turn.out.wake_at(at);
                all = false;
            }
            Gate::Closed => all = false,
        }
    }
    all
}

/// Its data is on the node it is to leave: nothing could take its place elsewhere.
fn is_tied(turn: &Turn<'_, '_>) -> bool {
    let mut mounted = turn.state.mounted(&turn.deployment.spec).filter_map(|(_, volume)| volume);
    mounted.any(|volume| volume.driver == VolumeDriver::Local)
}
