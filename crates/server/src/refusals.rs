//! What was refused because of a limit, and what agents said that is not theirs to say: counted, for the figures of the node.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring_types::NodeId;

/// Between two lines of the log about one node.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// A limit callers of the REST API run into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Requests of one token.
    Requests,
    /// Requests from one address without a token that is known.
    Anonymous,
    /// Streams of one token.
    Streams,
    /// Connections, in all and from one address.
    Connections,
    /// TLS connections from one address in a second.
    Handshakes,
    /// Size and time of a body.
    Body,
    /// Size and time of a head, in HTTP/1.1.
    Head,
    /// Failed logins.
    Login,
}

impl Limit {
    const ALL: [Self; 8] = [
        Self::Requests,
        Self::Anonymous,
        Self::Streams,
        Self::Connections,
        Self::Handshakes,
        Self::Body,
        Self::Head,
        Self::Login,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Anonymous => "anonymous",
            Self::Streams => "streams",
            Self::Connections => "connections",
            Self::Handshakes => "handshakes",
            Self::Body => "body",
            Self::Head => "head",
            Self::Login => "login",
        }
    }
}

/// Counts since this control node was started.
#[derive(Debug, Default)]
pub struct Refusals {
    by_limit: [AtomicU64; Limit::ALL.len()],
    strange_reports: AtomicU64,
    told: Mutex<HashMap<NodeId, Told>>,
}

/// What a node said of others since the last line of the log about it.
#[derive(Debug)]
struct Told {
    at: Instant,
    since: u64,
}

impl Refusals {
    pub(crate) fn count(&self, limit: Limit) {
        self.by_limit[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The limits by their words, and how often each was run into.
    pub(crate) fn by_limit(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Limit::ALL.into_iter().map(|limit| (limit.as_str(), self.by_limit[limit as usize].load(Ordering::Relaxed)))
    }

    /// Reports of agents about instances of other nodes.
    pub(crate) fn strange_reports(&self) -> u64 {
        self.strange_reports.load(Ordering::Relaxed)
    }

    /// Counts reports of a node about instances of others; yields how many to tell of, once a minute for each node.
    pub(crate) fn strange(&self, node: NodeId, reports: u64, now: Instant) -> Option<u64> {
        self.strange_reports.fetch_add(reports, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has been quiet for long is forgotten once what it said was told.
        told.retain(|_, last| last.since > 0 || now - last.at < TELL_EVERY);
        match told.entry(node) {
            Entry::Vacant(first) => {
                first.insert(Told { at: now, since: 0 });
                Some(reports)
            }
            Entry::Occupied(mut last) => {
                let last = last.get_mut();
                last.since += reports;
                if now - last.at < TELL_EVERY {
                    return None;
                }
                last.at = now;
                Some(std::mem::take(&mut last.since))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_its_own_count() {
        let refusals = Refusals::default();
        for (n, limit) in Limit::ALL.into_iter().enumerate() {
            (0..=n).for_each(|_| refusals.count(limit));
        }
        let counts: Vec<_> = refusals.by_limit().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_node_is_told_of_once_a_minute_and_nothing_is_lost_between() {
        let (refusals, begun) = (Refusals::default(), Instant::now());
        let node = |n| NodeId(uuid::Uuid::from_u128(n));
        assert_eq!(refusals.strange(node(1), 3, begun), Some(3));
        assert_eq!((refusals.strange(node(1), 4, begun), refusals.strange(node(1), 5, begun)), (None, None));
        assert_eq!(refusals.strange(node(2), 1, begun), Some(1), "each node for itself");
        assert_eq!(refusals.strange(node(1), 1, begun + TELL_EVERY), Some(10));
        assert_eq!(refusals.strange_reports(), 14);
        assert_eq!(refusals.told.lock().unwrap().len(), 1, "nothing is remembered of who has been quiet");
    }
}
