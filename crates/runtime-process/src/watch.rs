//! Noticing that a process has ended, without asking again and again.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ring_runtime_host::proc::gone;
use ring_types::InstanceId;

use crate::driver::Shared;
use crate::observe::{State, observe};

/// How soon an instance is looked at again that is between two states.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Shared {
    /// Watches an instance until it has ended, once.
    pub(crate) fn watch(self: &Arc<Self>, instance: InstanceId) {
        if self.watched.lock().unwrap_or_else(PoisonError::into_inner).insert(instance) {
            let shared = Arc::clone(self);
            tokio::spawn(async move {
                let ended = shared.ended.clone();
                ended.run_until_cancelled(shared.watch_to_the_end(instance)).await;
                shared.watched.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance);
            });
        }
    }

    async fn watch_to_the_end(self: &Arc<Self>, instance: InstanceId) {
        loop {
            match self.observe(instance).await {
                // The supervisor ends after it has written the end down; without one the workload itself is watched.
                Ok(State::Running(starting, Some(started))) if !starting.shim.alive() => gone(started.process).await,
                Ok(State::Starting(starting) | State::Running(starting, _)) if starting.shim.alive() => {
                    gone(starting.shim).await;
                    self.changed(instance);
                }
                Ok(State::Starting(_) | State::Running(..)) => tokio::time::sleep(LOOK_AGAIN).await,
                Ok(State::Absent | State::Created | State::Exited(_)) => break,
                Err(error) => {
                    tracing::warn!(%instance, %error, "cannot watch an instance, trying again");
                    tokio::time::sleep(LOOK_AGAIN * 10).await;
                }
            }
        }
        self.changed(instance);
        let cgroup = self.cgroups.of(instance);
        // A failure is dealt with when the instance is removed.
        let removed = self.blocking(move |shared| {
            cgroup.remove();
            // What has ended needs no secrets any more.
            if matches!(observe(&shared.dir(instance)), Ok(State::Exited(_))) {
                shared.vault.forget(instance);
            }
            Ok(())
        });
        let _ = removed.await;
    }
}
