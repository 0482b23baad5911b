//! What the threads of the init share.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring_guest::{End, Failed, State, ToHost};
use rustix::process::Signal;

use super::exec::Execs;
use super::measure::Meter;
use super::output::Ring;
use super::reaper::Reaper;
use super::root::World;
use super::stage::Surroundings;

/// Another one after every boot, and for every stand-in.
const BOOT: &str = "/proc/sys/kernel/random/uuid";

/// The one guest.
pub(super) struct Guest {
    pub(super) world: World,
    pub(super) boot: String,
    pub(super) reaper: Reaper,
    pub(super) meter: Meter,
    inner: Mutex<Inner>,
    changed: Condvar,
}

/// Everything that changes.
pub(super) struct Inner {
    pub(super) phase: Phase,
    /// Number of the workload's process and when it was executed.
    pub(super) started: Option<(i32, u64)>,
    /// Signals that came before there was a process to send them to.
    pub(super) early: Vec<Signal>,
    pub(super) output: Ring,
    /// The host has the end.
    pub(super) acknowledged: bool,
    pub(super) session: Session,
}

/// What is known only as long as one connection.
#[derive(Default)]
pub(super) struct Session {
    /// Counts connections; what belongs to another one is dropped.
    pub(super) number: u64,
    /// Frames for the host that are not made from anything else here.
    pub(super) outbox: VecDeque<ToHost>,
    pub(super) execs: Execs,
    /// The host asked for figures.
    pub(super) measure: bool,
}

/// How far the workload is.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Nobody has said what to run.
    Waiting,
    /// Mounts are being made.
    Starting,
    /// It runs.
    Running(Arc<Surroundings>),
    /// Its process has ended; the rest is being ended and its output collected.
    Ending,
    /// It is over.
    Ended(End),
    /// It was not executed.
    Failed(Failed),
}

impl Guest {
    /// A guest that waits, or one that has failed already.
    pub(super) fn new(world: World, failed: Option<Failed>) -> Self {
        let boot = std::fs::read_to_string(BOOT).unwrap_or_default().trim().to_owned();
        let whole_machine = world.test.is_none();
        let inner = Inner {
            phase: failed.map_or(Phase::Waiting, Phase::Failed),
            started: None,
            early: Vec::new(),
            output: Ring::default(),
            acknowledged: false,
            session: Session::default(),
        };
        Self {
            world,
            boot,
            reaper: Reaper::default(),
            meter: Meter::new(whole_machine),
            inner: Mutex::new(inner),
            changed: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something and wakes everybody who waits for a change.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let told = change(&mut self.lock());
        self.changed.notify_all();
        told
    }

    /// Waits until there is something.
    pub(super) fn wait_for<T>(&self, mut look: impl FnMut(&mut Inner) -> Option<T>) -> T {
        let mut inner = self.lock();
        loop {
            if let Some(found) = look(&mut inner) {
                return found;
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until there is something, or for so long.
    pub(super) fn wait_within<T>(&self, limit: Duration, mut look: impl FnMut(&mut Inner) -> Option<T>) -> Option<T> {
        let mut found = None;
        let inner = self.lock();
        let waiting = self.changed.wait_timeout_while(inner, limit, |inner| {
            found = look(inner);
            found.is_none()
        });
        drop(waiting);
        found
    }

    /// A frame for the host, if this connection is still the one.
    pub(super) fn tell(&self, session: u64, message: ToHost) {
        self.change(|inner| {
            if inner.session.number == session {
                inner.session.outbox.push_back(message);
            }
        });
    }
}

impl Phase {
    pub(super) const fn state(&self) -> State {
        match self {
            Self::Waiting => State::Waiting,
            Self::Starting | Self::Running(_) | Self::Ending => State::Started,
            Self::Ended(_) => State::Ended,
            Self::Failed(_) => State::Failed,
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
