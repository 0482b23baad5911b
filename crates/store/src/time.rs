//! The cluster's time: the leader's clock, and never before what is in the log already.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ring_types::Timestamp;

use crate::lock::Mutex;

/// While the log is ahead of this host's clock, the cluster's time takes so much longer for everything: one part in so many.
const SLOWER: u32 = 8;

/// The time a leader gives to entries and decides by.
///
/// A leader whose clock was ahead leaves entries from what is the future for its successor, or for itself once its clock is
/// right. Time that stood still until then would hold up whatever waits for a moment: the pause before the next attempt of a
/// job, a time limit. So it goes on by the steady clock of the host from the latest entry, an eighth slower than real time,
/// until this host's clock has caught up. Slower and never faster: what is given up after a time is not given up early.
#[derive(Default)]
pub(crate) struct ClusterTime(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The latest time that was told: it never goes back, whether or not an entry has it.
    told: Timestamp,
    ahead: Option<Ahead>,
}

/// The latest entry was ahead of this host's clock.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    /// When that was seen.
    seen: Instant,
    /// The latest entry then.
    latest: Timestamp,
}

impl Ahead {
    fn at(self, now: Instant) -> Timestamp {
        let passed = now.saturating_duration_since(self.seen);
        self.latest + (passed / SLOWER * (SLOWER - 1)).into()
    }
}

impl ClusterTime {
    /// Now, with `latest` as the time of the latest entry that this member knows of.
    pub(crate) fn now(&self, latest: Timestamp) -> Timestamp {
        self.at(wall(), Instant::now(), latest)
    }

    fn at(&self, wall: Timestamp, steady: Instant, latest: Timestamp) -> Timestamp {
        let mut inner = self.0.lock();
        let latest = latest.max(inner.told);
        // Another leader may have gone on meanwhile, by a faster clock.
        let from = inner.ahead.filter(|ahead| ahead.at(steady) >= latest).unwrap_or(Ahead { seen: steady, latest });
        let slow = from.at(steady);
        inner.ahead = (wall < slow).then_some(from);
        inner.told = wall.max(slow);
        inner.told
    }
}

/// The time of day, by this host's clock: for what the log does not date. It may be behind the log, or jump.
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LATEST: Timestamp = Timestamp(1_000_000);

    #[test]
    fn it_is_the_clock_of_the_host_while_that_is_ahead_of_the_log() {
        let (time, begun) = (ClusterTime::default(), Instant::now());
        assert_eq!(time.at(Timestamp(1_000_500), begun, LATEST), Timestamp(1_000_500));
        assert_eq!(time.at(LATEST, begun, LATEST), Timestamp(1_000_500), "it never goes back");
        assert_eq!(ClusterTime::default().at(LATEST, begun, LATEST), LATEST);
    }

    #[test]
    fn with_the_log_ahead_it_goes_on_slower_until_the_clock_has_caught_up() {
        let (time, begun) = (ClusterTime::default(), Instant::now());
        // Five minutes behind; each step a second, the latest entry is what was told last.
        let mut latest = LATEST;
        let mut caught_up = None;
        for second in 0..3600_u64 {
            let wall = Timestamp(LATEST.0 - 300_000 + 1000 * second as i64);
            let now = time.at(wall, begun + Duration::from_secs(second), latest);
            assert!(now >= latest, "it went back from {latest} to {now}");
            if now == wall && caught_up.is_none() {
                caught_up = Some(second);
            } else if caught_up.is_none() {
                assert_eq!(now, Timestamp(LATEST.0 + 875 * second as i64));
            }
            latest = now;
        }
        assert_eq!(caught_up, Some(8 * 300), "an eighth of the time makes up for it");
    }

    #[test]
    fn entries_of_a_faster_leader_are_followed() {
        let (time, begun) = (ClusterTime::default(), Instant::now());
        let wall = Timestamp(0);
        assert_eq!(time.at(wall, begun, LATEST), LATEST);
        let later = begun + Duration::from_secs(8);
        assert_eq!(time.at(wall, later, Timestamp(1_100_000)), Timestamp(1_100_000));
        assert_eq!(time.at(wall, later + Duration::from_secs(8), LATEST), Timestamp(1_107_000));
    }

    #[test]
    fn a_clock_that_is_set_right_again_does_not_take_it_back() {
        let (time, begun) = (ClusterTime::default(), Instant::now());
        assert_eq!(time.at(Timestamp(0), begun, LATEST), LATEST);
        let later = begun + Duration::from_secs(80);
        assert_eq!(time.at(Timestamp(0), later, LATEST), Timestamp(1_070_000));
        // Beyond the latest entry, and not yet beyond what was told.
        assert_eq!(time.at(Timestamp(1_050_000), later, LATEST), Timestamp(1_070_000));
        assert_eq!(time.at(Timestamp(1_080_000), later, LATEST), Timestamp(1_080_000));
    }
}
