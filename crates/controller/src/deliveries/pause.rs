//! How often a delivery is tried, and how long between two attempts.

use std::time::Duration;

use ring_types::Span;

/// How deliveries are made.
#[derive(Clone, Debug)]
pub struct DeliveryOptions {
    /// Attempts, the first included; after the last one it is a dead letter.
    pub attempts: u32,
    /// Pause after the first attempt that failed; each next one is twice as long.
    pub first_pause: Span,
    /// No pause is longer.
    pub longest_pause: Span,
    /// Results are gathered this long before they are committed.
    pub settle_after: Duration,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self {
            attempts: 20,
            first_pause: Span::seconds(2),
            longest_pause: Span::seconds(3600),
            settle_after: Duration::from_millis(100),
        }
    }
}

impl DeliveryOptions {
    /// The pause after so many attempts failed: half of it at least, the rest by chance, so that what failed at the same time is
    /// not tried again at the same time.
    pub(super) fn pause(&self, failed: u32) -> Span {
        let whole = self.whole_pause(failed).0;
        Span(whole / 2 + rand::random_range(0..=whole - whole / 2))
    }

    /// How long a receiver is left alone that asks for it: not longer than any pause is.
    pub(super) fn bounded(&self, asked: Span) -> Span {
        asked.min(self.longest_pause)
    }

    fn whole_pause(&self, failed: u32) -> Span {
        let doubled = 1_u64.checked_shl(failed.saturating_sub(1)).unwrap_or(u64::MAX);
        Span(self.first_pause.0.saturating_mul(doubled).min(self.longest_pause.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_vary() {
        let options = DeliveryOptions::default();
        let seconds: Vec<_> = (1..20).map(|failed| options.whole_pause(failed).0 / 1000).collect();
        let mut wanted: Vec<u64> = (1..=11).map(|n| 1 << n).collect();
        wanted.extend([3600; 8]);
        assert_eq!(seconds, wanted);
        for failed in [1, 5, 19, 64, 65, u32::MAX] {
            let whole = options.whole_pause(failed).0;
            assert!((0..100).map(|_| options.pause(failed).0).all(|pause| (whole / 2..=whole).contains(&pause)), "{failed}");
        }
        assert!((0..100).map(|_| options.pause(19).0).collect::<std::collections::BTreeSet<_>>().len() > 1);
    }

    #[test]
    fn all_attempts_together_take_hours() {
        let options = DeliveryOptions::default();
        let whole: u64 = (1..options.attempts).map(|failed| options.whole_pause(failed).0).sum();
        assert_eq!(whole / 1000, 4094 + 8 * 3600);
    }
}
