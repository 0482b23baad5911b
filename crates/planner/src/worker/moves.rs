//! Instances move to other nodes for an even spread, one of a deployment at a time, each once another serves in its place.
//!
//! What is to move is in the state, and so is whether what takes its place was made. A move that would spread the deployment
//! less evenly by now, or that does not get anywhere, is given up: the instance stays where it is.

use ring_state::{Action, Move, State};
use ring_types::{Goal, NodeStatus, StopCause};

use super::drain;
use super::slots::{self, Standing};
use crate::place::Own;
use crate::reconcile::Turn;
use crate::rollout::Part;
use crate::view;

/// What is to be done about a move.
enum Step {
    /// It is not worth while, or not possible.
    GiveUp,
    /// Later.
    Wait,
    /// What takes its place is to be made.
    Begin,
    /// What takes its place is on its way.
    Hold,
    /// The instance goes.
    Finish,
}

/// Goes on with the move that is next.
pub(super) fn go_on(turn: &mut Turn<'_, '_>, part: Part<'_>) {
    while let Some((index, pending)) = next(turn) {
        match step(turn, part, index, pending) {
            Step::GiveUp => {
                let view = &mut turn.views[index];
                if !turn.out.push(Action::DropMove { instance: view.id }) {
                    return;
                }
                view.stays = true;
                continue;
            }
            Step::Wait => {}
            Step::Begin => {
                turn.wanted += 1;
                turn.target = Some(pending.to);
            }
            Step::Hold => turn.wanted += 1,
            Step::Finish => view::set_goal(&mut turn.views[index], Goal::Remove, StopCause::Rebalanced, turn.out),
        }
        return;
    }
}

fn next(turn: &Turn<'_, '_>) -> Option<(usize, Move)> {
    let moves = turn.views.iter().enumerate().filter_map(|(index, view)| Some((index, view.pending_move()?)));
    moves.min_by_key(|(_, pending)| pending.order)
}

fn step(turn: &mut Turn<'_, '_>, part: Part<'_>, index: usize, pending: Move) -> Step {
    let open = |node: &ring_state::Node| node.status == NodeStatus::Ready && node.schedulable;
    let is_open = turn.state.node(pending.to).is_some_and(|node| open(node));
    let over = pending.until <= turn.now || turn.deployment.status.is_final();
    if over || !is_open || !matches!(part, Part::Alone) {
        return Step::GiveUp;
    }
    turn.out.wake_at(pending.until);
    let slots = slots::slots(&turn.views);
    let used = slots.iter().filter(|slot| slot.in_use()).count() as u32;
    let dead = slots.iter().any(|slot| slot.standing == Standing::Dead);
    if pending.begun && (used <= turn.wanted || dead) {
        // What was to take its place is not there any more, or is needed beside it.
        return Step::GiveUp;
    }
    let others_serve = drain::others_serve(turn, &[index]);
    let settled = !turn.is_settling() && others_serve;
    match (pending.begun, settled) {
        (true, true) => Step::Finish,
        (true, false) => Step::Hold,
        (false, true) if used == turn.wanted => begin(turn, index, pending),
        (false, _) => Step::Wait,
    }
}

/// Everything else is as it should be.
fn begin(turn: &mut Turn<'_, '_>, index: usize, pending: Move) -> Step {
    let view = &turn.views[index];
    let (Some(from), Some(to)) = (turn.state.node(view.node), turn.state.node(pending.to)) else { return Step::GiveUp };
    let spec = &turn.deployment.spec;
    let (own, then) = (Own::of(turn.state, spec, &turn.views), Own::after_moves(turn.state, spec, &turn.views, view.id));
    if turn.placer.spoils(turn.deployment, &then, from, to) {
        return Step::GiveUp;
    }
    let first = is_first(turn.state, pending);
    if first && turn.hindrance().is_none() && turn.placer.takes(pending.to, turn.deployment, &own) {
        Step::Begin
    } else {
        Step::Wait
    }
}

/// Nothing that is to go to the same node comes before it: so that room is there for those that were counted on having it.
fn is_first(state: &State, pending: Move) -> bool {
    let waits = |other: &Move| !other.begun && other.to == pending.to && other.order < pending.order;
    !state.moving().filter_map(|instance| instance.pending_move()).any(waits)
}
