//! Counts of values by powers of two, in the place of the crate of the same name.
//!
//! openraft counts sizes and times in histograms that nothing here reads: the feature that shows them (`runtime-stats`) is
//! off. The published crate sets up tables for every resolution it knows before the first value is counted, 20 MB in each
//! control node. This has what openraft compiles without that feature, in 65 counters. See
//! `docs/design/0014-a-small-histogram.md`.

use std::fmt;
use std::marker::PhantomData;

/// One counter for zero, and one for each highest bit.
const BUCKETS: usize = 65;

/// How often values of each magnitude came. `T` is what the published crate labels slots with; there are none here.
pub struct Histogram<T = ()> {
    counts: [u64; BUCKETS],
    label: PhantomData<fn() -> T>,
}

/// How the values are spread: below each of these is that share of them. Each is the largest value of its magnitude.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PercentileStats {
    /// Values.
    pub samples: u64,
    /// A thousandth.
    pub p0_1: u64,
    /// A hundredth.
    pub p1: u64,
    /// A twentieth.
    pub p5: u64,
    /// A tenth.
    pub p10: u64,
    /// Half.
    pub p50: u64,
    /// Nine tenths.
    pub p90: u64,
    /// All but a hundredth.
    pub p99: u64,
    /// All but a thousandth.
    pub p99_9: u64,
}

/// Several histograms under each other, as text.
#[derive(Clone, Debug, Default)]
pub struct AsciiChart(Vec<(String, Histogram)>);

impl<T> Histogram<T> {
    /// One that has counted nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: [0; BUCKETS], label: PhantomData }
    }

    /// Counts a value.
    pub const fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value that came `n` times.
    pub const fn record_n(&mut self, value: u64, n: u64) {
        let bucket = (u64::BITS - value.leading_zeros()) as usize;
        self.counts[bucket] = self.counts[bucket].saturating_add(n);
    }

    /// How many values were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How the values are spread.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        let of = |thousandths| self.below(thousandths);
        PercentileStats {
            samples: self.total(),
            p0_1: of(1),
            p1: of(10),
            p5: of(50),
            p10: of(100),
            p50: of(500),
            p90: of(900),
            p99: of(990),
            p99_9: of(999),
        }
    }

    /// The largest value of the magnitude at which so many thousandths of the values are reached; 0 without values.
    fn below(&self, thousandths: u64) -> u64 {
        let wanted = (u128::from(self.total()) * u128::from(thousandths)).div_ceil(1000);
        let mut seen = 0;
        let reached = self.counts.iter().position(|count| {
            seen += u128::from(*count);
            seen >= wanted
        });
        reached.map_or(0, most)
    }
}

/// The smallest value a counter counts.
const fn least(bucket: usize) -> u64 {
    if bucket == 0 { 0 } else { 1 << (bucket - 1) }
}

/// The largest.
const fn most(bucket: usize) -> u64 {
    if bucket == 0 { 0 } else { u64::MAX >> (BUCKETS - 1 - bucket) }
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

impl<T> PartialEq for Histogram<T> {
    fn eq(&self, other: &Self) -> bool {
        self.counts == other.counts
    }
}

impl<T> Eq for Histogram<T> {}

impl<T> fmt::Debug for Histogram<T> {
    /// The counters that are not zero, by the smallest value of each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        f.debug_map().entries(counted.map(|(bucket, count)| (least(bucket), count))).finish()
    }
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p50, p90, p99, p99_9, .. } = self;
        write!(f, "n={samples} p50={p50} p90={p90} p99={p99} p99.9={p99_9}")
    }
}

impl AsciiChart {
    /// One without histograms.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The same with one more below.
    #[must_use]
    #[allow(clippy::should_implement_trait, reason = "the published crate calls it so")]
    pub fn add(mut self, name: &str, histogram: Histogram) -> Self {
        self.0.push((name.to_owned(), histogram));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, histogram)| writeln!(f, "{name}: {histogram:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{AsciiChart, Histogram, PercentileStats};

    #[test]
    fn every_value_is_counted_by_its_highest_bit() {
        let mut counted = Histogram::<()>::new();
        for value in [0, 1, 2, 3, 4, 7, 8, u64::MAX] {
            counted.record(value);
        }
        assert_eq!(counted.total(), 8);
        let shown = format!("{{0: 1, 1: 1, 2: 2, 4: 2, 8: 1, {}: 1}}", 1_u64 << 63);
        assert_eq!(format!("{:?}", counted.clone()), shown);
        assert_eq!(AsciiChart::new().add("sizes", counted).to_string(), format!("sizes: {shown}\n"));
    }

    #[test]
    fn percentiles_are_the_end_of_their_magnitude() {
        assert_eq!(Histogram::<()>::new().percentile_stats(), PercentileStats::default());
        let mut counted = Histogram::<()>::new();
        counted.record_n(5, 90);
        counted.record_n(1000, 9);
        counted.record(u64::MAX);
        let found = counted.percentile_stats();
        assert_eq!((found.samples, found.p0_1, found.p50, found.p90), (100, 7, 7, 7));
        assert_eq!((found.p99, found.p99_9), (1023, u64::MAX));
        assert_eq!(found.to_string(), format!("n=100 p50=7 p90=7 p99=1023 p99.9={}", u64::MAX));
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Histogram>() <= 1024);
    }
}
