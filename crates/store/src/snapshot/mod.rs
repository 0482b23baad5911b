//! Snapshots: the whole state in one file. Built from a view while applies go on, kept one at a time, sent to members whose next
//! entry is gone from the log.

mod format;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fail::fail_point;
use openraft::RaftSnapshotBuilder;
use openraft::type_config::alias::SnapshotOf;
use ring_state::State;
use ring_types::ClusterId;

#[cfg(test)]
pub(crate) use self::format::frames;
pub(crate) use self::format::{FORMAT, SnapshotError, SnapshotHeader, read_frames, read_snapshot, write_frames};
use crate::StoreError;
use crate::failure::Failure;
use crate::identity::{disk, sync_dir};
use crate::lock::Mutex;
use crate::types::{SnapshotMeta, Types};

type Snapshot = SnapshotOf<Types, SnapshotFile>;

/// An open snapshot file: it can be read even when a newer one takes its place.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFile {
    pub(crate) file: Arc<File>,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

impl SnapshotFile {
    pub(crate) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = opened.map_err(|e| disk("open", &path, &e))?;
        Ok(Self { file: Arc::new(file), path, bytes })
    }
}

/// The folder of the snapshots.
#[derive(Debug)]
pub(crate) struct Snapshots {
    folder: PathBuf,
    cluster: ClusterId,
    failure: Failure,
    current: Mutex<Option<Snapshot>>,
    temporary: AtomicU64,
}

impl Snapshots {
    /// Opens the folder: removes what was not finished, and keeps the newest snapshot that is whole.
    pub(crate) fn open(folder: PathBuf, cluster: ClusterId, failure: Failure) -> Result<Arc<Self>, StoreError> {
        fs::create_dir_all(&folder).map_err(|e| disk("make", &folder, &e))?;
        let snapshots = Self { folder, cluster, failure, current: Mutex::new(None), temporary: AtomicU64::new(0) };
        let mut files = snapshots.files("snap")?;
        files.sort();
        for path in files.into_iter().rev() {
            snapshots.consider(path)?;
        }
        for path in snapshots.files("tmp")? {
            remove(&path)?;
        }
        Ok(Arc::new(snapshots))
    }

    fn files(&self, extension: &str) -> Result<Vec<PathBuf>, StoreError> {
        let entries = fs::read_dir(&self.folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.map_err(|e| disk("list", &self.folder, &e))?;
        let wanted = |path: &PathBuf| path.extension() == Some(OsStr::new(extension));
        Ok(entries.into_iter().map(|entry| entry.path()).filter(wanted).collect())
    }

    /// Takes a file as the current snapshot when there is none yet and it is whole. The rows are in the database as well, so a
    /// damaged one is only a snapshot less: it is made again.
    fn consider(&self, path: PathBuf) -> Result<(), StoreError> {
        if self.current.lock().is_some() {
            return remove(&path);
        }
        let file = SnapshotFile::open(path)?;
        match read_snapshot(&file, self.cluster, |_, _| Ok(())) {
            Ok(header) => *self.current.lock() = Some(Snapshot { meta: header.meta(), snapshot: file }),
            Err(error) => {
                tracing::warn!(path = %file.path.display(), %error, "removing a snapshot that cannot be used");
                remove(&file.path)?;
            }
        }
        Ok(())
    }

    pub(crate) const fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The current snapshot.
    pub(crate) fn current(&self) -> Option<Snapshot> {
        self.current.lock().clone()
    }

    /// A name in the folder for a file in the making.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.folder.join(format!("{}.tmp", self.temporary.fetch_add(1, Ordering::Relaxed)))
    }

    /// Makes a file the current snapshot; it is complete and synced. Older ones go.
    pub(crate) fn adopt(&self, file: &SnapshotFile, meta: &SnapshotMeta) -> Result<SnapshotFile, StoreError> {
        let path = self.folder.join(name(meta));
        if file.path != path {
            let source = if file.path.starts_with(&self.folder) { file.path.clone() } else { self.copy(&file.path)? };
            fail_point!("snapshot-before-rename");
            fs::rename(&source, &path).map_err(|e| disk("rename", &source, &e))?;
            sync_dir(&self.folder)?;
            fail_point!("snapshot-after-rename");
        }
        let adopted = SnapshotFile { file: Arc::clone(&file.file), path, bytes: file.bytes };
        let mut current = self.current.lock();
        let newer = current.as_ref().is_none_or(|c| c.meta.last_log_id <= meta.last_log_id);
        if newer {
            *current = Some(Snapshot { meta: meta.clone(), snapshot: adopted.clone() });
        }
        let keep = current.as_ref().map(|c| c.snapshot.path.clone());
        for path in self.files("snap")? {
            if Some(&path) != keep.as_ref() {
                remove(&path)?;
            }
        }
        Ok(adopted)
    }

    fn copy(&self, from: &Path) -> Result<PathBuf, StoreError> {
        let path = self.temporary();
        fs::copy(from, &path).and_then(|_| File::open(&path)?.sync_all()).map_err(|e| disk("write", &path, &e))?;
        Ok(path)
    }

    fn build(&self, state: &State, meta: &SnapshotMeta) -> Result<Snapshot, StoreError> {
        let path = self.temporary();
        let header = SnapshotHeader::of(meta, state.revision());
        format::write_snapshot(&path, self.cluster, &header, state).map_err(|e| disk("write", &path, &e))?;
        let file = self.adopt(&SnapshotFile::open(path)?, meta)?;
        tracing::info!(index = crate::types::index_of(meta.last_log_id.as_ref()), bytes = file.bytes, "took a snapshot");
        Ok(Snapshot { meta: meta.clone(), snapshot: file })
    }
}

fn name(meta: &SnapshotMeta) -> String {
    let (term, index) = meta.last_log_id.as_ref().map_or((0, 0), |id| (id.leader_id.term, id.index));
    format!("{term:020}-{index:020}.snap")
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(disk("remove", path, &e)),
        _ => Ok(()),
    }
}

/// Writes one snapshot of a view, on a thread of its own.
pub(crate) struct SnapshotBuilder {
    snapshots: Arc<Snapshots>,
    state: State,
    meta: SnapshotMeta,
}

impl SnapshotBuilder {
    pub(crate) const fn new(snapshots: Arc<Snapshots>, state: State, meta: SnapshotMeta) -> Self {
        Self { snapshots, state, meta }
    }
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (snapshots, state, meta) = (Arc::clone(&self.snapshots), self.state.clone(), self.meta.clone());
        let built = tokio::task::spawn_blocking(move || snapshots.build(&state, &meta)).await.map_err(io::Error::other)?;
        built.map_err(|error| {
            let cause = io::Error::other(error.to_string());
            self.snapshots.failure.report(error);
            cause
        })
    }
}
