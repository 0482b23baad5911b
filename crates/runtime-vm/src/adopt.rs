//! Finding again what an earlier agent began.

use std::sync::{Arc, PoisonError};

use ring_runtime::RuntimeError;
use ring_types::{InstanceId, Outcome, UnknownExit};

use crate::api::VmState;
use crate::driver::Shared;
use crate::events::{Events, Sign};
use crate::record::{self, Exit, Record, Started, Starting, Vmm};
use ring_runtime_host::proc;

/// The records of an instance.
struct Records {
    record: Option<Record>,
    vmm: Option<Vmm>,
    starting: Option<Starting>,
    started: Option<Started>,
    ended: bool,
}

impl Shared {
    /// Goes on with an instance where an earlier agent was cut off.
    pub(crate) async fn resume(self: &Arc<Self>, instance: InstanceId) -> Result<(), RuntimeError> {
        let found = self.records(instance).await?;
        if found.starting.is_some() && !found.ended {
            return self.adopt(instance).await;
        }
        // Nothing was executed, or the end is known: what is left of a VM is in nobody's way, and goes. One that cannot be ended
        // now is tried again when the instance is started or removed.
        if let Err(error) = self.sweep(instance).await {
            tracing::warn!(%instance, %error, "something of a VM is left");
        }
        Ok(())
    }

    /// Watches an instance that was started.
    async fn adopt(self: &Arc<Self>, instance: InstanceId) -> Result<(), RuntimeError> {
        let Records { record: Some(record), vmm, starting: Some(starting), started, ended: false } =
            self.records(instance).await?
        else {
            return Ok(());
        };
        let lost = |reason| Outcome::Unknown(reason);
        if starting.boot != proc::boot_id() {
            return self.ended_without(instance, lost(UnknownExit::HostRestarted), None).await;
        }
        let Some(vmm) = vmm else {
            let why = "the record of its VMM is gone".to_owned();
            return self.ended_without(instance, lost(UnknownExit::VmLost), Some(why)).await;
        };
        self.ledger.adopt(instance, record.memory);
        self.rewire(instance).await;
        if vmm.process.alive() {
            self.keep(instance, vmm.process).await;
        }
        let book = self.book(instance, &record.boot).await?;
        let image = starting.guest.is_some();
        let started = match started {
            None if !image => match self.booted(instance, &vmm, &starting).await? {
                None => return Ok(()),
                started => started,
            },
            started => started,
        };
        let machine = self.machine_of(instance, (record, vmm), (Some(starting), started), book)?;
        self.watch(instance, machine);
        Ok(())
    }

    /// A disk image that was about to be booted: was it? None when it has ended.
    async fn booted(
        self: &Arc<Self>,
        instance: InstanceId,
        vmm: &Vmm,
        starting: &Starting,
    ) -> Result<Option<Started>, RuntimeError> {
        let dir = self.dir(instance);
        let api = self.api(&dir);
        // The VMM does one thing after another: with this answer nothing of before is under way any more.
        let state = api.state().await;
        let mut events = Events::new(&dir.events());
        let signs = self.blocking(move |_| events.read()).await?;
        // A VM is never taken down without its VMM here. So one that was made and has not been booted never ran.
        if matches!(state, Ok(VmState::Created)) && !signs.contains(&Sign::Booting) {
            return self.boot_once(instance, vmm, starting, &api).await;
        }
        let started = Started { at: starting.at, address: vmm.wiring.address.clone() };
        let (path, written) = (dir.started(), started.clone());
        self.blocking(move |_| record::write(&path, &written)).await?;
        Ok(Some(started))
    }

    /// Adopts an instance in the background, once at a time.
    pub(crate) fn adopt_soon(self: &Arc<Self>, instance: InstanceId) {
        let begun = self.adopting.lock().unwrap_or_else(PoisonError::into_inner).insert(instance);
        if !begun {
            return;
        }
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let ended = shared.ended.clone();
            let adopted = ended.run_until_cancelled(shared.adopt_unless_watched(instance)).await;
            if let Some(Err(error)) = adopted {
                tracing::error!(%instance, %error, "an instance that runs is not watched, trying again when it is looked at");
            }
            shared.adopting.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance);
        });
    }

    /// Whoever starts it is about to watch it: that is waited for.
    async fn adopt_unless_watched(self: &Arc<Self>, instance: InstanceId) -> Result<(), RuntimeError> {
        let lock = self.lock(instance);
        let _held = lock.lock().await;
        if self.machine(instance).is_some() { Ok(()) } else { self.adopt(instance).await }
    }

    async fn records(self: &Arc<Self>, instance: InstanceId) -> Result<Records, RuntimeError> {
        let dir = self.dir(instance);
        self.blocking(move |_| {
            Ok(Records {
                record: record::read(&dir.record())?,
                vmm: record::read(&dir.vmm())?,
                starting: record::read(&dir.starting())?,
                started: record::read(&dir.started())?,
                ended: record::read::<Exit>(&dir.exit())?.is_some(),
            })
        })
        .await
    }
}
