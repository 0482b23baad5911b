//! Ending an instance, and taking it away.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ring_guest::ToGuest;
use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::{InstanceId, Span};
use tokio::time::timeout;

use crate::driver::{Shared, remove_all};
use crate::layout::REMOVING;
use crate::machine::{Ask, Handle, Stage};
use crate::observe::State;
use crate::order;
use crate::record::{self, Boot, Killed, Record};

/// A workload that was killed has ended by then.
const AFTER_KILL: Duration = Duration::from_secs(3);

/// From the end of a workload to nothing being left of its VM: the guest powers off, the VMM is asked, the VMM is killed.
const AWAY: Duration = Duration::from_secs(30);

/// A guest that was told to start has answered by then.
const UNDER_WAY: Duration = Duration::from_secs(10);

impl Shared {
    /// Asks the workload to end, kills it after the grace, and returns when its VM is gone.
    pub(crate) async fn stop(self: &Arc<Self>, instance: InstanceId, grace: Span) -> Result<(), RuntimeError> {
        let Some(handle) = self.watched(instance).await? else { return Ok(()) };
        let begun = handle.stage.borrow().clone();
        if matches!(begun, Stage::Starting) {
            // A signal in the middle of a start would reach nobody.
            let _ = timeout(UNDER_WAY, handle.until(Stage::is_decided)).await;
        }
        // A guest that was never told to start has nobody who could be asked.
        if !matches!(begun, Stage::Booting) && !handle.stage.borrow().is_over() {
            self.ask_to_end(instance, &handle, grace.duration()).await?;
        }
        if !handle.stage.borrow().is_over() {
            self.kill(instance, &handle).await?;
        }
        if timeout(AWAY, handle.until(Stage::is_gone)).await.is_ok() {
            return Ok(());
        }
        let message = format!("the VM of instance {instance} is still there {} seconds after it was ended", AWAY.as_secs());
        Err(RuntimeError::new(RuntimeErrorKind::Other, message))
    }

    /// The machine of an instance; None when nothing of it runs. One that is being found again is waited for.
    async fn watched(self: &Arc<Self>, instance: InstanceId) -> Result<Option<Handle>, RuntimeError> {
        let finding = async {
            loop {
                if let Some(handle) = self.machine(instance) {
                    return Ok(Some(handle));
                }
                if !matches!(self.observe(instance).await?, State::Starting | State::Running(_)) {
                    return Ok(None);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(UNDER_WAY, finding).await.unwrap_or_else(|_| {
            let message = format!("instance {instance} runs and cannot be watched now, try again");
            Err(RuntimeError::new(RuntimeErrorKind::Unavailable, message))
        })
    }

    async fn ask_to_end(self: &Arc<Self>, instance: InstanceId, handle: &Handle, grace: Duration) -> Result<(), RuntimeError> {
        let path = self.dir(instance).record();
        let Some(record) = self.blocking(move |_| record::read::<Record>(&path)).await? else { return Ok(()) };
        if matches!(record.boot, Boot::Disk(_)) {
            // Nobody knows whether the guest listens; after the grace it does not matter.
            let _ = timeout(grace, self.api(&self.dir(instance)).power_button()).await;
            let _ = timeout(grace, handle.until(Stage::is_over)).await;
            return Ok(());
        }
        let polite = Ask::Say(ToGuest::Stop { signal: order::stop_signal(&record) });
        for (ask, patience) in [(polite, grace), (Ask::Say(ToGuest::Kill), AFTER_KILL)] {
            // Without a machine it is over.
            let _ = handle.asks.send(ask).await;
            if timeout(patience, handle.until(Stage::is_over)).await.is_ok() {
                break;
            }
        }
        Ok(())
    }

    /// Written down before it is done, so that an agent that comes after this one knows how it ended.
    async fn kill(self: &Arc<Self>, instance: InstanceId, handle: &Handle) -> Result<(), RuntimeError> {
        let path = self.dir(instance).killed();
        self.blocking(move |_| record::write(&path, &Killed { at: ring_runtime::now() })).await?;
        let _ = handle.asks.send(Ask::Kill).await;
        Ok(())
    }

    /// Takes an instance away that does not run. The caller holds its lock.
    pub(crate) async fn remove(self: &Arc<Self>, instance: InstanceId) -> Result<(), RuntimeError> {
        let machine = self.machine(instance);
        match (self.observe(instance).await?, &machine) {
            (State::Starting | State::Running(_), _) | (State::Created, Some(_)) => return Err(runs(instance)),
            _ => {}
        }
        if let Some(handle) = machine {
            // It has ended, and what is left of its VM is about to go.
            let _ = timeout(AWAY, handle.until(Stage::is_gone)).await;
        }
        self.sweep(instance).await?;
        self.release(instance);
        self.blocking(move |shared| shared.remove_files(instance)).await?;
        self.changed(instance);
        Ok(())
    }

    /// The directory gets another name first, so that a removal that is cut off leaves nothing that looks like an instance.
    fn remove_files(&self, instance: InstanceId) -> io::Result<()> {
        self.vault.forget(instance);
        let doomed = self.config.instances().join(format!("{REMOVING}{instance}"));
        match fs::rename(self.dir(instance).path(), &doomed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        remove_all(&doomed)
    }
}

fn runs(instance: InstanceId) -> RuntimeError {
    let message = format!("instance {instance} runs: stop it before it is removed");
    RuntimeError::new(RuntimeErrorKind::Other, message)
}
