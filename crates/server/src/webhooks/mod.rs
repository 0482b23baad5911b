//! Webhooks on the side of who sends: which addresses may be reached, what is sent, and how it is signed.
//!
//! When something is sent, and again, is decided in `controller`; what is to be sent is in the state.

mod deliverer;
mod guard;
mod names;
mod payload;
mod secret;
mod target;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use deliverer::HttpDeliverer;
pub(crate) use payload::object;
pub(crate) use secret::{generated, open, reseal, seal};
pub(crate) use target::checked;

/// How webhooks are reached.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// Receivers on the control node's own host may be reached.
    pub allow_local: bool,
    /// Longest time of one attempt, from the lookup of the name to the head of the answer.
    pub timeout: Duration,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self { allow_local: false, timeout: Duration::from_secs(10) }
    }
}
