//! The verbs of the Docker driver.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerSummary};
use bollard::query_parameters::{ListContainersOptions, LogsOptions, RemoveContainerOptions, StopContainerOptions};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use ring_runtime::{
    ExecRequest, ExecSession, Found, Hint, InstanceStats, LogLine, LogRequest, NativeHealth, Observed, Prepared, Runtime,
    RuntimeError, RuntimeErrorKind, Workload, now,
};
use ring_types::{InstanceId, RuntimeKind, RuntimeReport, Span, Timestamp};
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Client, status, told};
use crate::config::DockerConfig;
use crate::files::Files;
use crate::outages::Watched;
use crate::prepare::prepare;
use crate::probe::Known;
use crate::pulls::Pulls;
use crate::start::{Starts, absent};
use crate::state::{Moment, observed};
use crate::{events, exec, health, logs, marks, stats};

/// Containers looked at at the same time.
const AT_ONCE: usize = 16;

/// An engine stops a container within this long after its grace.
const AFTER_GRACE: Duration = Duration::from_secs(30);

/// Making and removing a container moves files.
pub(crate) const FILES: Duration = Duration::from_mins(2);

/// Podman cleans up after a process within this long.
const CLEANING: Duration = Duration::from_secs(5);

/// Longest probe.
const PROBE: Duration = Duration::from_secs(5);

/// The Docker or Podman of a host.
pub struct DockerRuntime {
    containers: Arc<Containers>,
    starts: Arc<Starts>,
    known: Known,
}

/// The containers of ours on an engine.
pub(crate) struct Containers {
    pub(crate) client: Arc<Client>,
    pub(crate) config: DockerConfig,
    /// Which container an instance has, as last seen; the engine's word counts.
    ids: Mutex<HashMap<InstanceId, String>>,
    /// Containers this process has made and never asked to start: nothing else can have.
    fresh: Mutex<HashMap<InstanceId, String>>,
    /// Held while a network is made: see [`crate::network::ensure`].
    pub(crate) networks: tokio::sync::Mutex<()>,
    pub(crate) files: Files,
    pub(crate) pulls: Pulls,
    pub(crate) outages: Watched,
}

impl fmt::Debug for DockerRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerRuntime").field("config", &self.containers.config).finish_non_exhaustive()
    }
}

impl DockerRuntime {
    /// A driver for an engine, which need not be there yet.
    pub fn new(config: DockerConfig) -> Self {
        let containers = Containers {
            client: Arc::new(Client::new(config.clone())),
            ids: Mutex::default(),
            fresh: Mutex::default(),
            networks: tokio::sync::Mutex::default(),
            files: Files::new(config.files.clone()),
            pulls: Pulls::default(),
            outages: Watched::default(),
            config,
        };
        Self { containers: Arc::new(containers), starts: Arc::default(), known: Known::default() }
    }
}

#[async_trait]
impl Runtime for DockerRuntime {
    fn kind(&self) -> RuntimeKind {
        self.containers.config.engine.kind()
    }

    async fn probe(&self) -> RuntimeReport {
        let (version, problem) = match timeout(PROBE, self.known.probe(&self.containers.client)).await {
            Ok(Ok(version)) => (version, None),
            Ok(Err(error)) => (String::new(), Some(error.message)),
            Err(_) => (String::new(), Some(format!("{} does not answer within {} seconds", self.kind(), PROBE.as_secs()))),
        };
        RuntimeReport { kind: self.kind(), version, problem }
    }

    async fn prepare(&self, workload: &Workload) -> Result<Prepared, RuntimeError> {
        prepare(&self.containers, workload).await
    }

    async fn start(&self, instance: InstanceId) -> Result<(), RuntimeError> {
        self.starts.start(&self.containers, instance).await
    }

    async fn inspect(&self, instance: InstanceId) -> Result<Observed, RuntimeError> {
        let found = self.containers.inspect(instance).await?;
        Ok(found.map_or(Observed::Absent, |container| observed(&container, self.containers.moment())))
    }

    async fn health(&self, instance: InstanceId) -> Result<Option<NativeHealth>, RuntimeError> {
        // A check that is in an image is nobody's where none was asked for.
        if self.kind() != RuntimeKind::Docker {
            return Ok(None);
        }
        let found = self.containers.inspect(instance).await?;
        found.map(|container| health::native(&container)).ok_or_else(|| absent(instance))
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        let listed = self.containers.list(marks::ours(self.containers.config.node)).await?;
        let looked = stream::iter(listed).map(|summary| self.containers.look(summary)).buffer_unordered(AT_ONCE);
        let mut found: Vec<Found> = looked.try_filter_map(|found| async move { Ok(found) }).try_collect().await?;
        found.sort_unstable_by_key(|found| found.instance);
        Ok(found)
    }

    async fn stop(&self, instance: InstanceId, grace: Span) -> Result<(), RuntimeError> {
        let Some(id) = self.containers.id(instance).await? else { return Ok(()) };
        let seconds = i32::try_from(grace.0.div_ceil(1000)).unwrap_or(i32::MAX);
        let options = StopContainerOptions { t: Some(seconds), signal: None };
        let patience = Duration::from_secs(seconds.unsigned_abs().into()) + AFTER_GRACE;
        let client = &self.containers.client;
        let asked = client.ask_within(patience, |docker| async move { docker.stop_container(&id, Some(options)).await });
        match asked.await? {
            Ok(()) => Ok(()),
            Err(error) if matches!(status(&error), Some(304 | 404)) => Ok(()),
            Err(error) => Err(client.error(RuntimeErrorKind::Other, &format!("instance {instance} was not stopped"), &error)),
        }
    }

