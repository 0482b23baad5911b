//! What all clients of a run share: the cluster they ask, the clock, and the history they write.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use ring_testkit::Cluster;
use ring_testkit::history::{Deed, Event, Found};
use ring_testkit::http::Request;
use ring_testkit::work::new_key;
use serde_json::Value;

/// A client that has no answer by then gives up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two requests of a client.
const THINK: Duration = Duration::from_millis(60);
/// How long after the end of the run a request may still be repeated until its end is known.
const SETTLE: Duration = Duration::from_secs(90);

/// What came of a request.
pub(crate) enum Sent {
    /// It was done: the body, and the index.
    Done(Value, u64),
    /// It was refused, and not done.
    Refused(u16, String),
    /// No answer, or one that does not say.
    Unknown,
}

/// What clients share.
pub(crate) struct Load<'a> {
    pub(crate) cluster: &'a Cluster,
    begun: Instant,
    over: AtomicBool,
    /// When a request whose end is not known is given up: some time after it is over.
    given_up: Mutex<Option<Instant>>,
    /// Held by each request while it is under way; whoever wants silence takes all of it.
    turnstile: RwLock<()>,
    events: Mutex<Vec<Event>>,
    problems: Mutex<Vec<String>>,
    next: AtomicU64,
    /// Deployments that were ever applied by name, for readers.
    names: Mutex<Vec<String>>,
    counts: Mutex<BTreeMap<&'static str, usize>>,
}

impl<'a> Load<'a> {
    pub(crate) fn on(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            begun: Instant::now(),
            over: AtomicBool::new(false),
            given_up: Mutex::default(),
            turnstile: RwLock::new(()),
            events: Mutex::default(),
            problems: Mutex::default(),
            next: AtomicU64::new(1),
            names: Mutex::default(),
            counts: Mutex::default(),
        }
    }

    /// Nanoseconds since the beginning.
    pub(crate) fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// A number nobody had.
    pub(crate) fn fresh(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    /// It is over. When it went well, clients may still find out what became of their last requests.
    pub(crate) fn finish(&self, well: bool) {
        let end = Instant::now() + if well { SETTLE } else { Duration::ZERO };
        self.given_up.lock().unwrap().get_or_insert(end);
        self.over.store(true, Ordering::SeqCst);
    }

    /// A client goes on, after a moment.
    pub(crate) fn goes_on(&self) -> bool {
        thread::sleep(THINK);
        !self.over.load(Ordering::SeqCst)
    }

    /// Until it is dropped no client sends anything.
    pub(crate) fn silence(&self) -> RwLockWriteGuard<'_, ()> {
        self.turnstile.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self) -> RwLockReadGuard<'_, ()> {
        self.turnstile.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    pub(crate) fn wrong(&self, what: String) {
        self.problems.lock().unwrap().push(what);
    }

    pub(crate) fn known_as(&self, name: &str) {
        self.names.lock().unwrap().push(name.to_owned());
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.names.lock().unwrap().clone()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap().clone()
    }

    /// How many requests of each outcome there were.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.counts.lock().unwrap().clone()
    }

    /// One request to one control node.
    pub(crate) fn send(&self, control: usize, method: &str, path: &str, body: Option<&Value>, key: &str) -> Sent {
        let _under_way = self.pass();
        let request = self.cluster.control(control).http(method, path).bearer(self.cluster.token()).timeout(PATIENCE);
        let request = if method == "GET" { request } else { request.header("Idempotency-Key", key) };
        let answer = body.into_iter().fold(request, Request::json).send();
        let sent = match answer {
            Ok(answer) if answer.status < 300 => match answer.json() {
                Ok(body) => {
                    let labelled = answer.headers.get("ring-revision").and_then(|text| text.parse().ok());
                    // A change says it in the body: the header is what was known before.
                    let revision = if method == "GET" { labelled } else { body["revision"].as_u64() };
                    revision.map_or(Sent::Unknown, |revision| Sent::Done(body, revision))
                }
                Err(_) => Sent::Unknown,
            },
            Ok(answer) if answer.status >= 500 || answer.status == 408 || answer.status == 429 => Sent::Unknown,
            Ok(answer) => Sent::Refused(answer.status, answer.body),
            Err(_) => Sent::Unknown,
        };
        let outcome = match &sent {
            Sent::Done(..) => "done",
            Sent::Refused(..) => "refused",
            Sent::Unknown => "no answer",
        };
        *self.counts.lock().unwrap().entry(outcome).or_default() += 1;
        sent
    }

    pub(crate) fn some_control(&self, rng: &mut StdRng) -> usize {
        rng.random_range(0..self.cluster.controls().len())
    }

    /// A change, sent again under the same key to one control node after another until its end is known. `attempts` limits how
    /// often; without it only the end of the run does.
    pub(crate) fn change(&self, rng: &mut StdRng, request: &Change<'_>, attempts: Option<usize>) -> (Sent, usize) {
        let key = new_key();
        let mut tried = 0;
        loop {
            let sent = self.send(self.some_control(rng), request.method, &request.path, request.body, &key);
            tried += 1;
            let late = self.given_up.lock().unwrap().is_some_and(|end| Instant::now() > end);
            if !matches!(sent, Sent::Unknown) || attempts.is_some_and(|most| tried >= most) || late {
                return (sent, tried);
            }
            thread::sleep(THINK);
        }
    }

    /// Notes a change that was sent at `call`.
    pub(crate) fn note_change(&self, client: usize, name: &str, call: u64, value: Option<u64>, revision: Option<u64>) {
        let answer = revision.map(|_| self.now());
        self.note(Event { client, key: name.to_owned(), call, answer, deed: Deed::Write { value, revision } });
    }

    /// Notes what was read by a request that was sent at `call`.
    pub(crate) fn note_read(&self, client: usize, name: &str, call: u64, (revision, found, stale): (u64, Option<Found>, bool)) {
        let answer = Some(self.now());
        self.note(Event { client, key: name.to_owned(), call, answer, deed: Deed::Read { revision, found, stale } });
    }
}

/// Ends the load when it is dropped, also by a panic: threads that send would be waited for.
pub(crate) struct EndsLoad<'a, 'b>(pub(crate) &'a Load<'b>);

impl Drop for EndsLoad<'_, '_> {
    fn drop(&mut self) {
        self.0.finish(false);
    }
}

/// A request that changes something.
pub(crate) struct Change<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: String,
    pub(crate) body: Option<&'a Value>,
}
