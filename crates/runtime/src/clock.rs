//! The clock of this host, for drivers and the agent.

use std::time::{SystemTime, UNIX_EPOCH};

use ring_types::Timestamp;

/// The time of day, by this host's clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
