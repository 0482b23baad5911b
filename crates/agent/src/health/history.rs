//! What the probes of one instance saw lately. In memory only: a restart of the agent begins an empty one.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring_types::{Span, Timestamp};

/// Probes kept for an instance, of all its checks together; the oldest goes.
pub(crate) const KEPT: usize = 100;

/// One probe of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProbeResult {
    /// When it began.
    pub(crate) at: Timestamp,
    /// Which check, by its place in the specification.
    pub(crate) check: u32,
    /// What it says.
    pub(crate) healthy: bool,
    /// How long it took.
    pub(crate) took: Span,
    /// What was seen, for people.
    pub(crate) message: String,
    /// It failed because there was no answer in time.
    pub(crate) late: bool,
}

/// The last probes of one instance.
#[derive(Debug, Default)]
pub(crate) struct History {
    results: Mutex<VecDeque<ProbeResult>>,
}

impl History {
    /// Adds a probe.
    pub(crate) fn add(&self, result: ProbeResult) {
        let mut results = self.results();
        if results.len() >= KEPT {
            results.pop_front();
        }
        results.push_back(result);
    }

    /// The last `limit` probes, oldest first; 0: all that are kept.
    pub(crate) fn last(&self, limit: usize) -> Vec<ProbeResult> {
        let results = self.results();
        let limit = if limit == 0 { KEPT } else { limit };
        results.iter().skip(results.len().saturating_sub(limit)).cloned().collect()
    }

    fn results(&self) -> MutexGuard<'_, VecDeque<ProbeResult>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_are_kept_and_they_come_in_order() {
        let history = History::default();
        for n in 0..KEPT as u32 + 5 {
            let at = Timestamp(n.into());
            history.add(ProbeResult { at, check: n, healthy: true, took: Span::ZERO, message: String::new(), late: false });
        }
        let checks = |limit| history.last(limit).into_iter().map(|result| result.check).collect::<Vec<_>>();
        assert_eq!(checks(0), (5..KEPT as u32 + 5).collect::<Vec<_>>());
        assert_eq!(checks(2), [KEPT as u32 + 3, KEPT as u32 + 4]);
        assert_eq!(checks(1_000).len(), KEPT);
    }
}
