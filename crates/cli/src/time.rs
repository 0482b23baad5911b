//! The clock of this program, and how times are shown.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring_types::{Span, Timestamp};

/// Now.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A time in a table: UTC, to the second.
pub(crate) fn shown(time: Timestamp) -> String {
    let text = time.to_string();
    text.get(..19).map_or_else(|| text.clone(), |seconds| seconds.replace('T', " "))
}

/// How long ago a time was, in one unit.
pub(crate) fn age(now: Timestamp, time: Timestamp) -> String {
    let seconds = now.0.saturating_sub(time.0).max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `10m` (that long ago) or an RFC 3339 time.
pub(crate) fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(span) = text.parse::<Span>() {
        return Ok(now() - span);
    }
    text.parse::<Timestamp>().map_err(|_| format!("'{text}' is neither a duration such as 10m nor an RFC 3339 time"))
}

/// A duration with its unit.
pub(crate) fn span(text: &str) -> Result<Span, String> {
    text.parse::<Span>().map_err(|error| error.to_string())
}

/// How long something took, for people.
pub(crate) fn took(span: Span) -> String {
    let seconds = span.0 / 1000;
    match seconds {
        0 => format!("{}ms", span.0),
        1..60 => format!("{}.{}s", seconds, span.0 % 1000 / 100),
        _ => Span::seconds(seconds).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_for_people() {
        assert_eq!(shown(Timestamp(1_776_000_000_123)), "2026-04-12 13:20:00");
        assert_eq!((took(Span(80)), took(Span(3_250)), took(Span(61_000))), ("80ms".into(), "3.2s".into(), "61s".into()));
        assert_eq!(since("2026-04-12T13:20:00Z"), Ok(Timestamp(1_776_000_000_000)));
        assert!(since("yesterday").is_err());
        let ages = [-5, 90, 3_600, 90_000, 400_000].map(|seconds| age(Timestamp(seconds * 1_000), Timestamp(0)));
        assert_eq!(ages, ["0s", "90s", "60m", "25h", "4d"]);
        assert!(now() - since("1h").unwrap().since(Timestamp(0)) >= Timestamp(3_600_000 - 5_000));
    }
}
