//! How much one caller gets of this control node: requests a second, streams at the same time.

mod gate;
mod streams;

use std::time::Duration;

use ring_types::TokenId;

use crate::buckets::{Buckets, Rate};
use crate::origin::Origin;
pub(super) use gate::{count, note};
pub(in crate::rest) use streams::StreamSlot;
use streams::Streams;

/// What a caller gets. Each control node counts for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerLimits {
    /// Requests of one token in a second, twice as many at once; 0: no bound.
    pub requests_per_second: u32,
    /// Requests without a token that is known, from one address, in a second, five times as many at once; 0: no bound.
    pub anonymous_per_second: u32,
    /// Followed logs and events, and commands in instances, of one token at the same time; 0: no bound.
    pub streams_per_token: u32,
    /// Longest wait for the next bytes of the body of a request.
    pub body_silence: Duration,
    /// Longest time a whole body takes.
    pub body: Duration,
}

impl Default for CallerLimits {
    fn default() -> Self {
        Self {
            requests_per_second: 2000,
            anonymous_per_second: 100,
            streams_per_token: 64,
            body_silence: Duration::from_secs(10),
            // 4 MiB at 70 KB a second.
            body: Duration::from_mins(1),
        }
    }
}

/// Counts what callers take.
pub(super) struct CallerLimit {
    tokens: Buckets<TokenId>,
    anonymous: Buckets<Origin>,
    streams: Streams,
}

impl CallerLimit {
    pub(super) fn new(limits: CallerLimits) -> Self {
        let rate = |per_second: u32, times: u32| Rate { per_second, burst: per_second.saturating_mul(times) };
        Self {
            tokens: Buckets::new(rate(limits.requests_per_second, 2)),
            anonymous: Buckets::new(rate(limits.anonymous_per_second, 5)),
            streams: Streams::new(limits.streams_per_token),
        }
    }

    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }
}
