//! The ledger file: frames are appended; a file that is mostly history is written anew and put in its place atomically.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring_types::{InstanceId, NodeId};

use super::LedgerError;
use super::frame::{self, Batch, Header};
use crate::record::Record;

/// Version of the format.
const FORMAT: u32 = 1;
/// A file below this size is never written anew.
const COMPACT_ABOVE: u64 = 256 * 1024;
/// A file is written anew when it has grown to so many times its size after the last time.
const COMPACT_FACTOR: u64 = 4;

/// The open file and what is in it.
pub(super) struct LedgerFile {
    dir: PathBuf,
    node: NodeId,
    file: File,
    /// Held as long as the ledger is open.
    _lock: File,
    records: BTreeMap<InstanceId, Record>,
    /// End of the last whole frame.
    end: u64,
    /// Size after the file was last written anew.
    compacted: u64,
    /// A write failed, so what the file has on disk is not certain: it is written anew before anything else.
    doubtful: bool,
}

impl LedgerFile {
    /// Opens or makes the ledger of `node`.
    pub(super) fn open(dir: &Path, node: NodeId) -> Result<Self, LedgerError> {
        fs::create_dir_all(dir).map_err(|cause| failed("make", dir, cause))?;
        let lock = lock(dir)?;
        let path = path_in(dir);
        if !path.exists() {
            let (file, end) = write_anew(dir, node, &BTreeMap::new())?;
            return Ok(Self {
                dir: dir.into(),
                node,
                file,
                _lock: lock,
                records: BTreeMap::new(),
                end,
                compacted: end,
                doubtful: false,
            });
        }
        let mut file = options().open(&path).map_err(|cause| failed("open", &path, cause))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|cause| failed("read", &path, cause))?;
        let (records, end) = read(&bytes, &path, node)?;
        if end < bytes.len() {
            tracing::warn!(path = %path.display(), torn = bytes.len() - end, "cut off a write that was not finished");
            file.set_len(end as u64).map_err(|cause| failed("cut", &path, cause))?;
        }
        let end = end as u64;
        Ok(Self { dir: dir.into(), node, file, _lock: lock, records, end, compacted: 0, doubtful: false })
    }

    /// What is in it.
    pub(super) fn records(&self) -> &BTreeMap<InstanceId, Record> {
        &self.records
    }

    /// Writes a batch: all of it or nothing. With `sync` it is on disk afterwards, and so is everything before it.
    pub(super) fn append(&mut self, batch: Batch, sync: bool) -> Result<(), LedgerError> {
        let grown = self.end > COMPACT_ABOVE && self.end > self.compacted * COMPACT_FACTOR;
        if self.doubtful || grown {
            return self.rewrite(batch);
        }
        let frame = frame::encode(&batch).map_err(|cause| failed("write", &self.path(), cause.into()))?;
        let written = self.file.write_all_at(&frame, self.end);
        let result = written.and_then(|()| if sync { self.file.sync_data() } else { Ok(()) });
        if let Err(cause) = result {
            self.doubtful = true;
            return Err(failed("write", &self.path(), cause));
        }
        self.end += frame.len() as u64;
        merge(&mut self.records, batch);
        Ok(())
    }

    fn rewrite(&mut self, batch: Batch) -> Result<(), LedgerError> {
        let mut records = self.records.clone();
        merge(&mut records, batch);
        let (file, end) = write_anew(&self.dir, self.node, &records)?;
        (self.file, self.end, self.compacted, self.records, self.doubtful) = (file, end, end, records, false);
        Ok(())
    }

    fn path(&self) -> PathBuf {
        path_in(&self.dir)
    }
}

/// What a ledger has, without a lock: a batch that is being written is not there yet.
pub(super) fn peek(dir: &Path, node: NodeId) -> Result<BTreeMap<InstanceId, Record>, LedgerError> {
    let path = path_in(dir);
    let bytes = fs::read(&path).map_err(|cause| failed("read", &path, cause))?;
    read(&bytes, &path, node).map(|(records, _)| records)
}

fn path_in(dir: &Path) -> PathBuf {
    dir.join("ledger")
}

fn failed(action: &'static str, path: &Path, cause: io::Error) -> LedgerError {
    LedgerError::Io { action, path: path.to_owned(), cause: Arc::new(cause) }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn lock(dir: &Path) -> Result<File, LedgerError> {
    let path = dir.join("lock");
    let file = options().create(true).truncate(false).open(&path).map_err(|cause| failed("open", &path, cause))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::InUse(dir.to_owned())),
        Err(TryLockError::Error(cause)) => Err(failed("lock", &path, cause)),
    }
}

/// The records of a file, and where its last whole frame ends.
fn read(bytes: &[u8], path: &Path, node: NodeId) -> Result<(BTreeMap<InstanceId, Record>, usize), LedgerError> {
    let format = |cause: String| LedgerError::Format { path: path.to_owned(), cause };
    let (payload, mut at) = frame::split(bytes).ok_or_else(|| format("it does not begin like a ledger".into()))?;
    let header: Header = frame::decode(payload).map_err(|e| format(e.to_string()))?;
    if header.format != FORMAT {
        return Err(format(format!("it has format {}, this release knows {FORMAT}", header.format)));
    }
    if header.node != node {
        return Err(LedgerError::Stranger { path: path.to_owned(), owner: header.node, node });
    }
    let mut records = BTreeMap::new();
    while let Some((payload, length)) = frame::split(&bytes[at..]) {
        merge(&mut records, frame::decode(payload).map_err(|e| format(e.to_string()))?);
        at += length;
    }
    Ok((records, at))
}

fn merge(records: &mut BTreeMap<InstanceId, Record>, batch: Batch) {
    for (instance, record) in batch {
        match record {
            Some(record) => records.insert(instance, record),
            None => records.remove(&instance),
        };
    }
}

/// Writes a file with these records beside the old one and puts it in its place. The old one stays whole until then.
fn write_anew(dir: &Path, node: NodeId, records: &BTreeMap<InstanceId, Record>) -> Result<(File, u64), LedgerError> {
    let (path, new) = (path_in(dir), dir.join("ledger.new"));
    let batch: Batch = records.iter().map(|(instance, record)| (*instance, Some(record.clone()))).collect();
    let write = || -> io::Result<(File, u64)> {
        let mut bytes = frame::encode(&Header { format: FORMAT, node })?;
        bytes.extend(frame::encode(&batch)?);
        let mut file = options().create(true).truncate(true).open(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(dir)?.sync_all()?;
        Ok((file, bytes.len() as u64))
    };
    write().map_err(|cause| failed("write", &path, cause))
}

#[cfg(test)]
impl LedgerFile {
    /// Makes writing fail until the file is written anew, as a full disk would: the descriptor is read-only.
    pub(super) fn fail_next(&mut self) {
        self.file = File::open(self.path()).unwrap();
    }
}
