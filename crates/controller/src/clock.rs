//! The leader's clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring_state::State;
use ring_types::Timestamp;

/// Now by this host's clock.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Now for decisions on a state: never before its latest entry, which a leader with a faster clock may have stamped.
pub(crate) fn now(state: &State) -> Timestamp {
    wall().max(state.clock())
}

/// From now to `at`.
pub(crate) fn until(state: &State, at: Timestamp) -> Duration {
    at.since(now(state)).duration()
}
