//! When the engine did not answer.

use std::sync::{Mutex, PoisonError};

use ring_types::{Span, Timestamp};

/// An engine dates what it closes its books on by its own start, which is before its first answer; its death is noticed a moment
/// after it.
const SLACK: Span = Span(2000);

/// So many of the last outages are remembered: a container's end is looked at soon after.
const REMEMBERED: usize = 4;

/// From the last word of the engine to its first after that; while that is to come, without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outage {
    from: Timestamp,
    to: Option<Timestamp>,
}

/// The last outages of an engine, as one driver saw them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outages([Option<Outage>; REMEMBERED]);

impl Outages {
    #[cfg(test)]
    pub(crate) const NONE: Self = Self([None; REMEMBERED]);

    /// Did the engine not answer at this time?
    pub(crate) fn cover(&self, at: Timestamp) -> bool {
        let within = |outage: &Outage| outage.from - SLACK <= at && outage.to.is_none_or(|to| at <= to + SLACK);
        self.0.iter().flatten().any(within)
    }

    fn begin(&mut self, from: Timestamp) {
        if self.0[0].is_none_or(|last| last.to.is_some()) {
            self.0.rotate_right(1);
            self.0[0] = Some(Outage { from, to: None });
        }
    }

    fn end(&mut self, to: Timestamp) {
        if let Some(last) = self.0[0].as_mut().filter(|last| last.to.is_none()) {
            last.to = Some(to);
        }
    }
}

/// The same, written by whoever listens to the engine.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<Outages>);

impl Watched {
    pub(crate) fn so_far(&self) -> Outages {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine was last heard of at `from`.
    pub(crate) fn silent(&self, from: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).begin(from);
    }

    /// It answers.
    pub(crate) fn back(&self, now: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).end(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_within_an_outage_are_told_from_others() {
        let watched = Watched::default();
        watched.back(Timestamp(1000));
        assert_eq!(watched.so_far(), Outages::default(), "nothing was over");
        watched.silent(Timestamp(100_000));
        watched.silent(Timestamp(105_000));
        let cover = |at| watched.so_far().cover(Timestamp(at));
        assert!(!cover(90_000) && cover(100_000) && cover(500_000), "it is not over");
        watched.back(Timestamp(110_000));
        let cover = |at| watched.so_far().cover(Timestamp(at));
        assert!(cover(99_000) && cover(110_000) && !cover(113_000), "{:?}", watched.so_far());
    }

    #[test]
    fn the_last_ones_are_remembered() {
        let watched = Watched::default();
        for n in 1..=6 {
            watched.silent(Timestamp(n * 100_000));
            watched.back(Timestamp(n * 100_000 + 1000));
        }
        let covered: Vec<_> = (1..=6).filter(|n| watched.so_far().cover(Timestamp(n * 100_000))).collect();
        assert_eq!(covered, [3, 4, 5, 6]);
    }
}
