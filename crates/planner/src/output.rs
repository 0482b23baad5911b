//! What a plan collects while it is made.

use ring_state::{Action, limits};
use ring_types::Timestamp;

/// Actions kept free for the status, the placement note, the forgiveness and the rollout of the deployment that fills the plan.
const RESERVE: usize = 8;

/// The actions so far, and what is known of the deployment under way.
#[derive(Default)]
pub(crate) struct Output {
    actions: Vec<Action>,
    wake: Option<Timestamp>,
    cut: bool,
}

impl Output {
    /// The next deployment begins.
    pub(crate) fn begin(&mut self) {
        self.wake = None;
        self.cut = false;
    }

    /// Nothing of another deployment fits.
    pub(crate) fn is_full(&self) -> bool {
        self.actions.len() >= limits::ACTIONS_PER_PLAN - RESERVE
    }

    /// Adds an action on an instance; false when the plan is full and the deployment has to be planned again.
    pub(crate) fn push(&mut self, action: Action) -> bool {
        self.cut |= self.is_full();
        if self.cut {
            return false;
        }
        self.actions.push(action);
        true
    }

    /// Adds one of the few closing actions of a deployment, which always fit.
    pub(crate) fn close(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Look again at this time.
    pub(crate) fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |earlier| earlier.min(at)));
    }

    pub(crate) fn wake(&self) -> Option<Timestamp> {
        self.wake
    }

    pub(crate) fn was_cut(&self) -> bool {
        self.cut
    }

    pub(crate) fn into_actions(self) -> Vec<Action> {
        self.actions
    }
}
