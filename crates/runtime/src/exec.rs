//! Commands run inside an instance that runs: health checks of type `command`, and people.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::RuntimeError;

/// What is run, and how it is talked to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// Program and arguments, run without a shell.
    pub command: Vec<String>,
    /// Input is taken; without it the command reads an empty one.
    pub stdin: bool,
    /// A terminal of this size; both outputs come as [`ExecEvent::Stdout`] then.
    pub terminal: Option<TerminalSize>,
}

/// Size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// What comes from a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecEvent {
    /// Standard output, or a terminal's.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// It ended with this code, 128 plus the signal when one ended it. The last event.
    Exited(i32),
}

/// A command under way. Dropping it ends the command, as far as the runtime can: a daemon that cannot kill it leaves it running.
///
/// A command that cannot be executed has run too: it exits with 127 (there is no such program) or 126 (it is none), with the
/// reason on standard error. A command never outlives its instance.
pub struct ExecSession {
    /// What comes from it, ending with [`ExecEvent::Exited`] or an error. Dropping this alone ends the command too.
    pub events: BoxStream<'static, Result<ExecEvent, RuntimeError>>,
    /// What goes to it.
    pub input: Box<dyn ExecInput>,
}

/// The way to a command. Dropping it alone changes nothing for the command: it has no input then, and no end of it.
#[async_trait]
pub trait ExecInput: Send + 'static {
    /// Gives it input; waits while it does not read. What a command that has closed its input is given is lost. An error when it
    /// was run without input, or that was ended.
    async fn write(&mut self, bytes: Bytes) -> Result<(), RuntimeError>;

    /// Ends its input.
    async fn close(&mut self) -> Result<(), RuntimeError>;

    /// Its terminal has another size. Does nothing without one.
    async fn resize(&mut self, size: TerminalSize) -> Result<(), RuntimeError>;
}
