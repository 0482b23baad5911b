//! Commands run inside a container.
//!
//! An engine cannot end a command it was asked to run: it offers no verb for that, and goes on when its client is gone. What is
//! done instead is in [`end`].

mod end;
mod input;
mod output;

use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::exec::StartExecOptions;
use bollard::exec::StartExecResults;
use bollard::models::{ContainerInspectResponse, ExecConfig};
use ring_runtime::{ExecRequest, ExecSession, Observed, RuntimeError, RuntimeErrorKind, TerminalSize};
use ring_types::InstanceId;
use tokio::time::{Instant, sleep};

use crate::client::{Client, status};
use crate::driver::Containers;
use crate::state::observed;
use end::Ending;
use input::Input;

/// Programs of a terminal ask for its size early: the engine takes one only when the command has started, and says so by
/// refusing until then.
const SIZE: Duration = Duration::from_secs(2);

/// Runs a command in the container of an instance.
pub(crate) async fn exec(
    containers: &Arc<Containers>,
    instance: InstanceId,
    request: ExecRequest,
) -> Result<ExecSession, RuntimeError> {
    let container = running(containers, instance).await?;
    let exec = create(containers, instance, container.id.unwrap_or_default(), &request).await?;
    // From here on there may be a command to be ended.
    let ending = Ending::new(Arc::clone(containers), exec.clone());
    let start = StartExecOptions { detach: false, tty: request.terminal.is_some(), output_capacity: None };
    let id = exec.clone();
    let asked = containers.client.ask(|docker| async move { docker.start_exec(&id, Some(start)).await });
    let (output, input) = match asked.await? {
        Ok(StartExecResults::Attached { output, input }) => (output, input),
        Ok(StartExecResults::Detached) => return Err(odd(instance, "the engine did not attach to the command")),
        Err(error) => match output::refused(&error) {
            Some(events) => return Ok(ExecSession { events, input: Box::new(Input::none(&containers.client)) }),
            None => return Err(failed(containers, instance, &error)),
        },
    };
    if let Some(size) = request.terminal {
        resize_when_started(Arc::clone(&containers.client), exec.clone(), size);
    }
    let input = Input::new(&containers.client, exec.clone(), request.stdin.then_some(input), request.terminal.is_some());
    let events = output::events(Arc::clone(containers), exec, output, ending);
    Ok(ExecSession { events, input: Box::new(input) })
}

async fn create(
    containers: &Containers,
    instance: InstanceId,
    container: String,
    request: &ExecRequest,
) -> Result<String, RuntimeError> {
    if request.command.is_empty() {
        return Err(odd(instance, "there is no command to run"));
    }
    let config = ExecConfig {
        attach_stdin: Some(request.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(request.terminal.is_some()),
        cmd: Some(request.command.clone()),
        ..ExecConfig::default()
    };
    let asked = containers.client.ask(|docker| async move { docker.create_exec(&container, config).await });
    asked.await?.map(|made| made.id).map_err(|error| failed(containers, instance, &error))
}

/// The container of an instance that runs.
pub(crate) async fn running(containers: &Containers, instance: InstanceId) -> Result<ContainerInspectResponse, RuntimeError> {
    let found = containers.inspect(instance).await?.ok_or_else(|| not_running(instance))?;
    match observed(&found, containers.moment()) {
        Observed::Running { .. } => Ok(found),
        Observed::Absent | Observed::Created | Observed::Exited { .. } => Err(not_running(instance)),
    }
}

pub(crate) fn not_running(instance: InstanceId) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::NotFound, format!("instance {instance} does not run"))
}

fn failed(containers: &Containers, instance: InstanceId, error: &Error) -> RuntimeError {
    // It ended between the look and the question.
    if matches!(status(error), Some(404 | 409)) {
        return not_running(instance);
    }
    containers.failed(&format!("a command in instance {instance}"), error)
}

fn odd(instance: InstanceId, what: &str) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Other, format!("a command in instance {instance}: {what}"))
}

fn resize_when_started(client: Arc<Client>, exec: String, size: TerminalSize) {
    tokio::spawn(async move {
        let deadline = Instant::now() + SIZE;
        while input::resize(&client, &exec, size).await.is_err() && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
    });
}
