//! The leader's clock.

use std::time::{Duration, Instant};

use ring_types::Timestamp;

pub(crate) use ring_store::wall;

/// A point in time, by both clocks of this host.
pub(crate) struct Look {
    steady: Instant,
    pub(crate) wall: Timestamp,
}

/// Why what was heard before proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This process did nothing for so long.
    StoodStill(Duration),
    /// The clock that signs of life are dated by was set, by so many milliseconds.
    ClockSet { millis: i64 },
}

impl Look {
    pub(crate) fn now() -> Self {
        Self { steady: Instant::now(), wall: wall() }
    }

    /// What happened between this look and the next that makes times of before worth nothing; less than `bound` does not.
    pub(crate) fn fault(&self, next: &Self, bound: Duration) -> Option<Fault> {
        let passed = next.steady.duration_since(self.steady);
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let set = next.wall.0.saturating_sub(self.wall.0).saturating_sub(millis(passed));
        if set.saturating_abs() > millis(bound) {
            return Some(Fault::ClockSet { millis: set });
        }
        (passed > bound).then_some(Fault::StoodStill(passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_told_from_a_process_that_stood_still() {
        let begun = Look { steady: Instant::now(), wall: Timestamp(1_000_000) };
        let later = |steady: u64, wall: i64| {
            let next = Look { steady: begun.steady + Duration::from_millis(steady), wall: Timestamp(1_000_000 + wall) };
            begun.fault(&next, Duration::from_secs(3))
        };
        assert_eq!(later(500, 500), None);
        assert_eq!(later(500, 3400), None, "within what a lease bears");
        assert_eq!(later(500, 300_500), Some(Fault::ClockSet { millis: 300_000 }));
        assert_eq!(later(500, -299_500), Some(Fault::ClockSet { millis: -300_000 }));
        assert_eq!(later(4000, 4000), Some(Fault::StoodStill(Duration::from_secs(4))));
    }
}
