//! Nodes that are being drained: what has to go by when.

use ring_types::{Goal, InstanceState, StopCause};

use crate::reconcile::Turn;
use crate::view;

/// Tells to end what is on a node whose drain is past its deadline, and at once what has not begun there: that can begin elsewhere.
pub(crate) fn end_overdue(turn: &mut Turn<'_, '_>, goal: Goal) {
    for view in turn.views.iter_mut().filter(|view| view.goal == Goal::Run && view.is_live()) {
        let Some(drain) = turn.state.node(view.node).and_then(|node| node.drain) else { continue };
        if drain.deadline <= turn.now || view.state == InstanceState::Assigned {
            view::set_goal(view, goal, StopCause::Drained, turn.out);
        } else {
            turn.out.wake_at(drain.deadline);
        }
    }
}
