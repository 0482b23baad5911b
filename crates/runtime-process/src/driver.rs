//! The verbs of the process runtime.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use ring_runtime::{
    ExecRequest, ExecSession, Found, Hint, InstanceStats, LogLine, LogRequest, Observed, Prepared, Runtime, RuntimeError,
    RuntimeErrorKind, Workload,
};
use ring_runtime_host::hints::Hints;
use ring_runtime_host::locks::Locks;
use ring_runtime_host::logs;
use ring_types::{InstanceId, RuntimeKind, RuntimeReport, Span};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cgroup::Cgroups;
use crate::layout::{InstanceDir, REMOVING};
use crate::observe::{State, observe};
use crate::record::{self, Record};
use crate::vault::{self, Kept, Vault};
use crate::{mounts, prepare};

/// What the runtime needs to know.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Directory of the instances, of nothing else. Made when it is not there.
    pub root: PathBuf,
    /// Command that runs [`crate::shim_main`] with the arguments given to it after its own, such as `/proc/self/exe __shim`.
    pub shim_command: Vec<OsString>,
}

impl ProcessConfig {
    /// Named volumes are beside the instances, a directory for each namespace.
    fn volumes(&self) -> PathBuf {
        self.root.with_file_name("volumes")
    }
}

/// The process runtime of a host. One at a time may be open on a root.
pub struct ProcessRuntime {
    pub(crate) shared: Arc<Shared>,
    /// Ends the watching when the runtime is dropped. What runs goes on running.
    _watching: DropGuard,
}

/// What the verbs and the watching tasks have in common.
pub(crate) struct Shared {
    pub(crate) config: ProcessConfig,
    pub(crate) cgroups: Cgroups,
    pub(crate) ended: CancellationToken,
    pub(crate) vault: Vault,
    locks: Locks,
    pub(crate) watched: Mutex<BTreeSet<InstanceId>>,
    changes: watch::Sender<u64>,
    hints: Hints,
}

impl fmt::Debug for ProcessRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessRuntime").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl ProcessRuntime {
    /// Opens the runtime: makes its directory, finishes removals that were cut off, and watches what still runs.
    pub async fn open(config: ProcessConfig) -> Result<Self, RuntimeError> {
        let ended = CancellationToken::new();
        let shared = Arc::new(Shared {
            config,
            cgroups: Cgroups::detect(),
            ended: ended.clone(),
            vault: Vault::open(vault::NAME),
            locks: Locks::default(),
            watched: Mutex::default(),
            changes: watch::Sender::new(0),
            hints: Hints::default(),
        });
        let root = shared.config.root.clone();
        shared.blocking(move |_| tidy(&root)).await?;
        let runtime = Self { shared, _watching: ended.drop_guard() };
        for found in runtime.list().await? {
            runtime.shared.watch(found.instance);
        }
        Ok(runtime)
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Process
    }

    async fn probe(&self) -> RuntimeReport {
        let mounts = if rustix::process::geteuid().is_root() { "" } else { ", no mounts (the agent does not run as root)" };
        let version = format!("built-in, {}{mounts}", self.shared.cgroups.describe());
        let writable = self.shared.blocking(|shared| tempfile_in(&shared.config.root)).await;
        RuntimeReport { kind: RuntimeKind::Process, version, problem: writable.err().map(|error| error.message) }
    }

    async fn prepare(&self, workload: &Workload) -> Result<Prepared, RuntimeError> {
        prepare::check(workload)?;
        let dir = self.shared.dir(workload.instance);
        let mounts = mounts::plan(workload, &dir, &self.shared.config.volumes())?;
        let record = prepare::record(workload, mounts);
        if !self.shared.cgroups.enforces(record.limits) {
            tracing::warn!(instance = %workload.instance, "limits are not enforced: {}", self.shared.cgroups.describe());
        }
        let state = self.shared.blocking(move |_| {
            let state = observe(&dir)?;
            if state == State::Absent {
                prepare::make(&dir, &record)?;
            }
            Ok(state)
        });
        if matches!(state.await.map_err(start_failure)?, State::Absent | State::Created) {
            self.shared.vault.keep(workload.instance, Kept::of(workload));
        }
        Ok(Prepared::default())
    }

    async fn start(&self, instance: InstanceId) -> Result<(), RuntimeError> {
        let lock = self.shared.lock(instance);
        let _held = lock.lock().await;
        self.shared.start(instance).await
    }

    async fn inspect(&self, instance: InstanceId) -> Result<Observed, RuntimeError> {
        self.shared.observe(instance).await.map(State::observed)
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        self.shared.blocking(list).await
    }

    async fn stop(&self, instance: InstanceId, grace: Span) -> Result<(), RuntimeError> {
        self.shared.stop(instance, grace).await
    }

    async fn remove(&self, instance: InstanceId) -> Result<(), RuntimeError> {
        let lock = self.shared.lock(instance);
        let _held = lock.lock().await;
        if let State::Starting(_) | State::Running(..) = self.shared.observe(instance).await? {
            let message = format!("instance {instance} runs: stop it before it is removed");
            return Err(RuntimeError::new(RuntimeErrorKind::Other, message));
        }
        self.shared.blocking(move |shared| shared.remove(instance)).await?;
        self.shared.changed(instance);
        Ok(())
    }

    fn hints(&self) -> BoxStream<'static, Hint> {
        self.shared.hints.stream()
    }

    async fn logs(
        &self,
        instance: InstanceId,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
        if self.shared.observe(instance).await? == State::Absent {
            return Err(not_found(instance));
        }
        let dir = self.shared.dir(instance);
        let found = dir.logs();
        let (lines, position) = self.shared.blocking(move |_| logs::read(&found, request)).await?;
        if !request.follow {
            return Ok(stream::iter(lines).map(Ok).boxed());
        }
        let ended = {
            let dir = dir.clone();
            move || dir.exit().exists() || !dir.record().exists()
        };
        Ok(logs::follow(&dir.logs(), (lines, position), request, ended))
    }

    async fn exec(&self, instance: InstanceId, request: ExecRequest) -> Result<ExecSession, RuntimeError> {
        self.shared.exec(instance, request).await
    }

    async fn stats(&self, instance: InstanceId) -> Result<InstanceStats, RuntimeError> {
        self.shared.stats(instance).await
    }
}

