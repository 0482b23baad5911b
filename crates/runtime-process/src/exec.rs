//! Commands run inside an instance: as its user, with its environment, in its working directory, control group and mounts.
//!
//! Each has a parent of its own, the shim started with [`EXEC`], which runs it in a session of its own, on a terminal when that
//! is asked for, and ends everything that descends from it when it has ended, when nobody listens any more, and when the agent
//! is gone. A command does not outlive its instance.

pub(crate) mod frame;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use ring_runtime::{ExecEvent, ExecInput, ExecRequest, ExecSession, RuntimeError, RuntimeErrorKind, TerminalSize};
use ring_types::InstanceId;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;
use tokio::process::{Child, ChildStdin};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use crate::driver::{Shared, not_found};
use crate::observe::State;
use crate::record::{self, Record};
use frame::Frame;
use ring_runtime_host::proc::ProcessId;
use ring_runtime_host::proc::gone;

/// With this as its last argument a shim is the parent of a command inside an instance.
pub(crate) const EXEC: &str = "exec";

/// A parent that was asked to end its command has ended it by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// Input is passed on in pieces of this size.
const PIECE: usize = 64 * 1024;

/// What is run, for the parent of the command.
#[derive(Serialize, Deserialize)]
pub(crate) struct ExecOrder {
    pub(crate) record: Record,
    pub(crate) environment: BTreeMap<String, String>,
    /// The instance's own process.
    pub(crate) process: ProcessId,
    pub(crate) command: Vec<String>,
    pub(crate) stdin: bool,
    /// Rows and columns.
    pub(crate) terminal: Option<(u16, u16)>,
}

impl Shared {
    pub(crate) async fn exec(self: &Arc<Self>, instance: InstanceId, request: ExecRequest) -> Result<ExecSession, RuntimeError> {
        if request.command.is_empty() {
            return Err(failed(instance, "there is no command to run"));
        }
        let process = self.running(instance).await?;
        let order = self.exec_order(instance, process, request).await?;
        let (stdin, terminal) = (order.stdin, order.terminal.is_some());
        let broken = |error: std::io::Error| failed(instance, &error.to_string());
        let order = serde_json::to_vec(&order).map_err(|error| failed(instance, &error.to_string()))?;
        let mut parent = self.spawn(&self.dir(instance), Some(EXEC)).map_err(broken)?;
        let (Some(mut pipe), Some(out), Some(err)) = (parent.stdin.take(), parent.stdout.take(), parent.stderr.take()) else {
            return Err(failed(instance, "its parent has no pipes"));
        };
        let running = Running::new(parent, process);
        frame::write(&mut pipe, &Frame::Order(order.into())).await.map_err(broken)?;
        let pipe = Arc::new(Mutex::new(pipe));
        let input = Input { pipe: Arc::clone(&pipe), open: stdin, terminal };
        Ok(ExecSession { events: events(out, err, running, pipe), input: Box::new(input) })
    }

    /// The process of an instance that runs.
    pub(crate) async fn running(self: &Arc<Self>, instance: InstanceId) -> Result<ProcessId, RuntimeError> {
        match self.observe(instance).await? {
            State::Running(_, Some(started)) if started.process.alive() => Ok(started.process),
            _ => Err(RuntimeError::new(RuntimeErrorKind::NotFound, format!("instance {instance} does not run"))),
        }
    }

    async fn exec_order(
        self: &Arc<Self>,
        instance: InstanceId,
        process: ProcessId,
        request: ExecRequest,
    ) -> Result<ExecOrder, RuntimeError> {
        let path = self.dir(instance).record();
        let found = self.blocking(move |shared| {
            let kept = shared.vault.get(instance).map(|kept| kept.environment);
            Ok((record::read::<Record>(&path)?, kept.unwrap_or_else(|| environment_of(process))))
        });
        let (record, environment) = found.await?;
        Ok(ExecOrder {
            record: record.ok_or_else(|| not_found(instance))?,
            environment,
            process,
            command: request.command,
            stdin: request.stdin,
            terminal: request.terminal.map(|size| (size.rows, size.columns)),
        })
    }
}

