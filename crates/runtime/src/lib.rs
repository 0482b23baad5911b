//! What a driver can do with one instance. Drivers hold no policy: no restart counts, no rollout, no decision.
//!
//! Every verb is idempotent, so crash recovery is calling it again. A driver finds its instances again by marks it leaves
//! on them (labels, record files), never by memory.

mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod exec;
mod fake;
mod health;
mod logs;
mod private;
pub mod registry;
mod stats;
mod workload;

use async_trait::async_trait;
use futures::stream::BoxStream;
use ring_types::{InstanceId, RuntimeKind, RuntimeReport, Span};

pub use clock::now;
pub use error::{RuntimeError, RuntimeErrorKind};
pub use exec::{ExecEvent, ExecInput, ExecRequest, ExecSession, TerminalSize};
pub use fake::{FakeCall, FakeExec, FakeRuntime, FakeScript, FakeStart};
pub use health::{NativeHealth, NativeProbe, NativeVerdict};
pub use logs::{LogLine, LogRequest, LogSource};
pub use private::private_tmpfs;
pub use stats::InstanceStats;
pub use workload::{Found, MountedFile, Observed, Prepared, RegistryLogin, Workload};

/// Tells that something may have changed; the receiver inspects. Events may be lost, doubled and reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// This instance.
    Instance(InstanceId),
    /// Anything: the stream had a gap.
    Everything,
}

/// The verbs of one runtime on one host.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Which runtime this is.
    fn kind(&self) -> RuntimeKind;

    /// Is it usable now? Never fails: a problem is part of the report. Answers within 5 seconds.
    async fn probe(&self) -> RuntimeReport;

    /// Fetches the image and makes the instance without starting it. Does nothing when it is there already, running or
    /// ended. May take minutes; dropping the future cancels it and leaves nothing half made that a later call would trip on.
    async fn prepare(&self, workload: &Workload) -> Result<Prepared, RuntimeError>;

    /// Starts a prepared instance, once: an instance that has been started before is left as it is, running or ended.
    /// Returns when its process has been seen alive or has ended.
    ///
    /// It starts what an earlier run of the agent prepared too. [`RuntimeErrorKind::NotFound`] and [`RuntimeErrorKind::Start`]
    /// say for certain that it has not run.
    async fn start(&self, instance: InstanceId) -> Result<(), RuntimeError>;

    /// What is known of an instance now.
    async fn inspect(&self, instance: InstanceId) -> Result<Observed, RuntimeError>;

    /// Every instance of ours on this host, running or not.
    async fn list(&self) -> Result<Vec<Found>, RuntimeError>;

    /// SIGTERM, then SIGKILL after `grace`; returns when the process is gone. No error when it is gone already.
    async fn stop(&self, instance: InstanceId, grace: Span) -> Result<(), RuntimeError>;

    /// Takes away everything of an instance that has ended or never started: container, files, logs, anonymous volumes.
    /// No error when it is gone already.
    async fn remove(&self, instance: InstanceId) -> Result<(), RuntimeError>;

    /// Hints about changes, without end. Begins with [`Hint::Everything`], and gives it again after every gap.
    fn hints(&self) -> BoxStream<'static, Hint>;

    /// Output of an instance, oldest first. With `follow` the stream ends when the instance has ended and everything was given.
    async fn logs(
        &self,
        instance: InstanceId,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError>;

    /// Runs a command inside an instance that runs. [`RuntimeErrorKind::NotFound`] when it does not run.
    async fn exec(&self, instance: InstanceId, request: ExecRequest) -> Result<ExecSession, RuntimeError> {
        let _ = (instance, request);
        Err(RuntimeError::new(RuntimeErrorKind::Other, format!("the {} runtime cannot run commands in an instance", self.kind())))
    }

    /// What the runtime's own health check of an instance says; None when the runtime runs none for it, and whoever wants to
    /// know has to probe. Which check it is says [`ring_types::DeploymentSpec::native_check`].
    async fn health(&self, instance: InstanceId) -> Result<Option<NativeHealth>, RuntimeError> {
        let _ = instance;
        Ok(None)
    }

    /// What an instance that runs uses. [`RuntimeErrorKind::NotFound`] when it does not run.
    async fn stats(&self, instance: InstanceId) -> Result<InstanceStats, RuntimeError> {
        let _ = instance;
        Err(RuntimeError::new(RuntimeErrorKind::Other, format!("the {} runtime does not measure instances", self.kind())))
    }
}