impl Shared {
    pub(crate) fn dir(&self, instance: InstanceId) -> InstanceDir {
        InstanceDir::new(&self.config.root, instance)
    }

    fn lock(&self, instance: InstanceId) -> Arc<tokio::sync::Mutex<()>> {
        self.locks.of(instance)
    }

    /// Looks at an instance, and watches it from now on when it runs.
    pub(crate) async fn observe(self: &Arc<Self>, instance: InstanceId) -> Result<State, RuntimeError> {
        let dir = self.dir(instance);
        let state = self.blocking(move |_| observe(&dir)).await?;
        if matches!(state, State::Starting(_) | State::Running(..)) {
            self.watch(instance);
        }
        Ok(state)
    }

    /// Tells everybody that an instance may have changed.
    pub(crate) fn changed(&self, instance: InstanceId) {
        self.changes.send_modify(|version| *version += 1);
        self.hints.changed(instance);
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Does file work where it holds nobody up.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, RuntimeError> {
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| RuntimeError::new(RuntimeErrorKind::Other, format!("process runtime: {error}")))
    }

    /// The directory gets another name first, so that a removal that is cut off leaves nothing that looks like an instance.
    fn remove(&self, instance: InstanceId) -> io::Result<()> {
        let dir = self.dir(instance);
        self.vault.forget(instance);
        self.end_leftovers(&dir)?;
        let doomed = self.config.root.join(format!("{REMOVING}{instance}"));
        match fs::rename(dir.path(), &doomed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        self.cgroups.of(instance).remove();
        remove_all(&doomed)
    }
}

fn list(shared: &Shared) -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(&shared.config.root)?.flatten() {
        let dir = InstanceDir::at(&entry.path());
        let Some(instance) = dir.instance() else { continue };
        let Some(record) = record::read::<Record>(&dir.record())? else { continue };
        let observed = observe(&dir)?.observed();
        if observed != Observed::Absent {
            all.push(Found { instance, deployment: record.deployment, runtime: RuntimeKind::Process, observed });
        }
    }
    all.sort_unstable_by_key(|found| found.instance);
    Ok(all)
}

/// Makes the root, and takes away what half-finished removals and preparations left.
fn tidy(root: &std::path::Path) -> io::Result<()> {
    if let Some(parent) = root.parent() {
        fs::create_dir_all(parent)?;
    }
    prepare::make_dir(root, 0o711)?;
    for entry in fs::read_dir(root)?.flatten() {
        let dir = InstanceDir::at(&entry.path());
        let removing = entry.file_name().to_string_lossy().starts_with(REMOVING);
        let half_made = dir.instance().is_some() && !dir.record().exists() && !dir.starting().exists();
        if removing || half_made {
            remove_all(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_all(path: &std::path::Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn tempfile_in(root: &std::path::Path) -> io::Result<()> {
    let path = root.join(".probe");
    fs::write(&path, b"ring")?;
    fs::remove_file(&path)
}

pub(crate) fn not_found(instance: InstanceId) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::NotFound, format!("instance {instance} is not there"))
}

/// An instance whose directory cannot be made is not started, for a reason its user can see.
fn start_failure(error: RuntimeError) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Start(ring_types::StartFailure::FileSystem), error.message)
}
