//! Starting an instance: a VMM, a VM in it, and its guest, which a [`Machine`] tells to start.
//!
//! Up to the record [`crate::record::Starting`] everything can be taken away and begun again. From there on nothing is.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::{InstanceId, Outcome, StartFailure, UnknownExit};

use crate::api::{Api, ApiError};
use crate::driver::{Shared, not_found};
use crate::journal::Book;
use crate::keeper;
use crate::logs::Ends;
use crate::machine::{Handle, Machine, Stage};
use crate::machine_config;
use crate::observe::State;
use crate::prepare::{make_dir, remove_file};
use crate::record::{self, Boot, Exit, Record, Started, Starting, Vmm};
use crate::vmm;
use ring_runtime_host::proc;

impl Shared {
    /// Starts an instance that was not started before. The caller holds its lock.
    pub(crate) async fn start(self: &Arc<Self>, instance: InstanceId) -> Result<(), RuntimeError> {
        match self.observe(instance).await? {
            State::Absent => return Err(not_found(instance)),
            State::Running(_) | State::Exited(_) => return Ok(()),
            State::Starting => {}
            State::Created => {
                // A machine that is there was begun for somebody who did not wait for it.
                if self.machine(instance).is_none() {
                    self.boot(instance).await?;
                }
            }
        }
        self.settle(instance).await
    }

