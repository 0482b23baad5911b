//! Probes the checks of one instance for as long as it runs, each check on its own: one that hangs delays no other.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use ring_runtime::now;
use ring_types::{Health, HealthCheck, Span, Timestamp};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::checks::{Age, Checks};
use super::history::{History, ProbeResult};
use super::probe::{Found, Native, Subject, probe};
use crate::mailbox::{Mailbox, short};

/// After a fault of its own a prober begins again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// Changes of one instance are told no closer than this: a check that flickers does not flood the cluster's log.
const QUIET: Duration = Duration::from_secs(1);

/// The probing of one instance; ends when it is dropped. A fault of its own is logged, and it begins again.
pub(crate) struct Prober {
    hurry: Arc<Notify>,
    _task: AbortOnDropHandle<()>,
}

impl Prober {
    /// Begins to probe. `held` is what was told of the instance before; what changes of it goes to `mailbox`.
    pub(crate) fn start(subject: Subject, held: Option<Health>, history: Arc<History>, mailbox: Arc<Mailbox>) -> Self {
        let hurry = Arc::<Notify>::default();
        let probing = Probing { subject: Arc::new(subject), history, mailbox, hurry: Arc::clone(&hurry) };
        let task = tokio::spawn(async move {
            let mut held = held;
            while AssertUnwindSafe(probing.run(&mut held)).catch_unwind().await.is_err() {
                tracing::error!(instance = short(probing.subject.instance), "its health checks failed by a fault of the agent");
                tokio::time::sleep(AGAIN).await;
            }
        });
        Self { hurry, _task: AbortOnDropHandle::new(task) }
    }

    /// The runtime has something new to say.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_one();
    }
}

struct Probing {
    subject: Arc<Subject>,
    history: Arc<History>,
    mailbox: Arc<Mailbox>,
    hurry: Arc<Notify>,
}

/// What came of one turn of a check.
struct Turn {
    place: usize,
    begun: Timestamp,
    found: Outcome,
}

enum Outcome {
    Probed(Span, Found),
    Native(Native),
}

impl Probing {
    /// Never returns.
    async fn run(&self, told: &mut Option<Health>) {
        let specs = &self.subject.spec.health_checks;
        let clock = Clock::of(&self.subject);
        let mut checks = Checks::new(specs, clock.age(), told.as_ref());
        let (mut heard, mut quiet) = (None, Instant::now());
        let mut turns: FuturesUnordered<BoxFuture<'_, Turn>> = FuturesUnordered::new();
        let native = self.subject.spec.native_check().map(|(place, _)| place);
        if told.is_none() {
            // What is taken for granted of an instance nothing was told of.
            *told = Some(checks.health(clock.age()));
        }
        loop {
            for place in checks.due(clock.age()) {
                turns.push(self.turn(place, &specs[place], heard).boxed());
            }
            let later = self.tell(checks.health(clock.age()), told, &mut quiet);
            let wake = checks.wake().map(|age| clock.at(age)).into_iter().chain(later).min();
            tokio::select! {
                Some(turn) = turns.next() => {
                    heard = self.absorb(&mut checks, turn, clock.age()).or(heard);
                }
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                () = self.hurry.notified() => if let Some(place) = native {
                    checks.hurry(place, clock.age());
                },
            }
        }
    }

    async fn turn(&self, place: usize, check: &HealthCheck, heard: Option<Timestamp>) -> Turn {
        let (begun, from) = (now(), Instant::now());
        if self.subject.spec.native_check().is_some_and(|(native, _)| native == place)
            && let Some(native) = self.native(check, heard).await
        {
            return Turn { place, begun, found: native };
        }
        let found = probe(&self.subject, check).await;
        let took = Span(from.elapsed().as_millis() as u64);
        Turn { place, begun, found: Outcome::Probed(took, found) }
    }

    /// What the runtime found; None when it makes no checks of this instance.
    async fn native(&self, check: &HealthCheck, heard: Option<Timestamp>) -> Option<Outcome> {
        match timeout(check.timeout.duration(), Native::ask(&self.subject, heard)).await {
            Ok(Ok(native)) => native.map(Outcome::Native),
            Ok(Err(error)) => Some(Outcome::Probed(Span::ZERO, Found::refused(error))),
            Err(_) => Some(Outcome::Probed(check.timeout, Found::silent(&self.subject, check.timeout))),
        }
    }

    /// Takes in what a turn found. Gives when the newest probe that the runtime told of began.
    fn absorb(&self, checks: &mut Checks, turn: Turn, age: Age) -> Option<Timestamp> {
        let Turn { place, begun, found } = turn;
        let mut heard = None;
        match found {
            Outcome::Probed(took, found) => {
                let began = Span(age.0.saturating_sub(took.0));
                if found.counts {
                    checks.saw(place, (began, age), &found.seen);
                }
                self.record(place, begun, took, &found);
                checks.done(place, began, age);
            }
            Outcome::Native(native) => {
                for (at, until, found) in native.probes {
                    checks.saw(place, (self.subject.age(at), self.subject.age(until)), &found.seen);
                    self.record(place, at, until.since(at), &found);
                    heard = heard.max(Some(at));
                }
                if let Some(message) = native.unhealthy {
                    checks.condemned(place, &message);
                }
                checks.done(place, age, age);
            }
        }
        heard
    }

    fn record(&self, place: usize, at: Timestamp, took: Span, found: &Found) {
        let (check, healthy) = (place as u32, found.seen.healthy);
        self.history.add(ProbeResult { at, check, healthy, took, message: found.text(), late: found.late });
    }

    /// Tells what has changed. Not before `quiet` is over: then that is given, and whatever is true by then is told.
    fn tell(&self, health: Health, told: &mut Option<Health>, quiet: &mut Instant) -> Option<Instant> {
        if told.as_ref() == Some(&health) {
            return None;
        }
        let now = Instant::now();
        if *quiet > now {
            return Some(*quiet);
        }
        *quiet = now + QUIET;
        let failing: Vec<_> = health.failing.iter().map(|failing| failing.message.as_str()).collect();
        tracing::info!(instance = short(self.subject.instance), ready = health.ready, ?failing, "its health has changed");
        self.mailbox.put(|news| news.health = Some(health.clone()));
        *told = Some(health);
        None
    }
}

/// Ages of the instance by a clock that only goes forward.
struct Clock {
    begun: Instant,
    age: Age,
}

impl Clock {
    fn of(subject: &Subject) -> Self {
        Self { begun: Instant::now(), age: subject.age(now()) }
    }

    fn age(&self) -> Age {
        Span(self.age.0 + self.begun.elapsed().as_millis() as u64)
    }

    fn at(&self, age: Age) -> Instant {
        self.begun + Duration::from_millis(age.0.saturating_sub(self.age.0))
    }
}
