//! One micro-VM, watched from before its guest is told to start until nothing of it is left.
//!
//! Whatever an agent does here can be cut off at any moment. So every act has its record before it, and the next agent finds by
//! the records what was begun: see [`crate::layout`].

mod ending;
mod guest;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use ring_guest::{Exec, Measured, ToGuest};
use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::{InstanceId, StartFailure};
use tokio::sync::{mpsc, oneshot, watch as channel};

use crate::api::Api;
use crate::console::Console;
use crate::driver::Shared;
use crate::events::Events;
use crate::exec::{Execs, Opened};
use crate::journal::Book;
use crate::layout::InstanceDir;
use crate::link::Link;
use crate::record::{Boot, Record, Started, Starting, Vmm};

/// Questions that wait for a machine.
const ASKS: usize = 256;

/// How far a machine is.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// Its guest has not been told to start.
    Booting,
    /// Its guest has been told to start, and has not answered.
    Starting,
    /// The workload runs, or a disk image was booted.
    Running,
    /// How it ended is on the disk.
    Ended,
    /// Nothing of it is left but its files. With an error when it was never told to start.
    Gone(Option<RuntimeError>),
}

/// What a machine is asked.
pub(crate) enum Ask {
    /// Says something to the guest.
    Say(ToGuest),
    /// Runs a command.
    Exec(Exec, oneshot::Sender<Result<Opened, RuntimeError>>),
    /// Measures the guest.
    Measure(oneshot::Sender<Measured>),
    /// Ends it at once.
    Kill,
}

/// The way to a machine that is watched.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) asks: mpsc::Sender<Ask>,
    pub(crate) stage: channel::Receiver<Stage>,
}

/// One micro-VM.
pub(crate) struct Machine {
    shared: Arc<Shared>,
    instance: InstanceId,
    dir: InstanceDir,
    record: Record,
    vmm: Vmm,
    starting: Option<Starting>,
    started: Option<Started>,
    api: Api,
    book: Book,
    events: Events,
    console: Console,
    /// None for a disk image.
    link: Option<Link>,
    /// The guest on the link has said who it is.
    known: bool,
    /// The last signal that a guest is to be told of when it dials.
    signal: Option<ToGuest>,
    execs: Execs,
    measuring: Vec<oneshot::Sender<Measured>>,
    stage: channel::Sender<Stage>,
    asks: mpsc::Receiver<Ask>,
}

/// How the watching of a machine came to its end.
#[derive(Debug)]
enum Ending {
    /// The guest said how its workload ended.
    Told(ring_guest::End),
    /// Its workload was not executed, for certain.
    Failed(StartFailure, String),
    /// A disk image was shut down from inside.
    Off,
    /// It is gone, and nobody said how it ended.
    Lost(String),
    /// We ended it.
    Killed,
    /// It was never told to start.
    NeverStarted(String),
}

impl Handle {
    /// Waits for a stage.
    pub(crate) async fn until(&self, reached: impl Fn(&Stage) -> bool) -> Stage {
        let mut stage = self.stage.clone();
        let found = stage.wait_for(|stage| reached(stage)).await.map(|stage| stage.clone());
        // Its task was ended, which happens only with the runtime.
        found.unwrap_or(Stage::Gone(None))
    }
}

impl Stage {
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Ended | Self::Gone(_))
    }

    pub(crate) fn is_decided(&self) -> bool {
        !matches!(self, Self::Booting | Self::Starting)
    }
}

impl Machine {
    /// A machine whose VMM is there, and the way to it. For an image it listens for the guest from now on.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        instance: InstanceId,
        (record, vmm): (Record, Vmm),
        (starting, started): (Option<Starting>, Option<Started>),
        book: Book,
    ) -> std::io::Result<(Self, Handle)> {
        let dir = shared.dir(instance);
        let image = matches!(record.boot, Boot::Image(_));
        let link = image.then(|| Link::listen(&dir.vsock())).transpose()?;
        let begun = match (&starting, &started) {
            (None, _) => Stage::Booting,
            (Some(_), None) => Stage::Starting,
            (Some(_), Some(_)) => Stage::Running,
        };
        let ((stage, told), (asker, asks)) = (channel::channel(begun), mpsc::channel(ASKS));
        // The console of a disk image is its output; of an image it is looked at from its end.
        let console = Console::new(&dir.console(), if image { 0 } else { book.written() });
        let machine = Self {
            shared: Arc::clone(shared),
            instance,
            api: shared.api(&dir),
            events: Events::new(&dir.events()),
            console,
            dir,
            record,
            vmm,
            starting,
            started,
            book,
            link,
            known: false,
            signal: None,
            execs: Execs::default(),
            measuring: Vec::new(),
            stage,
            asks,
        };
        Ok((machine, Handle { asks: asker, stage: told }))
    }

    /// Watches it to its end, and takes away everything but its files.
    pub(crate) async fn run(mut self) {
        let ending = self.watch().await;
        self.end(ending).await;
    }

    fn is_image(&self) -> bool {
        matches!(self.record.boot, Boot::Image(_))
    }

    fn set(&self, stage: Stage) {
        self.stage.send_replace(stage);
        self.shared.changed(self.instance);
    }

    /// Writes a record where it holds nobody up. A disk that does not take it is asked again and again: what is not on it does
    /// not count.
    async fn persist<T: serde::Serialize + Clone + Send + 'static>(&self, path: std::path::PathBuf, record: T) {
        loop {
            let (path, record) = (path.clone(), record.clone());
            match self.shared.blocking(move |_| crate::record::write(&path, &record)).await {
                Ok(()) => return,
                Err(error) => tracing::error!(instance = %self.instance, %error, "a record is not on the disk, trying again"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn refused(&self, cause: StartFailure, message: &str) -> RuntimeError {
        let message = format!("instance {}: {message}", self.instance);
        RuntimeError::new(RuntimeErrorKind::Start(cause), message)
    }

    fn now() -> ring_types::Timestamp {
        ring_runtime::now()
    }
}
