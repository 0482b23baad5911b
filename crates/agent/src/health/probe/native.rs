//! A check that the runtime makes by itself: it is asked what it has found since.

use ring_runtime::{NativeHealth, NativeProbe, NativeVerdict, RuntimeError};
use ring_types::Timestamp;

use super::{Found, Subject, line};
use crate::health::checks::Seen;

/// What the runtime has found since it was asked last.
pub(in crate::health) struct Native {
    pub(in crate::health) probes: Vec<(Timestamp, Timestamp, Found)>,
    /// It says that the check fails, and what it saw last.
    pub(in crate::health) unhealthy: Option<String>,
}

impl Native {
    /// Asks the runtime of the instance; None when it makes no checks of it.
    pub(in crate::health) async fn ask(subject: &Subject, after: Option<Timestamp>) -> Result<Option<Self>, RuntimeError> {
        let health = subject.runtime.health(subject.instance).await?;
        Ok(health.map(|health| Self::of(health, after)))
    }

    fn of(health: NativeHealth, after: Option<Timestamp>) -> Self {
        let last = health.probes.last().map(message);
        let unhealthy = (health.verdict == NativeVerdict::Unhealthy).then(|| last.unwrap_or_else(|| "unhealthy".to_owned()));
        let new = health.probes.into_iter().filter(|probe| after.is_none_or(|after| probe.started_at > after));
        Self { probes: new.map(found).collect(), unhealthy }
    }
}

/// A runtime that ended the command itself has no code of it.
fn message(probe: &NativeProbe) -> String {
    if probe.code < 0 { "no answer in time".to_owned() } else { format!("exit code {}", probe.code) }
}

fn found(probe: NativeProbe) -> (Timestamp, Timestamp, Found) {
    let seen = Seen { healthy: probe.code == 0, message: message(&probe) };
    (
        probe.started_at,
        probe.finished_at,
        Found { seen, written: line(probe.output.as_bytes()), late: probe.code < 0, counts: true },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_taken_and_the_verdict_stands() {
        let probe = |at, code| NativeProbe {
            started_at: Timestamp(at),
            finished_at: Timestamp(at + 5),
            code,
            output: "some\nwords ".into(),
        };
        let health = |verdict| NativeHealth { verdict, probes: vec![probe(1, 0), probe(2, 0), probe(3, 7)] };
        let native = Native::of(health(NativeVerdict::Healthy), Some(Timestamp(1)));
        let seen: Vec<_> = native.probes.iter().map(|(at, _, found)| (at.0, found.seen.healthy, found.text())).collect();
        let text = |code| format!("exit code {code}: some words");
        assert_eq!(seen, [(2, true, text(0)), (3, false, text(7))]);
        assert_eq!(native.unhealthy, None);
        let native = Native::of(health(NativeVerdict::Unhealthy), None);
        assert_eq!((native.probes.len(), native.unhealthy.as_deref()), (3, Some("exit code 7")));
        let nothing = NativeHealth { verdict: NativeVerdict::Starting, probes: Vec::new() };
        assert!(Native::of(nothing, None).unhealthy.is_none());
    }
}
