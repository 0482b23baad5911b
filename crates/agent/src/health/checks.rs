//! What the probes of one instance add up to. Pure: it has no clock, times are ages of the instance given from outside.
//!
//! - A check *fails* once `threshold` probes in a row that began after its `start_period` failed; one that passes ends it.
//! - A readiness check is *ready* once no probe failed for `min_healthy_time` after one that passed, and stays so until
//!   `threshold` in a row failed, whenever they began: `start_period` spares an instance from being replaced, it does not
//!   make one that does not answer fit for use.
//! - What was told before a restart of the agent holds for each check until probes say otherwise in the same way.

use ring_types::{FailingCheck, Health, HealthCheck, Span};

/// How long ago the process of the instance was started.
pub(crate) type Age = Span;

/// An interval below this counts as this.
pub(crate) const SHORTEST: Span = Span(100);
/// The first probe comes after one interval, and after this at the latest.
const FIRST: Span = Span::seconds(1);

/// What a probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) healthy: bool,
    /// What it was, in a few words without anything the instance wrote: it is replicated.
    pub(crate) message: String,
}

/// The checks of one instance.
#[derive(Debug)]
pub(crate) struct Checks {
    checks: Vec<Check>,
}

#[derive(Debug)]
struct Check {
    spec: HealthCheck,
    /// When it is probed next; None while a probe is under way.
    next: Option<Age>,
    /// Failures in a row, and those of them that count.
    failures: (u32, u32),
    /// No probe failed since.
    healthy_since: Option<Age>,
    ready: bool,
    /// What the failure saw that made it fail. Later ones change nothing: only changes of condition are told.
    failing: Option<String>,
}

impl Checks {
    /// Checks that begin now. `held` is what was told of them before.
    pub(crate) fn new(specs: &[HealthCheck], now: Age, held: Option<&Health>) -> Self {
        let check = |(place, spec): (usize, &HealthCheck)| {
            let failing = held.into_iter().flat_map(|held| &held.failing).find(|known| known.check as usize == place);
            Check {
                spec: spec.clone(),
                next: Some(Span(now.0 + interval(spec).min(FIRST).0)),
                failures: (0, 0),
                healthy_since: None,
                ready: !spec.readiness || held.is_some_and(|held| held.ready),
                failing: failing.map(|known| known.message.clone()),
            }
        };
        Self { checks: specs.iter().enumerate().map(check).collect() }
    }

    /// The checks to be probed now, by their place. They are under way until [`Checks::done`].
    pub(crate) fn due(&mut self, now: Age) -> Vec<usize> {
        let due = self.checks.iter_mut().enumerate().filter(|(_, check)| check.next.is_some_and(|next| next <= now));
        due.map(|(place, check)| {
            check.next = None;
            place
        })
        .collect()
    }

    /// When the next probe is due, or a check becomes ready by going on as it is.
    pub(crate) fn wake(&self) -> Option<Age> {
        self.checks.iter().flat_map(|check| [check.next, check.ready_from()]).flatten().min()
    }

    /// Probes a check as soon as none is under way.
    pub(crate) fn hurry(&mut self, place: usize, now: Age) {
        if let Some(check) = self.checks.get_mut(place) {
            check.next = check.next.map(|next| next.min(now));
        }
    }

    /// A probe of a check that began at `begun` has seen this by `now`.
    pub(crate) fn saw(&mut self, place: usize, (begun, now): (Age, Age), seen: &Seen) {
        let Some(check) = self.checks.get_mut(place) else { return };
        if seen.healthy {
            check.passed(now);
        } else {
            check.failed(begun, &seen.message);
        }
    }

    /// Whoever probes the check in our place says that it fails.
    pub(crate) fn condemned(&mut self, place: usize, message: &str) {
        let Some(check) = self.checks.get_mut(place) else { return };
        check.failures = (check.failures.0.max(check.spec.threshold), check.failures.1.max(check.spec.threshold));
        check.judge(message);
    }

    /// The probe that was under way since `begun` is over.
    pub(crate) fn done(&mut self, place: usize, begun: Age, now: Age) {
        if let Some(check) = self.checks.get_mut(place) {
            check.next = Some(Span((begun.0 + interval(&check.spec).0).max(now.0)));
        }
    }

    /// What it all says.
    pub(crate) fn health(&mut self, now: Age) -> Health {
        for check in &mut self.checks {
            check.ready |= check.ready_from().is_some_and(|from| from <= now);
        }
        let failing = self.checks.iter().zip(0..).filter_map(|(check, place)| {
            let message = check.failing.clone()?;
            Some(FailingCheck { check: place, message })
        });
        Health { ready: self.checks.iter().all(|check| check.ready), failing: failing.collect() }
    }
}

impl Check {
    fn passed(&mut self, now: Age) {
        self.failures = (0, 0);
        self.failing = None;
        self.healthy_since.get_or_insert(now);
    }

    fn failed(&mut self, begun: Age, message: &str) {
        self.healthy_since = None;
        self.failures.0 = self.failures.0.saturating_add(1);
        self.failures.1 = self.failures.1.saturating_add(u32::from(begun >= self.spec.start_period));
        self.judge(message);
    }

    fn judge(&mut self, message: &str) {
        let (all, counted) = self.failures;
        if all >= self.spec.threshold {
            self.healthy_since = None;
            self.ready = !self.spec.readiness;
        }
        if counted >= self.spec.threshold {
            self.failing.get_or_insert_with(|| message.to_owned());
        }
    }

    /// When it becomes ready if nothing fails until then.
    fn ready_from(&self) -> Option<Age> {
        let since = self.healthy_since.filter(|_| !self.ready)?;
        Some(Span(since.0 + self.spec.min_healthy_time.0))
    }
}

fn interval(spec: &HealthCheck) -> Span {
    spec.interval.max(SHORTEST)
}

#[cfg(test)]
mod tests;
