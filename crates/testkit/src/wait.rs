//! Waiting for something to become true, with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at again.
const PAUSE: Duration = Duration::from_millis(15);

/// Calls `probe` until it yields a value.
///
/// `Ok(None)` and `Err` both mean "not yet"; after `deadline` the last error becomes part of this function's own.
pub fn eventually<T>(deadline: Duration, what: &str, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match probe() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if start.elapsed() >= deadline {
            match last {
                Some(error) => return Err(error.context(format!("waited {deadline:?} for {what}"))),
                None => bail!("waited {deadline:?} for {what}: it did not happen"),
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// As [`eventually`], for a plain condition.
pub fn until(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    eventually(deadline, what, || Ok(condition().then_some(())))
}

/// Checks that a condition keeps holding for `time`; the error says when it stopped holding.
pub fn holds(time: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    loop {
        if !condition() {
            bail!("{what}: stopped holding after {:?}", start.elapsed());
        }
        if start.elapsed() >= time {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_reported() {
        let error = eventually::<()>(Duration::ZERO, "the moon", || bail!("cloudy")).unwrap_err();
        assert_eq!(format!("{error:#}"), "waited 0ns for the moon: cloudy");
    }

    #[test]
    fn a_later_value_is_returned() {
        let mut calls = 0;
        let value = eventually(Duration::from_secs(5), "three calls", || {
            calls += 1;
            Ok((calls == 3).then_some(calls))
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn a_condition_that_breaks_is_noticed() {
        let mut calls = 0;
        let result = holds(Duration::from_secs(5), "two calls", || {
            calls += 1;
            calls < 3
        });
        assert!(result.unwrap_err().to_string().starts_with("two calls: stopped holding"));
    }
}