/// The environment the kernel remembers of a process: what it was executed with, unless it wrote over it.
fn environment_of(process: ProcessId) -> BTreeMap<String, String> {
    let bytes = std::fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn failed(instance: InstanceId, what: &str) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Other, format!("a command in instance {instance}: {what}"))
}

/// Both outputs, and when they are at their ends the code. The pipe stays open as long as somebody listens, as its end is the
/// sign that nobody does.
fn events(
    out: impl AsyncRead + Send + 'static,
    err: impl AsyncRead + Send + 'static,
    running: Running,
    pipe: Arc<Mutex<ChildStdin>>,
) -> BoxStream<'static, Result<ExecEvent, RuntimeError>> {
    let lost = |error: std::io::Error| RuntimeError::new(RuntimeErrorKind::Other, format!("output of a command: {error}"));
    let out = ReaderStream::new(out).map(move |bytes| bytes.map(ExecEvent::Stdout).map_err(lost));
    let err = ReaderStream::new(err).map(move |bytes| bytes.map(ExecEvent::Stderr).map_err(lost));
    let end = stream::once(async move {
        let code = running.code().await;
        drop(pipe);
        code
    });
    stream::select(out, err).chain(end).boxed()
}

/// The parent of a command. When it is dropped, the command is ended.
struct Running {
    parent: Option<Child>,
    /// Ends the command when the instance has ended.
    guard: JoinHandle<()>,
}

impl Running {
    fn new(parent: Child, process: ProcessId) -> Self {
        let pid = pid(&parent);
        let guard = tokio::spawn(async move {
            gone(process).await;
            ask_to_end(pid);
        });
        Self { parent: Some(parent), guard }
    }

    async fn code(mut self) -> Result<ExecEvent, RuntimeError> {
        // Its number means somebody else as soon as it is collected.
        self.guard.abort();
        let _ = (&mut self.guard).await;
        let lost = || RuntimeError::new(RuntimeErrorKind::Other, "the end of a command is not known");
        let status = self.parent.as_mut().ok_or_else(lost)?.wait().await.map_err(|_| lost())?;
        self.parent = None;
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        status.code().or(signal.map(|signal| 128 + signal)).map(ExecEvent::Exited).ok_or_else(lost)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.guard.abort();
        let Some(mut parent) = self.parent.take() else { return };
        ask_to_end(pid(&parent));
        // Without a runtime the agent itself is about to end; then the parent notices that.
        if let Ok(handle) = Handle::try_current() {
            handle.spawn(async move {
                if timeout(PATIENCE, parent.wait()).await.is_err() {
                    let _ = parent.kill().await;
                }
            });
        }
    }
}

fn pid(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

fn ask_to_end(parent: Option<Pid>) {
    let _ = parent.map(|pid| kill_process(pid, Signal::TERM));
}

/// The way to a command.
struct Input {
    pipe: Arc<Mutex<ChildStdin>>,
    open: bool,
    terminal: bool,
}

impl Input {
    async fn send(&mut self, frame: Frame) -> Result<(), RuntimeError> {
        let mut pipe = self.pipe.lock().await;
        let sent = frame::write(&mut *pipe, &frame).await;
        sent.map_err(|error| RuntimeError::new(RuntimeErrorKind::Other, format!("the command takes no input: {error}")))
    }
}

#[async_trait]
impl ExecInput for Input {
    async fn write(&mut self, bytes: Bytes) -> Result<(), RuntimeError> {
        if !self.open {
            let message = "the command takes no input: it has none, or it was closed";
            return Err(RuntimeError::new(RuntimeErrorKind::Other, message));
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE));
            self.send(Frame::Input(piece)).await?;
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), RuntimeError> {
        if std::mem::take(&mut self.open) {
            // One that has ended already needs no end of its input.
            let _ = self.send(Frame::Close).await;
        }
        Ok(())
    }

    async fn resize(&mut self, size: TerminalSize) -> Result<(), RuntimeError> {
        if self.terminal { self.send(Frame::Resize(size.rows, size.columns)).await } else { Ok(()) }
    }
}
