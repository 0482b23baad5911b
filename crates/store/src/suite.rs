//! openraft's own suite for log stores and state machines, run against this one.

use openraft::StorageError;
use openraft::errors::ErrorSource;
use openraft::impls::BoxedErrorSource;
use openraft::testing::log::{StoreBuilder, Suite};
use ring_types::{ClusterId, MemberId};
use std::sync::Arc;
use tempfile::TempDir;

use crate::disk::Disk;
use crate::failure::Failure;
use crate::flush::Flusher;
use crate::identity::DataDir;
use crate::log::LogStore;
use crate::machine::Machine;
use crate::snapshot::Snapshots;
use crate::types::Types;

struct Builder;

fn build() -> Result<(TempDir, LogStore, Machine), Box<dyn std::error::Error>> {
    let root = tempfile::tempdir()?;
    let (cluster, failure) = (ClusterId(uuid::Uuid::from_u128(1)), Failure::new());
    let dir = DataDir::take(root.path())?;
    dir.claim(cluster, MemberId(0))?;
    let snapshots = Snapshots::open(dir.snapshots(), cluster, failure.clone())?;
    let disk = Disk::open(dir, failure)?;
    let loaded = disk.load()?;
    let flusher = Flusher::start(Arc::clone(&disk))?;
    let log = LogStore::open(Arc::clone(&disk), flusher.clone())?;
    let (machine, _) = Machine::new(disk, flusher, loaded, snapshots);
    Ok((root, log, machine))
}

impl StoreBuilder<Types, LogStore, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError<Types>> {
        build().map_err(|e| StorageError::read(BoxedErrorSource::from_string(e)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_suite_passes() {
    Suite::test_all(Builder).await.unwrap();
}