    async fn remove(&self, instance: InstanceId) -> Result<(), RuntimeError> {
        let deadline = Instant::now() + FILES;
        while let Some(id) = self.containers.id(instance).await? {
            let options = RemoveContainerOptions { v: true, force: false, link: false };
            let client = &self.containers.client;
            let asked = client.ask_within(FILES, |docker| async move { docker.remove_container(&id, Some(options)).await });
            match asked.await? {
                Ok(()) => {}
                Err(error) if status(&error) == Some(404) => {}
                // Somebody else is at it; it is gone when they are finished.
                Err(error) if told(&error).contains("already in progress") && Instant::now() < deadline => {
                    sleep(Duration::from_millis(50)).await;
                }
                Err(error) => {
                    return Err(client.error(RuntimeErrorKind::Other, &format!("instance {instance} was not removed"), &error));
                }
            }
            self.containers.forget(instance);
        }
        self.containers.files.remove(instance).await
    }

    fn hints(&self) -> BoxStream<'static, Hint> {
        events::hints(Arc::clone(&self.containers))
    }

    async fn logs(
        &self,
        instance: InstanceId,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
        if request.follow {
            return logs::follow(Arc::clone(&self.containers), instance, request).await;
        }
        logs::all(Arc::clone(&self.containers), instance, request).await
    }

    async fn exec(&self, instance: InstanceId, request: ExecRequest) -> Result<ExecSession, RuntimeError> {
        exec::exec(&self.containers, instance, request).await
    }

    async fn stats(&self, instance: InstanceId) -> Result<InstanceStats, RuntimeError> {
        stats::stats(&self.containers, instance).await
    }
}

impl Containers {
    /// The container of an instance; None when it has none.
    pub(crate) async fn inspect(&self, instance: InstanceId) -> Result<Option<ContainerInspectResponse>, RuntimeError> {
        // What is remembered may be gone: then the engine is asked once more by label.
        for _ in 0..2 {
            let Some(id) = self.id(instance).await? else { return Ok(None) };
            match self.ask_of(&id).await? {
                Ok(container) => return Ok(Some(container)),
                Err(error) if status(&error) == Some(404) => self.forget(instance),
                Err(error) => return Err(self.failed(&format!("instance {instance}"), &error)),
            }
        }
        Ok(None)
    }

    /// Podman has a word of its own for the moment between the end of a process and its cleaning up, which the library does not
    /// know: then it is asked again when that is over.
    async fn ask_of(&self, id: &str) -> Result<Result<ContainerInspectResponse, Error>, RuntimeError> {
        let deadline = Instant::now() + CLEANING;
        loop {
            let asked = self.client.ask(|docker| async move { docker.inspect_container(id, None).await }).await?;
            match asked {
                Err(Error::JsonDataError { .. }) if Instant::now() < deadline => sleep(Duration::from_millis(50)).await,
                answer => return Ok(answer),
            }
        }
    }

    async fn id(&self, instance: InstanceId) -> Result<Option<String>, RuntimeError> {
        let known = self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(&instance).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let found = self.list(marks::one(instance)).await?.into_iter().find_map(|container| container.id);
        if let Some(id) = &found {
            self.remember(instance, id.clone());
        }
        Ok(found)
    }

    async fn list(&self, filters: HashMap<String, Vec<String>>) -> Result<Vec<ContainerSummary>, RuntimeError> {
        let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
        let listed = self.client.ask(|docker| async move { docker.list_containers(Some(options)).await }).await?;
        listed.map_err(|error| self.failed("the containers of this host", &error))
    }

    /// A container that was listed; None when it is gone by now or was not made by ring.
    async fn look(&self, summary: ContainerSummary) -> Result<Option<Found>, RuntimeError> {
        let labels = summary.labels.unwrap_or_default();
        let (Some(instance), Some(deployment)) = (marks::instance(&labels), marks::deployment(&labels)) else { return Ok(None) };
        if let Some(id) = summary.id {
            self.remember(instance, id);
        }
        let runtime = self.config.engine.kind();
        let found = self.inspect(instance).await?;
        Ok(found.map(|c| Found { instance, deployment, runtime, observed: observed(&c, self.moment()) }))
    }

    pub(crate) fn remember(&self, instance: InstanceId, id: String) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(instance, id);
    }

    /// Remembers a container that was made now.
    pub(crate) fn made(&self, instance: InstanceId, id: String) {
        self.remember(instance, id.clone());
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).insert(instance, id);
    }

    /// The container of an instance that was made by this process and never started, once: who asks is about to start it.
    pub(crate) fn fresh(&self, instance: InstanceId) -> Option<String> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance)
    }

    /// The instance a container is of, as far as it was seen.
    pub(crate) fn instance_of(&self, container: &str) -> Option<InstanceId> {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.iter().find(|(_, id)| *id == container).map(|(instance, _)| *instance)
    }

    fn forget(&self, instance: InstanceId) {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance);
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance);
    }

    /// The engine's own stream of the output.
    pub(crate) async fn output(
        &self,
        instance: InstanceId,
        options: LogsOptions,
    ) -> Result<BoxStream<'static, Result<LogOutput, Error>>, RuntimeError> {
        let id = self.id(instance).await?.ok_or_else(|| absent(instance))?;
        Ok(self.client.docker().await?.logs(&id, Some(options)).boxed())
    }

    /// Does the engine run on this host?
    pub(crate) fn is_local(&self) -> bool {
        self.config.is_local()
    }

    pub(crate) fn failed(&self, what: &str, error: &Error) -> RuntimeError {
        self.client.error(RuntimeErrorKind::Other, what, error)
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { now: now(), boot: self.is_local().then(boot).flatten(), outages: self.outages.so_far() }
    }
}

/// When this host was started.
fn boot() -> Option<Timestamp> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let seconds: i64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(Timestamp(seconds * 1000))
}
