//! Group commit: one thread makes everything that was written durable, with one sync for all who wait.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use fail::fail_point;
use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};

use crate::StoreError;
use crate::disk::Disk;
use crate::types::Types;

/// Writes that may wait for a sync; more have to wait before they are written.
const QUEUE: usize = 4096;

/// Somebody who waits until what was written before is durable.
pub(crate) enum Waiting {
    /// Entries of the log.
    Append(IOFlushed<Types>),
    /// A vote, or the end.
    Sync(oneshot::Sender<io::Result<()>>),
}

impl Waiting {
    fn complete(self, result: &io::Result<()>) {
        let result = result.as_ref().copied().map_err(|e| io::Error::new(e.kind(), e.to_string()));
        match self {
            Self::Append(callback) => callback.io_completed(result),
            // Who does not wait any more needs no answer.
            Self::Sync(sender) => drop(sender.send(result)),
        }
    }
}

/// The queue to the flush thread. The thread ends, after a last sync, when every copy is gone. Whoever stops a replica waits for the
/// database to be closed, and so for the thread: a process that ends while one is in RocksDB may be aborted by it.
#[derive(Clone)]
pub(crate) struct Flusher(Arc<Queue>);

struct Queue {
    /// None while it is dropped.
    sender: Option<mpsc::Sender<Waiting>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.sender = None;
        // Unit tests drop what they opened without stopping a replica. Elsewhere the last copy goes on a thread of the async runtime,
        // which must not wait for this one, or in what the thread itself completes.
        if cfg!(test)
            && let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the flush thread panicked");
        }
    }
}

impl Flusher {
    pub(crate) fn start(disk: Arc<Disk>) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let path = disk.dir().root().to_owned();
        let thread = thread::Builder::new().name("ring-flush".to_owned()).spawn(move || run(&disk, receiver));
        match thread {
            Ok(thread) => Ok(Self(Arc::new(Queue { sender: Some(sender), thread: Some(thread) }))),
            Err(e) => Err(StoreError::Disk { action: "start the flush thread for", path, cause: e.to_string() }),
        }
    }

    /// Has `waiting` completed after the next sync.
    pub(crate) async fn enqueue(&self, waiting: Waiting) -> io::Result<()> {
        let ended = || io::Error::other("the flush thread has ended");
        self.0.sender.as_ref().ok_or_else(ended)?.send(waiting).await.map_err(|_| ended())
    }

    /// Waits until everything written before is durable.
    pub(crate) async fn sync(&self) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        self.enqueue(Waiting::Sync(sender)).await?;
        receiver.await.map_err(|_| io::Error::other("the flush thread has ended"))?
    }
}

fn run(disk: &Disk, mut queue: mpsc::Receiver<Waiting>) {
    let mut round = Vec::new();
    while queue.blocking_recv_many(&mut round, QUEUE) > 0 {
        fail_point!("log-before-flush");
        let result = disk.flush();
        fail_point!("log-after-flush");
        for waiting in round.drain(..) {
            waiting.complete(&result);
        }
        // A failure was reported, here and below.
        let _ = result.and_then(|()| disk.mark());
    }
    // Applied rows are worth keeping too, though the log could give them again.
    let _ = disk.flush().and_then(|()| disk.mark());
}
