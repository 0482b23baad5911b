//! Ending an instance.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::{InstanceId, Span};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::time::{Instant, timeout, timeout_at};

use crate::driver::Shared;
use crate::layout::InstanceDir;
use crate::observe::{State, observe};
use crate::record::{self, Started, Starting};
use ring_runtime_host::proc;

/// A process that was killed is gone at once unless it hangs in the kernel.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// Looked at again after this long even without a notice.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

impl Shared {
    /// SIGTERM, grace, SIGKILL.
    pub(crate) async fn stop(self: &Arc<Self>, instance: InstanceId, grace: Span) -> Result<(), RuntimeError> {
        // A start that is under way is over in milliseconds; a signal in the middle of it would reach nobody.
        self.settle(instance).await?;
        if !self.signal(instance, Signal::TERM).await? || self.gone_within(instance, grace.duration()).await? {
            return Ok(());
        }
        if !self.signal(instance, Signal::KILL).await? || self.gone_within(instance, AFTER_KILL).await? {
            return Ok(());
        }
        let message = format!("instance {instance} is still there {} seconds after it was killed", AFTER_KILL.as_secs());
        Err(RuntimeError::new(RuntimeErrorKind::Other, message))
    }

    /// Sends a signal to everything of an instance that can be reached. False when nothing of it runs.
    async fn signal(self: &Arc<Self>, instance: InstanceId, signal: Signal) -> Result<bool, RuntimeError> {
        let dir = self.dir(instance);
        self.blocking(move |shared| match observe(&dir)? {
            State::Absent | State::Created | State::Exited(_) => Ok(false),
            // Its supervisor has not said what it executed: there is nothing to signal.
            State::Starting(_) => Ok(true),
            State::Running(starting, started) => {
                shared.send(&dir, &starting, started.as_ref(), signal);
                Ok(true)
            }
        })
        .await
    }

    fn send(&self, dir: &InstanceDir, starting: &Starting, started: Option<&Started>, signal: Signal) {
        // The number of a group stays taken as long as its leader is there.
        if let Some(group) = started.filter(|s| s.process.alive()).and_then(|s| s.process.raw()) {
            let _ = kill_process_group(group, signal);
        }
        let mut others: Vec<i32> = Vec::new();
        if !starting.shim.alive() {
            others.extend(proc::session_of(starting.shim).iter().map(|id| id.pid));
        }
        if signal == Signal::KILL {
            others.extend(dir.instance().map(|instance| self.cgroups.of(instance).processes()).unwrap_or_default());
        }
        for pid in others.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills what an instance without a supervisor may have left and waits until it is gone, so that nothing outlives its
    /// removal.
    pub(crate) fn end_leftovers(&self, dir: &InstanceDir) -> io::Result<()> {
        let Some(starting) = record::read::<Starting>(&dir.starting())?.filter(|starting| starting.boot == proc::boot_id())
        else {
            return Ok(());
        };
        let begun = std::time::Instant::now();
        while !proc::session_of(starting.shim).is_empty() && begun.elapsed() < AFTER_KILL {
            self.send(dir, &starting, None, Signal::KILL);
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    async fn gone_within(self: &Arc<Self>, instance: InstanceId, patience: Duration) -> Result<bool, RuntimeError> {
        let deadline = Instant::now() + patience;
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let state = self.observe(instance).await?;
            if !matches!(state, State::Starting(_) | State::Running(..)) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            // Either way it is looked at again.
            let _ = timeout_at(deadline, timeout(LOOK_AGAIN, changes.changed())).await;
        }
    }
}
