//! Commands in the instances of a fake runtime.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use ring_types::InstanceId;
use tokio::sync::mpsc;

use super::FakeRuntime;
use super::script::{FakeCall, FakeExec};
use crate::{ExecEvent, ExecInput, ExecSession, RuntimeError, RuntimeErrorKind, TerminalSize};

/// Largest piece of what a command writes.
const PIECE: usize = 5_000;

type Events = BoxStream<'static, Result<ExecEvent, RuntimeError>>;

/// A command that does what it is told.
pub(super) async fn session(runtime: FakeRuntime, instance: InstanceId, does: FakeExec) -> Result<ExecSession, RuntimeError> {
    let (events, input): (Events, Box<dyn ExecInput>) = match does {
        FakeExec::Unsupported => {
            return Err(RuntimeError::new(RuntimeErrorKind::Other, "the fake runtime was not told what commands do"));
        }
        FakeExec::Exits(code, output) => {
            let written = (!output.is_empty()).then(|| Ok(ExecEvent::Stdout(output.into())));
            (stream::iter(written.into_iter().chain([Ok(ExecEvent::Exited(code))])).boxed(), Box::new(NoInput))
        }
        FakeExec::Hangs => (stream::pending().boxed(), Box::new(Deaf)),
        FakeExec::Unanswered => std::future::pending().await,
        FakeExec::Echoes => echo(),
        FakeExec::Writes(bytes) => (writes(bytes), Box::new(NoInput)),
    };
    let watched = Watched { runtime, instance, over: false };
    let events = stream::unfold((events, watched), |(mut events, mut watched)| async move {
        let event = events.next().await;
        watched.over |= matches!(event, None | Some(Ok(ExecEvent::Exited(_)) | Err(_)));
        event.map(|event| (event, (events, watched)))
    });
    Ok(ExecSession { events: events.boxed(), input })
}

fn writes(bytes: usize) -> Events {
    let digit = |at: usize| b'0' + (at % 10) as u8;
    let pieces = (0..bytes).step_by(PIECE).map(move |from| {
        let piece: Vec<u8> = (from..bytes.min(from + PIECE)).map(digit).collect();
        Ok(ExecEvent::Stdout(piece.into()))
    });
    stream::iter(pieces.chain([Ok(ExecEvent::Exited(0))])).boxed()
}

fn echo() -> (Events, Box<dyn ExecInput>) {
    let (sender, receiver) = mpsc::channel(1);
    let events = stream::unfold(receiver, |mut receiver| async move {
        let event = receiver.recv().await?;
        Some((Ok(event), receiver))
    });
    (events.boxed(), Box::new(Echo { to: Some(sender) }))
}

/// Notes when a command is dropped before its end.
struct Watched {
    runtime: FakeRuntime,
    instance: InstanceId,
    over: bool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.over {
            self.runtime.world().calls.push(FakeCall::ExecDropped(self.instance));
            self.runtime.wake(None);
        }
    }
}

/// The input of a command that gives it back.
struct Echo {
    to: Option<mpsc::Sender<ExecEvent>>,
}

impl Echo {
    async fn give(&mut self, event: ExecEvent) -> Result<(), RuntimeError> {
        let closed = || RuntimeError::new(RuntimeErrorKind::Other, "its input was closed");
        self.to.as_ref().ok_or_else(closed)?.send(event).await.map_err(|_| closed())
    }
}

#[async_trait]
impl ExecInput for Echo {
    async fn write(&mut self, bytes: Bytes) -> Result<(), RuntimeError> {
        self.give(ExecEvent::Stdout(bytes)).await
    }

    async fn close(&mut self) -> Result<(), RuntimeError> {
        if self.to.is_some() {
            self.give(ExecEvent::Exited(0)).await?;
        }
        self.to = None;
        Ok(())
    }

    async fn resize(&mut self, size: TerminalSize) -> Result<(), RuntimeError> {
        self.give(ExecEvent::Stdout(format!("{} {}\n", size.rows, size.columns).into())).await
    }
}

/// The input of commands that read none.
struct NoInput;

#[async_trait]
impl ExecInput for NoInput {
    async fn write(&mut self, _bytes: Bytes) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn close(&mut self) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn resize(&mut self, _size: TerminalSize) -> Result<(), RuntimeError> {
        Ok(())
    }
}

/// The input of a command that does not read it.
struct Deaf;

#[async_trait]
impl ExecInput for Deaf {
    async fn write(&mut self, _bytes: Bytes) -> Result<(), RuntimeError> {
        std::future::pending().await
    }

    async fn close(&mut self) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn resize(&mut self, _size: TerminalSize) -> Result<(), RuntimeError> {
        Ok(())
    }
}
