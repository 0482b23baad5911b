//! The verbs of the micro-VM runtime.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use ring_runtime::{
    ExecRequest, ExecSession, Found, Hint, InstanceStats, LogLine, LogRequest, Observed, Prepared, Runtime, RuntimeError,
    RuntimeErrorKind, Workload,
};
use ring_runtime_host::hints::Hints;
use ring_runtime_host::locks::Locks;
use ring_types::{InstanceId, RuntimeKind, RuntimeReport, Span};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::admission::Ledger;
use crate::api::Api;
use crate::config::VmConfig;
use crate::layout::{InstanceDir, REMOVING, instance};
use crate::logs;
use crate::machine::Handle;
use crate::net::Network;
use crate::observe::{State, observe};
use crate::probe::Known;
use crate::record::{self, Record};
use crate::roots::Roots;
use crate::seed::Seeds;
use crate::vault::{self, Vault};

/// The micro-VM runtime of a host. One at a time may be open on a data directory.
pub struct VmRuntime {
    pub(crate) shared: Arc<Shared>,
    /// Ends the watching when the runtime is dropped. What runs goes on running.
    _watching: DropGuard,
}

/// What the verbs and the machines have in common.
pub(crate) struct Shared {
    pub(crate) config: VmConfig,
    pub(crate) roots: Arc<dyn Roots>,
    pub(crate) seeds: Seeds,
    /// None: guests have no network.
    pub(crate) network: Option<Network>,
    pub(crate) vault: Vault,
    pub(crate) ledger: Ledger,
    pub(crate) known: Known,
    pub(crate) ended: CancellationToken,
    locks: Locks,
    pub(crate) machines: Mutex<HashMap<InstanceId, Handle>>,
    /// Instances whose machine is being found again.
    pub(crate) adopting: Mutex<BTreeSet<InstanceId>>,
    hints: Hints,
}

impl fmt::Debug for VmRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VmRuntime").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl VmRuntime {
    /// Opens the runtime with root file systems from `roots`: makes its directories, finishes what an earlier agent was cut off
    /// in, and watches what still runs. Fails when the directories cannot be made or read.
    pub async fn with_roots(config: VmConfig, roots: Arc<dyn Roots>) -> Result<Self, RuntimeError> {
        let ended = CancellationToken::new();
        let seed_dir = config.seed_dir.clone();
        let network = config.network.clone().map(Network::new).transpose()?;
        let shared = Arc::new(Shared {
            config,
            roots,
            network,
            seeds: Seeds::new(seed_dir),
            vault: Vault::open(vault::NAME),
            ledger: Ledger::default(),
            known: Known::default(),
            ended: ended.clone(),
            locks: Locks::default(),
            machines: Mutex::default(),
            adopting: Mutex::default(),
            hints: Hints::default(),
        });
        shared.blocking(|shared| tidy(&shared.config)).await?;
        let runtime = Self { shared, _watching: ended.drop_guard() };
        let all = runtime.shared.blocking(|shared| instances(&shared.config.instances())).await?;
        for instance in &all {
            // One whose records cannot be read is in nobody's way but its own.
            if let Err(error) = runtime.shared.resume(*instance).await {
                tracing::error!(%instance, %error, "an instance cannot be taken up");
            }
        }
        if let Some(network) = &runtime.shared.network
            && let Err(error) = network.clean(&all.into_iter().collect()).await
        {
            tracing::warn!(%error, "something of the network of instances that are gone is left");
        }
        Ok(runtime)
    }
}

#[async_trait]
impl Runtime for VmRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::CloudHypervisor
    }

    async fn probe(&self) -> RuntimeReport {
        self.shared.probe().await
    }

    async fn prepare(&self, workload: &Workload) -> Result<Prepared, RuntimeError> {
        let lock = self.shared.lock(workload.instance);
        let _held = lock.lock().await;
        self.shared.prepare(workload).await
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
        self.shared.remove(instance).await
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
        InstanceDir::new(&self.config.instances(), &self.config.socket_dir, instance)
    }

    /// The VMM of an instance.
    pub(crate) fn api(&self, dir: &InstanceDir) -> Api {
        Api::new(&dir.api(), self.config.patience)
    }

    pub(crate) fn lock(&self, instance: InstanceId) -> Arc<tokio::sync::Mutex<()>> {
        self.locks.of(instance)
    }

    /// Looks at an instance. One that runs and whose machine is not watched is watched again.
    pub(crate) async fn observe(self: &Arc<Self>, instance: InstanceId) -> Result<State, RuntimeError> {
        let dir = self.dir(instance);
        let state = self.blocking(move |_| observe(&dir)).await?;
        if matches!(state, State::Starting | State::Running(_)) && self.machine(instance).is_none() {
            self.adopt_soon(instance);
        }
        Ok(state)
    }

    /// Tells everybody that an instance may have changed.
    pub(crate) fn changed(&self, instance: InstanceId) {
        self.hints.changed(instance);
    }

    /// The machine of an instance that is watched.
    pub(crate) fn machine(&self, instance: InstanceId) -> Option<Handle> {
        let machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        machines.get(&instance).filter(|handle| !handle.asks.is_closed()).cloned()
    }

    /// Its machine is over.
    pub(crate) fn forget(&self, instance: InstanceId) {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance);
    }

    /// Does file work where it holds nobody up.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, RuntimeError> {
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| RuntimeError::new(RuntimeErrorKind::Other, format!("micro-VM runtime: {error}")))
    }
}

fn list(shared: &Shared) -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    for instance in instances(&shared.config.instances())? {
        let dir = shared.dir(instance);
        let Some(record) = record::read::<Record>(&dir.record())? else { continue };
        let observed = observe(&dir)?.observed();
        if observed != Observed::Absent {
            all.push(Found { instance, deployment: record.deployment, runtime: RuntimeKind::CloudHypervisor, observed });
        }
    }
    all.sort_unstable_by_key(|found| found.instance);
    Ok(all)
}

fn instances(dir: &Path) -> io::Result<Vec<InstanceId>> {
    Ok(fs::read_dir(dir)?.flatten().filter_map(|entry| instance(&entry.path())).collect())
}

/// Makes the directories, and takes away what half-finished removals and preparations left.
fn tidy(config: &VmConfig) -> io::Result<()> {
    let root = config.instances();
    for dir in [&root, &config.socket_dir] {
        fs::create_dir_all(dir)?;
    }
    for entry in fs::read_dir(&root)?.flatten() {
        let path = entry.path();
        let removing = entry.file_name().to_string_lossy().starts_with(REMOVING);
        let half_made = instance(&path).is_some() && !path.join("record").exists();
        if removing || half_made {
            remove_all(&path)?;
        }
    }
    Ok(())
}

pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(crate) fn not_found(instance: InstanceId) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::NotFound, format!("instance {instance} is not there"))
}

pub(crate) fn not_running(instance: InstanceId) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::NotFound, format!("instance {instance} does not run"))
}
