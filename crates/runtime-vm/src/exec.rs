//! Commands run inside a guest: each is a number on the connection to it.
//!
//! Neither side has more than [`WINDOW`] bytes of a command on the way: a command whose output nobody takes waits, and so does
//! whoever writes to one that does not read.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use ring_guest::{CHUNK, Exec, Source, TerminalSize as GuestSize, ToGuest, ToHost, WINDOW};
use ring_runtime::{ExecEvent, ExecInput, ExecRequest, ExecSession, RuntimeError, RuntimeErrorKind, TerminalSize};
use tokio::sync::{Semaphore, mpsc};

use crate::machine::Ask;

/// The commands under way in one guest.
#[derive(Default)]
pub(crate) struct Execs {
    next: u32,
    all: HashMap<u32, Side>,
}

/// The driver's side of a command.
struct Side {
    events: mpsc::UnboundedSender<Result<ExecEvent, RuntimeError>>,
    /// What may be sent to it, bytes.
    room: Arc<Semaphore>,
}

/// The other side: what a session is made of.
pub(crate) struct Opened {
    id: u32,
    events: mpsc::UnboundedReceiver<Result<ExecEvent, RuntimeError>>,
    room: Arc<Semaphore>,
}

impl Opened {
    pub(crate) fn id(&self) -> u32 {
        self.id
    }
}

impl Execs {
    /// A new command, under a number no other has.
    pub(crate) fn open(&mut self) -> Opened {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        // As much as the window holds is in it at most.
        let (sender, events) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(WINDOW));
        self.all.insert(id, Side { events: sender, room: Arc::clone(&room) });
        Opened { id, events, room }
    }

    /// Takes what a guest says of a command. False when it is about something else.
    pub(crate) fn take(&mut self, message: &ToHost) -> bool {
        match message {
            ToHost::ExecOutput { id, source, bytes } => {
                let bytes = Bytes::copy_from_slice(bytes);
                self.event(*id, Ok(if *source == Source::Stdout { ExecEvent::Stdout(bytes) } else { ExecEvent::Stderr(bytes) }));
            }
            ToHost::ExecTaken { id, bytes } => {
                if let Some(side) = self.all.get(id) {
                    let room = WINDOW.saturating_sub(side.room.available_permits());
                    side.room.add_permits(room.min(*bytes as usize));
                }
            }
            ToHost::ExecExited { id, code } => {
                self.event(*id, Ok(ExecEvent::Exited(*code)));
                self.close(*id);
            }
            ToHost::ExecRefused { id, message } => {
                self.event(*id, Err(failed(message)));
                self.close(*id);
            }
            _ => return false,
        }
        true
    }

    /// A command ends with the connection it was asked for on.
    pub(crate) fn lost(&mut self) {
        let all: Vec<u32> = self.all.keys().copied().collect();
        for id in all {
            self.event(id, Err(failed("the connection to the guest was lost")));
            self.close(id);
        }
    }

    fn event(&self, id: u32, event: Result<ExecEvent, RuntimeError>) {
        if let Some(side) = self.all.get(&id) {
            // Nobody listening any more is told to the guest by whoever stopped listening.
            let _ = side.events.send(event);
        }
    }

    fn close(&mut self, id: u32) {
        if let Some(side) = self.all.remove(&id) {
            side.room.close();
        }
    }
}

/// What the guest is asked for.
pub(crate) fn order(request: &ExecRequest) -> Exec {
    Exec { argv: request.command.clone(), stdin: request.stdin, terminal: request.terminal.map(size) }
}

fn size(size: TerminalSize) -> GuestSize {
    GuestSize { rows: size.rows, columns: size.columns }
}

fn failed(what: &str) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Other, format!("a command in an instance: {what}"))
}

/// A session of a command that was asked for; `asks` leads to its machine.
pub(crate) fn session(opened: Opened, asks: mpsc::Sender<Ask>, stdin: bool, terminal: bool) -> ExecSession {
    let Opened { id, events, room } = opened;
    let listening = Listening { id, events, asks: asks.clone(), over: false };
    let events = stream::unfold(listening, |mut listening| async move {
        let event = listening.next().await?;
        Some((event, listening))
    });
    ExecSession { events: events.boxed(), input: Box::new(Input { id, asks, room, open: stdin, terminal }) }
}

/// Somebody who listens to a command. When they are gone the command is ended.
struct Listening {
    id: u32,
    events: mpsc::UnboundedReceiver<Result<ExecEvent, RuntimeError>>,
    asks: mpsc::Sender<Ask>,
    over: bool,
}

impl Listening {
    async fn next(&mut self) -> Option<Result<ExecEvent, RuntimeError>> {
        if self.over {
            return None;
        }
        let event = self.events.recv().await.unwrap_or_else(|| Err(failed("its guest is not watched any more")));
        match &event {
            Ok(ExecEvent::Stdout(bytes) | ExecEvent::Stderr(bytes)) => {
                let bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                // Without a machine there is no guest that waits for this.
                let _ = self.asks.send(Ask::Say(ToGuest::ExecTaken { id: self.id, bytes })).await;
            }
            Ok(ExecEvent::Exited(_)) | Err(_) => self.over = true,
        }
        Some(event)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let (id, asks) = (self.id, self.asks.clone());
        // Without a runtime the agent itself is about to end, and the connection with it.
        if let Ok(handle) = tokio::runtime::Handle::try_current() {
            handle.spawn(async move {
                let _ = asks.send(Ask::Say(ToGuest::ExecKill { id })).await;
            });
        }
    }
}

/// The way to a command.
struct Input {
    id: u32,
    asks: mpsc::Sender<Ask>,
    room: Arc<Semaphore>,
    open: bool,
    terminal: bool,
}

impl Input {
    async fn say(&self, message: ToGuest) -> Result<(), RuntimeError> {
        self.asks.send(Ask::Say(message)).await.map_err(|_| failed("its guest is not watched any more"))
    }
}

#[async_trait]
impl ExecInput for Input {
    async fn write(&mut self, bytes: Bytes) -> Result<(), RuntimeError> {
        if !self.open {
            return Err(failed("it takes no input: it has none, or it was closed"));
        }
        for piece in bytes.chunks(CHUNK) {
            let wanted = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            let room = self.room.acquire_many(wanted).await.map_err(|_| failed("it has ended and takes no input"))?;
            // Comes back when the guest says so.
            room.forget();
            self.say(ToGuest::ExecInput { id: self.id, bytes: piece.to_vec() }).await?;
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), RuntimeError> {
        if std::mem::take(&mut self.open) {
            // One that has ended already needs no end of its input.
            let _ = self.say(ToGuest::ExecClose { id: self.id }).await;
        }
        Ok(())
    }

    async fn resize(&mut self, size: TerminalSize) -> Result<(), RuntimeError> {
        if self.terminal { self.say(ToGuest::ExecResize { id: self.id, size: self::size(size) }).await } else { Ok(()) }
    }
}
