//! A runtime made of memory and a script, for tests of whoever drives a runtime.
//!
//! A [`FakeRuntime`] is a handle: what it holds outlives the agent under test, so an "agent restart" is a new agent on a clone
//! of the same handle. It records every call and counts executions, and it follows the rules of the trait: an instance that
//! was started once is never started again, whatever it is asked.

mod driver;
mod exec;
mod script;
mod world;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ring_types::{InstanceId, Outcome, RuntimeKind, Timestamp};
use tokio::sync::{broadcast, watch};

use crate::{Hint, LogLine, LogSource, Observed, Workload};

pub use script::{FakeCall, FakeExec, FakeScript, FakeStart};
use world::World;

/// Hints kept for a receiver that is slow; one that falls further behind is told [`Hint::Everything`].
const HINTS: usize = 256;

/// The scripted runtime. Clones are the same runtime.
#[derive(Clone)]
pub struct FakeRuntime {
    kind: RuntimeKind,
    world: Arc<Mutex<World>>,
    changed: Arc<watch::Sender<u64>>,
    hints: broadcast::Sender<Hint>,
}

impl fmt::Debug for FakeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeRuntime").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl FakeRuntime {
    /// A runtime that claims to be of `kind`, healthy, with nothing on it.
    pub fn new(kind: RuntimeKind) -> Self {
        Self { kind, world: Arc::default(), changed: Arc::new(watch::Sender::new(0)), hints: broadcast::Sender::new(HINTS) }
    }

    /// What will happen to one instance. Takes effect on calls that come after.
    pub fn script(&self, instance: InstanceId, script: FakeScript) {
        self.world().scripts.insert(instance, script);
        self.wake(None);
    }

    /// What happens to instances without a script of their own.
    pub fn script_default(&self, script: FakeScript) {
        self.world().default_script = script;
        self.wake(None);
    }

    /// Makes the runtime unusable with this problem, or usable again: meanwhile the probe tells it and every verb fails with
    /// [`crate::RuntimeErrorKind::Unavailable`]. What runs goes on running.
    pub fn set_problem(&self, problem: Option<&str>) {
        self.world().problem = problem.map(str::to_owned);
        self.wake(Some(Hint::Everything));
    }

    /// Fixes what the runtime's clock shows; without it, it is the system's.
    pub fn set_clock(&self, now: Timestamp) {
        self.world().clock = Some(now);
    }

    /// Lets a [`FakeScript::hold_prepare`] or [`FakeScript::hold_start`] of this instance go on, now or when it gets there.
    pub fn release(&self, instance: InstanceId) {
        self.world().released.insert(instance);
        self.wake(None);
    }

    /// Ends a running instance in this way. False when it was not running.
    pub fn finish(&self, instance: InstanceId, outcome: Outcome) -> bool {
        let ended = self.world().end(instance, outcome);
        self.wake(Some(Hint::Instance(instance)));
        ended
    }

    /// Takes an instance away behind the driver's back, as a hand with `docker rm -f` would.
    pub fn vanish(&self, instance: InstanceId) {
        self.world().instances.remove(&instance);
        self.wake(Some(Hint::Instance(instance)));
    }

    /// Adds a line to the output of an instance.
    pub fn print(&self, instance: InstanceId, source: LogSource, line: &str) {
        let mut world = self.world();
        let at = world.now();
        if let Some(found) = world.instances.get_mut(&instance) {
            found.lines.push(LogLine { at, source, line: Bytes::copy_from_slice(line.as_bytes()) });
        }
        drop(world);
        self.wake(None);
    }

    /// Every call so far, oldest first.
    pub fn calls(&self) -> Vec<FakeCall> {
        self.world().calls.clone()
    }

    /// What an instance was made of, secrets included; None when it was never prepared.
    pub fn workload(&self, instance: InstanceId) -> Option<Workload> {
        self.world().workloads.get(&instance).cloned()
    }

    /// How often the process of an instance was really executed. More than 1 is the fault this runtime exists to find.
    pub fn starts(&self, instance: InstanceId) -> u32 {
        self.world().starts.get(&instance).copied().unwrap_or(0)
    }

    /// How an instance is, without a call being recorded.
    pub fn observed(&self, instance: InstanceId) -> Observed {
        self.world().observed(instance)
    }

    /// Returns when a call for which `wanted` holds has been made, at once when it was made before.
    pub async fn called(&self, wanted: impl Fn(&FakeCall) -> bool + Send + Sync) {
        self.wait(|world| world.calls.iter().any(&wanted)).await;
    }

    /// Returns when the process of an instance is alive or has ended.
    pub async fn started(&self, instance: InstanceId) {
        self.wait(|world| world.starts.contains_key(&instance)).await;
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes everybody who waits inside the runtime, and gives `hint` to its users.
    fn wake(&self, hint: Option<Hint>) {
        self.changed.send_modify(|version| *version += 1);
        if let Some(hint) = hint {
            // Nobody listening is fine: whoever comes later starts with `Everything`.
            let _ = self.hints.send(hint);
        }
    }

    async fn wait(&self, mut ready: impl FnMut(&World) -> bool + Send) {
        let mut changes = self.changed.subscribe();
        while !ready(&self.world()) {
            // The sender lives as long as this handle, so this cannot fail.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
