//! What instances use: the runtime's counters, and the rate of two of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring_runtime::{InstanceStats, Runtime, RuntimeError};
use ring_types::InstanceId;

/// Between two measures that are taken for a rate.
const APART: Duration = Duration::from_secs(1);
/// An earlier measure serves for a rate while it is not older than this, milliseconds.
const LATELY: u64 = 30_000;

/// A measure, and how many thousandths of a processor were in use up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) stats: InstanceStats,
    pub(crate) cpu_millis: u64,
}

/// Measures instances. Holds one measure for each instance that was asked for; [`Sampler::forget`] lets go of it.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    last: Mutex<BTreeMap<InstanceId, InstanceStats>>,
}

impl Sampler {
    /// Measures an instance; twice, a second apart, unless it was measured within the last half minute.
    pub(crate) async fn measure(&self, runtime: &dyn Runtime, instance: InstanceId) -> Result<Usage, RuntimeError> {
        let first = runtime.stats(instance).await?;
        let earlier = self.last().insert(instance, first);
        if let Some(cpu_millis) = earlier.and_then(|earlier| rate(&earlier, &first)) {
            return Ok(Usage { stats: first, cpu_millis });
        }
        tokio::time::sleep(APART).await;
        let second = runtime.stats(instance).await?;
        if let Some(last) = self.last().get_mut(&instance) {
            *last = second;
        }
        Ok(Usage { stats: second, cpu_millis: rate(&first, &second).unwrap_or_default() })
    }

    /// The instance is not here any more.
    pub(crate) fn forget(&self, instance: InstanceId) {
        self.last().remove(&instance);
    }

    fn last(&self) -> MutexGuard<'_, BTreeMap<InstanceId, InstanceStats>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Thousandths of a processor in use between two measures; None when they are too close, too far apart or not of one process.
fn rate(earlier: &InstanceStats, later: &InstanceStats) -> Option<u64> {
    let apart = later.at.since(earlier.at).0;
    let used = later.cpu_time_us.checked_sub(earlier.cpu_time_us)?;
    // Microseconds of a processor in milliseconds of time: thousandths.
    (APART.as_millis() as u64 * 9 / 10..=LATELY).contains(&apart).then(|| used / apart)
}

#[cfg(test)]
mod tests {
    use ring_types::Timestamp;

    use super::*;

    #[test]
    fn a_rate_is_of_two_measures_of_one_process_not_long_ago() {
        let measure = |at, cpu_time_us| InstanceStats { at: Timestamp(at), cpu_time_us, ..InstanceStats::default() };
        let first = measure(10_000, 5_000_000);
        for (at, cpu, expected) in [
            (12_000, 6_000_000, Some(500)),
            (11_000, 7_000_000, Some(2_000)),
            (20_000, 5_000_000, Some(0)),
            (10_100, 5_100_000, None),
            (41_000, 6_000_000, None),
            (12_000, 1_000_000, None),
            (9_000, 6_000_000, None),
        ] {
            assert_eq!(rate(&first, &measure(at, cpu)), expected, "at {at}, cpu {cpu}");
        }
    }
}
