//! What this node has to remember of its instances, on disk: small, append-only, and whole after a kill at any point.
//!
//! One thread writes; whatever waits for it goes into one frame and one fsync.

mod file;
mod frame;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring_types::{InstanceId, NodeId};
use tokio::sync::{mpsc, oneshot};

use crate::next::Durability;
use crate::record::Record;
use file::LedgerFile;

/// Changes that may wait for the writer; whoever comes later waits to queue.
const QUEUE: usize = 256;

/// A change of one record; None deletes it.
type Change = (InstanceId, Option<Record>);

/// Why the ledger cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The file system failed.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// Another agent has it open.
    #[error("{} is in use by another agent", .0.display())]
    InUse(PathBuf),
    /// It was written for another node.
    #[error("{} belongs to node {owner}, this is node {node}", path.display())]
    Stranger {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: NodeId,
        /// Who asks.
        node: NodeId,
    },
    /// It was written by a later release, or is no ledger.
    #[error("{} cannot be read: {cause}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The writer has ended.
    #[error("the ledger is closed")]
    Closed,
}

struct Job {
    change: Change,
    durability: Durability,
    done: oneshot::Sender<Result<(), LedgerError>>,
}

/// A handle of the open ledger. The file is closed when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Ledger {
    jobs: mpsc::Sender<Job>,
}

impl Ledger {
    /// Opens the ledger of `node` in `dir`, making both when they are missing, and gives what is in it.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be read, or is another's.
    pub fn open(dir: &Path, node: NodeId) -> Result<(Self, BTreeMap<InstanceId, Record>), LedgerError> {
        let file = LedgerFile::open(dir, node)?;
        let records = file.records().clone();
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("ring-ledger".into());
        thread.spawn(move || write_all(file, queue)).map_err(|cause| LedgerError::Io {
            action: "start the writer of",
            path: dir.to_owned(),
            cause: Arc::new(cause),
        })?;
        Ok((Self { jobs }, records))
    }

    /// What the ledger of `node` in `dir` has, read beside whoever has it open.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be read, or is another's.
    pub fn peek(dir: &Path, node: NodeId) -> Result<BTreeMap<InstanceId, Record>, LedgerError> {
        file::peek(dir, node)
    }

    /// Puts a record into the ledger; returns when it counts as written.
    ///
    /// # Errors
    /// [`LedgerError`] when it is not written; the ledger is as it was before.
    pub async fn write(&self, instance: InstanceId, record: Record, durability: Durability) -> Result<(), LedgerError> {
        self.change((instance, Some(record)), durability).await
    }

    /// Deletes a record.
    ///
    /// # Errors
    /// [`LedgerError`] when it is not deleted.
    pub async fn forget(&self, instance: InstanceId) -> Result<(), LedgerError> {
        self.change((instance, None), Durability::Lazy).await
    }

    async fn change(&self, change: Change, durability: Durability) -> Result<(), LedgerError> {
        let (done, answer) = oneshot::channel();
        self.jobs.send(Job { change, durability, done }).await.map_err(|_| LedgerError::Closed)?;
        answer.await.map_err(|_| LedgerError::Closed)?
    }
}

/// The writer: takes what waits, writes it at once, answers all.
fn write_all(mut file: LedgerFile, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < QUEUE
            && let Ok(job) = queue.try_recv()
        {
            batch.push(job);
        }
        let sync = batch.iter().any(|job| job.durability == Durability::Fsync);
        let (changes, waiting): (Vec<_>, Vec<_>) = batch.into_iter().map(|job| (job.change, job.done)).unzip();
        let result = file.append(changes, sync);
        for done in waiting {
            // Who asked may be gone; the record is written all the same.
            let _ = done.send(result.clone());
        }
    }
}

#[cfg(test)]
mod tests;
