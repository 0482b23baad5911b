//! What goes to a command in a container.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bollard::query_parameters::ResizeExecOptions;
use bytes::Bytes;
use ring_runtime::{ExecInput, RuntimeError, RuntimeErrorKind, TerminalSize};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::client::Client;

type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// The way to one command.
pub(super) struct Input {
    client: Arc<Client>,
    exec: String,
    writer: Option<Writer>,
    terminal: bool,
}

impl Input {
    pub(super) fn new(client: &Arc<Client>, exec: String, writer: Option<Writer>, terminal: bool) -> Self {
        Self { client: Arc::clone(client), exec, writer, terminal }
    }

    /// For a command that has ended already.
    pub(super) fn none(client: &Arc<Client>) -> Self {
        Self::new(client, String::new(), None, false)
    }
}

fn ended(why: &str) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Other, format!("the command takes no input: {why}"))
}

#[async_trait]
impl ExecInput for Input {
    async fn write(&mut self, bytes: Bytes) -> Result<(), RuntimeError> {
        let writer = self.writer.as_mut().ok_or_else(|| ended("it has none, or it was closed"))?;
        writer.write_all(&bytes).await.map_err(|error| ended(&error.to_string()))?;
        writer.flush().await.map_err(|error| ended(&error.to_string()))
    }

    async fn close(&mut self) -> Result<(), RuntimeError> {
        match self.writer.take() {
            // A connection that is closed already is what was wanted.
            Some(mut writer) => writer.shutdown().await.or(Ok(())),
            None => Ok(()),
        }
    }

    async fn resize(&mut self, size: TerminalSize) -> Result<(), RuntimeError> {
        if self.terminal { resize(&self.client, &self.exec, size).await } else { Ok(()) }
    }
}

pub(super) async fn resize(client: &Client, exec: &str, size: TerminalSize) -> Result<(), RuntimeError> {
    let options = ResizeExecOptions { h: size.rows.into(), w: size.columns.into() };
    let asked = client.ask(|docker| async move { docker.resize_exec(exec, options).await }).await?;
    asked.map_err(|error| client.error(RuntimeErrorKind::Other, "the size of a terminal", &error))
}