    /// Waits until the guest has said that its workload runs, or that it does not.
    async fn settle(self: &Arc<Self>, instance: InstanceId) -> Result<(), RuntimeError> {
        let Some(handle) = self.machine(instance) else { return Ok(()) };
        match handle.until(Stage::is_decided).await {
            Stage::Gone(Some(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Boots its VM. On an error nothing of it is left, and nothing was executed.
    async fn boot(self: &Arc<Self>, instance: InstanceId) -> Result<(), RuntimeError> {
        let path = self.dir(instance).record();
        let record = self.blocking(move |_| record::read::<Record>(&path)).await?.ok_or_else(|| not_found(instance))?;
        // An attempt may have been cut off before.
        self.sweep(instance).await?;
        self.ledger.reserve(self.config.host, instance, record.memory)?;
        let booted = self.try_boot(instance, record).await;
        if booted.is_err() {
            self.sweep(instance).await?;
            self.release(instance);
        }
        booted
    }

    async fn try_boot(self: &Arc<Self>, instance: InstanceId, record: Record) -> Result<(), RuntimeError> {
        let refuse = |message: String| start_error(instance, StartFailure::Create, &message);
        let program = self.config.program().ok_or_else(|| refuse(crate::probe::no_program(&self.config)))?;
        let dir = self.dir(instance);
        let made = dir.clone();
        self.blocking(move |_| {
            // A start that was cancelled may be asked for again.
            remove_file(&made.killed())?;
            make_dir(made.sockets())
        })
        .await?;
        let (wiring, devices) = self.wire(instance, &record).await?;
        let payload = machine_config::payload(&self.config, &record.boot, &devices).map_err(refuse)?;
        let afterwards = self.afterwards(&record, &program).await;
        let process = vmm::start(&self.config, &program, &dir, afterwards)
            .map_err(|error| refuse(format!("'{}' cannot be executed: {error}", program.display())))?;
        self.keep(instance, process).await;
        let vmm = Vmm { boot: proc::boot_id(), process, at: ring_runtime::now(), afterwards, wiring };
        let (path, written) = (dir.vmm(), vmm.clone());
        self.blocking(move |_| record::write(&path, &written)).await?;
        let api = self.api(&dir);
        let failed = |error: ApiError| api_error(instance, &error, &vmm::said(&dir));
        tokio::select! {
            ready = api.ready() => ready.map(drop).map_err(failed)?,
            () = proc::gone(process) => return Err(refuse(format!("the VMM ended at once{}", vmm::said(&dir)))),
        }
        api.create(&machine_config::create(payload, &record, &devices, &dir)).await.map_err(failed)?;
        let book = self.book(instance, &record.boot).await?;
        match &record.boot {
            Boot::Image(_) => {
                // It listens before there is anybody who could dial.
                let machine = self.machine_of(instance, (record, vmm), (None, None), book)?;
                api.boot().await.map_err(failed)?;
                self.watch(instance, machine);
                Ok(())
            }
            Boot::Disk(_) => self.boot_disk(instance, (record, vmm), book, &api).await,
        }
    }

    /// Lets somebody keep the files of a VMM small. Without it they grow.
    pub(crate) async fn keep(self: &Arc<Self>, instance: InstanceId, vmm: proc::ProcessId) {
        let dir = self.dir(instance);
        if let Err(error) = self.blocking(move |shared| keeper::ensure(&shared.config.keeper_command, &dir, vmm)).await {
            tracing::warn!(%instance, %error, "what the guest writes on its console is not bounded while no agent is there");
        }
    }

    /// A disk image runs when it is booted, so that is what is written down before.
    async fn boot_disk(
        self: &Arc<Self>,
        instance: InstanceId,
        made: (Record, Vmm),
        book: Book,
        api: &Api,
    ) -> Result<(), RuntimeError> {
        let dir = self.dir(instance);
        let starting = Starting { boot: proc::boot_id(), guest: None, at: ring_runtime::now() };
        let (path, written) = (dir.starting(), starting.clone());
        if !self.blocking(move |_| record::write_new(&path, &written)).await? {
            return Ok(());
        }
        let started = self.boot_once(instance, &made.1, &starting, api).await?;
        if started.is_some() {
            let machine = self.machine_of(instance, made, (Some(starting), started), book)?;
            self.watch(instance, machine);
        }
        Ok(())
    }

    /// Boots a disk image that was not booted yet. None when that failed; then its end is on the disk.
    pub(crate) async fn boot_once(
        self: &Arc<Self>,
        instance: InstanceId,
        vmm: &Vmm,
        starting: &Starting,
        api: &Api,
    ) -> Result<Option<Started>, RuntimeError> {
        let dir = self.dir(instance);
        if let Err(error) = api.boot().await {
            let outcome = match &error {
                ApiError::Refused { .. } => Outcome::NotStarted { cause: StartFailure::Create, message: error.to_string() },
                // It may have been booted all the same.
                _ => Outcome::Unknown(UnknownExit::VmLost),
            };
            self.ended_without(instance, outcome, Some(format!("{error}{}", vmm::said(&dir)))).await?;
            return Ok(None);
        }
        let started = Started { at: starting.at, address: vmm.wiring.address.clone() };
        let (path, written) = (dir.started(), started.clone());
        self.blocking(move |_| record::write(&path, &written)).await?;
        self.changed(instance);
        Ok(Some(started))
    }

    /// Writes down the end of an instance that has no machine, and takes its VM away.
    pub(crate) async fn ended_without(
        self: &Arc<Self>,
        instance: InstanceId,
        outcome: Outcome,
        detail: Option<String>,
    ) -> Result<(), RuntimeError> {
        let dir = self.dir(instance);
        let written = self.blocking(move |_| {
            let started = record::read::<Started>(&dir.started())?;
            let started_at = started.map(|started| started.at);
            record::write_new(&dir.exit(), &Exit { outcome, started_at, finished_at: ring_runtime::now(), detail })
        });
        written.await?;
        self.sweep(instance).await?;
        self.release(instance);
        self.changed(instance);
        Ok(())
    }

    pub(crate) async fn book(self: &Arc<Self>, instance: InstanceId, boot: &Boot) -> Result<Book, RuntimeError> {
        // The output of a disk image is its serial console.
        let ends = if matches!(boot, Boot::Disk(_)) { Ends::CrLf } else { Ends::Lf };
        Book::open(&self.dir(instance), ends).await.map_err(|error| {
            RuntimeError::new(RuntimeErrorKind::Other, format!("the log of instance {instance} cannot be opened: {error}"))
        })
    }

    pub(crate) fn machine_of(
        self: &Arc<Self>,
        instance: InstanceId,
        made: (Record, Vmm),
        begun: (Option<Starting>, Option<Started>),
        book: Book,
    ) -> Result<(Machine, Handle), RuntimeError> {
        Machine::new(self, instance, made, begun, book).map_err(|error| {
            let message = format!("the guest of instance {instance} cannot be listened for: {error}");
            RuntimeError::new(RuntimeErrorKind::Other, message)
        })
    }

    /// Watches a machine until it is over or the runtime is dropped.
    pub(crate) fn watch(self: &Arc<Self>, instance: InstanceId, (machine, handle): (Machine, Handle)) {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner).insert(instance, handle);
        let ended = self.ended.clone();
        tokio::spawn(async move { ended.run_until_cancelled(Box::pin(machine.run())).await });
        self.changed(instance);
    }

    /// A VMM that stays tells a guest that shut itself down from a VMM that was ended. Versions before 52 cannot.
    async fn afterwards(self: &Arc<Self>, record: &Record, program: &Path) -> vmm::Afterwards {
        let disk = matches!(record.boot, Boot::Disk(_));
        if disk && self.can_stay(program).await { vmm::Afterwards::Stay } else { vmm::Afterwards::End }
    }
}

pub(crate) fn start_error(instance: InstanceId, cause: StartFailure, message: &str) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Start(cause), format!("instance {instance}: {message}"))
}

/// What the VMM refuses it refuses again. One that does not answer may answer the next one.
fn api_error(instance: InstanceId, error: &ApiError, said: &str) -> RuntimeError {
    let message = format!("instance {instance}: {error}{said}");
    match error {
        ApiError::Refused { .. } | ApiError::Answer { .. } => {
            RuntimeError::new(RuntimeErrorKind::Start(StartFailure::Create), message)
        }
        ApiError::Unreachable { .. } | ApiError::TimedOut { .. } => RuntimeError::new(RuntimeErrorKind::Unavailable, message),
    }
}
