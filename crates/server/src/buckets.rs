//! So many at once, then so many a second; each key has its own count.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys remembered; when there are more, those with the least go first.
const REMEMBERED: usize = 10_000;

/// How much is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// A second; 0: there is no bound.
    pub(crate) per_second: u32,
    /// At once, after a rest.
    pub(crate) burst: u32,
}

/// Counts of what came, in this process.
pub(crate) struct Buckets<K> {
    /// Time in which one is forgotten.
    refill: Duration,
    burst: u32,
    buckets: Mutex<HashMap<K, Bucket>>,
}

/// When the bucket would be empty again; each one that comes moves that further away.
#[derive(Clone, Copy)]
struct Bucket {
    empty_at: Instant,
}

impl<K: Eq + Hash> Buckets<K> {
    /// Empty ones of that rate.
    pub(crate) fn new(rate: Rate) -> Self {
        let refill = Duration::from_secs(1).checked_div(rate.per_second).unwrap_or_default();
        Self::refilled_in(refill, rate.burst.max(1))
    }

    /// Empty ones: `burst` at once, then one each `refill`.
    pub(crate) fn refilled_in(refill: Duration, burst: u32) -> Self {
        Self { refill, burst, buckets: Mutex::default() }
    }

    /// Counts one; or says how long to wait.
    pub(crate) fn take(&self, key: K) -> Result<(), Duration> {
        self.take_at([key], Instant::now())
    }

    /// Counts one of each key, or none.
    pub(crate) fn take_at<const N: usize>(&self, keys: [K; N], now: Instant) -> Result<(), Duration> {
        if self.refill.is_zero() {
            return Ok(());
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = self.refill * self.burst;
        let wait = keys.iter().filter_map(|key| {
            let level = buckets.get(key)?.empty_at.saturating_duration_since(now) + self.refill;
            level.checked_sub(full).filter(|over| !over.is_zero())
        });
        if let Some(wait) = wait.max() {
            return Err(wait);
        }
        if buckets.len() + keys.len() > REMEMBERED {
            make_room(&mut buckets, now);
        }
        for key in keys {
            let bucket = buckets.entry(key).or_insert(Bucket { empty_at: now });
            bucket.empty_at = bucket.empty_at.max(now) + self.refill;
        }
        Ok(())
    }

    /// What was counted last does not count.
    pub(crate) fn give_back(&self, keys: impl IntoIterator<Item = K>) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            if let Some(bucket) = buckets.get_mut(&key) {
                bucket.empty_at = bucket.empty_at.checked_sub(self.refill).unwrap_or(bucket.empty_at);
            }
        }
    }
}

/// Whole seconds a caller is told to wait.
pub(crate) fn seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1) as u64
}

fn make_room<K: Eq + Hash>(buckets: &mut HashMap<K, Bucket>, now: Instant) {
    buckets.retain(|_, bucket| bucket.empty_at > now);
    if buckets.len() < REMEMBERED {
        return;
    }
    let mut levels: Vec<_> = buckets.values().map(|bucket| bucket.empty_at).collect();
    levels.sort_unstable();
    let middle = levels[levels.len() / 2];
    buckets.retain(|_, bucket| bucket.empty_at > middle);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(buckets: &Buckets<u32>, key: u32, now: Instant) -> Result<(), Duration> {
        buckets.take_at([key], now)
    }

    #[test]
    fn a_burst_is_let_through_then_the_rate() {
        let (buckets, now) = (Buckets::new(Rate { per_second: 100, burst: 5 }), Instant::now());
        for _ in 0..5 {
            assert_eq!(taken(&buckets, 1, now), Ok(()));
        }
        assert_eq!(taken(&buckets, 1, now), Err(Duration::from_millis(10)));
        assert_eq!(taken(&buckets, 2, now), Ok(()), "another key has its own count");
        let later = now + Duration::from_millis(20);
        assert_eq!((taken(&buckets, 1, later), taken(&buckets, 1, later)), (Ok(()), Ok(())));
        assert!(taken(&buckets, 1, later).is_err());
        buckets.give_back([1]);
        assert_eq!(taken(&buckets, 1, later), Ok(()));
    }

    #[test]
    fn a_rate_of_none_is_no_bound() {
        let (buckets, now) = (Buckets::new(Rate { per_second: 0, burst: 0 }), Instant::now());
        assert!((0..10_000).all(|_| taken(&buckets, 1, now).is_ok()));
    }

    #[test]
    fn waits_are_told_in_whole_seconds() {
        assert_eq!([0, 1, 1000, 1001].map(|ms| seconds(Duration::from_millis(ms))), [1, 1, 1, 2]);
    }

    #[test]
    fn memory_is_bounded() {
        let (buckets, now) = (Buckets::new(Rate { per_second: 1, burst: 1 }), Instant::now());
        for key in 0..u32::try_from(REMEMBERED).unwrap() * 2 {
            let _ = taken(&buckets, key, now);
        }
        assert!(buckets.buckets.lock().unwrap().len() <= REMEMBERED);
    }
}
