//! The log of an instance as its machine has it: written where that holds nobody up, and by one machine at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ring_runtime::LogSource;
use ring_types::Timestamp;

use crate::layout::InstanceDir;
use crate::logs::{Ends, Journal};

/// Between two attempts to get the lock, which an agent that ends gives back at once.
const AGAIN: Duration = Duration::from_millis(5);

/// The log and the lock on it.
#[derive(Clone)]
pub(crate) struct Book {
    inner: Arc<Mutex<Journal>>,
    /// Held as long as this exists.
    _lock: Arc<File>,
}

impl Book {
    /// Opens the log of an instance when no other machine has it any more.
    pub(crate) async fn open(dir: &InstanceDir, ends: Ends) -> io::Result<Self> {
        let lock = Arc::new(File::options().create(true).write(true).truncate(false).open(dir.lock())?);
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => tokio::time::sleep(AGAIN).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        let logs = dir.logs();
        let journal = tokio::task::spawn_blocking(move || Journal::open(&logs, ends)).await.map_err(io::Error::other)??;
        Ok(Self { inner: Arc::new(Mutex::new(journal)), _lock: lock })
    }

    /// Takes a piece of output and gives the place up to which all is in the log.
    pub(crate) async fn take(&self, now: Timestamp, source: LogSource, offset: u64, bytes: Vec<u8>) -> u64 {
        self.with(move |journal| {
            journal.take(now, source, offset, &bytes);
            journal.written()
        })
        .await
    }

    pub(crate) async fn note(&self, now: Timestamp, message: String) {
        self.with(move |journal| journal.note(now, &message)).await;
    }

    pub(crate) async fn finish(&self, now: Timestamp) {
        self.with(move |journal| journal.finish(now)).await;
    }

    pub(crate) fn written(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).written()
    }

    /// The closure has the lock with it, so that it is not given back while the closure still writes.
    async fn with<T: Default + Send + 'static>(&self, work: impl FnOnce(&mut Journal) -> T + Send + 'static) -> T {
        let own = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&mut own.inner.lock().unwrap_or_else(PoisonError::into_inner)));
        done.await.unwrap_or_default()
    }
}
