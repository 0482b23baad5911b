//! Counts of values by powers of two, in the place of the crate of the same name.
//!
//! openraft counts the sizes of its replication batches in a `Histogram` that nothing here reads: the feature that shows it
//! (`runtime-stats`) is off. The published crate sets up tables for every resolution it knows before the first value is counted,
//! 20 MB in each control node. This has what openraft uses without that feature, and what its name promises, in 65 counters.
//! See `docs/design/0014-a-small-histogram.md`.

use std::marker::PhantomData;

/// One counter for zero, and one for each highest bit.
const BUCKETS: usize = 65;

/// How often values of each magnitude came. `T` is what the published crate labels slots with; there are none here.
pub struct Histogram<T = ()> {
    counts: [u64; BUCKETS],
    label: PhantomData<fn() -> T>,
}

impl<T> Histogram<T> {
    /// One that has counted nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: [0; BUCKETS], label: PhantomData }
    }

    /// Counts a value.
    pub const fn record(&mut self, value: u64) {
        let bucket = (u64::BITS - value.leading_zeros()) as usize;
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
    }

    /// How many values were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Histogram<T> {
    fn clone(&self) -> Self {
        Self { counts: self.counts, label: PhantomData }
    }
}

impl<T> std::fmt::Debug for Histogram<T> {
    /// The counters that are not zero, by the smallest value of each.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let least = |bucket: usize| if bucket == 0 { 0 } else { 1_u64 << (bucket - 1) };
        let counted = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        f.debug_map().entries(counted.map(|(bucket, count)| (least(bucket), count))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn every_value_is_counted_by_its_highest_bit() {
        let mut counted = Histogram::<()>::new();
        for value in [0, 1, 2, 3, 4, 7, 8, u64::MAX] {
            counted.record(value);
        }
        assert_eq!(counted.total(), 8);
        assert_eq!(format!("{:?}", counted.clone()), format!("{{0: 1, 1: 1, 2: 2, 4: 2, 8: 1, {}: 1}}", 1_u64 << 63));
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Histogram>() <= 1024);
    }
}
