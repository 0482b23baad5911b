//! Backups: the state of one moment as a file that is kept elsewhere. It is a snapshot's frames and, behind them, the SHA-256 of every
//! byte before: 32 bytes that any tool can check.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use ring_proto::raft::v1 as wire;
use ring_state::{Row, State, Table};
use ring_types::{ClusterGeneration, ClusterId, Revision, Timestamp};
use sha2::{Digest, Sha256};

use crate::codec;
use crate::disk::read_row;
use crate::snapshot::{FORMAT, SnapshotError, read_frames, write_frames};
use crate::types::{LogId, log_id};

/// Length of the sum at the end.
pub const BACKUP_SUM: usize = 32;
const BUFFER: usize = 256 << 10;

/// Why a backup cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackupError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// It is no backup, or not whole.
    #[error("{path} is not a whole snapshot of a cluster: {cause}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What was found, and where.
        cause: String,
    },
}

/// What a backup says of itself; all of it was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    /// Version of the file's format.
    pub format: u32,
    /// Of which cluster.
    pub cluster: ClusterId,
    /// Of which generation of it.
    pub generation: ClusterGeneration,
    /// When it was saved.
    pub created_at: Timestamp,
    /// The release that saved it.
    pub release: String,
    /// Index of the last log entry in it.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// Revision of the state.
    pub revision: Revision,
    /// Rows by table, in the order of the tables; empty ones are left out.
    pub counts: Vec<(Table, u64)>,
    /// Length of the file.
    pub bytes: u64,
    /// Its SHA-256, without its last 32 bytes, which are this.
    pub sha256: [u8; BACKUP_SUM],
}

/// A backup that was read and checked as a whole.
#[derive(Clone, Debug)]
pub struct Backup {
    /// What it says of itself.
    pub summary: BackupSummary,
    /// What is in it.
    pub state: State,
    pub(crate) last: LogId,
}

/// Adds up what goes through.
struct Summed<T> {
    inner: T,
    sum: Sha256,
    bytes: u64,
}

impl<T> Summed<T> {
    fn new(inner: T) -> Self {
        Self { inner, sum: Sha256::new(), bytes: 0 }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.add(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.add(&buffer[..read]);
        Ok(read)
    }
}

/// Writes a backup of a state.
pub(crate) fn write_backup(out: impl Write, state: &State, last: LogId, created_at: Timestamp, release: &str) -> io::Result<()> {
    let meta = state.meta().ok_or_else(|| io::Error::other("this control node has no state yet"))?;
    let mut counts = BTreeMap::new();
    for row in state.rows() {
        *counts.entry(row.key().table() as u32).or_insert(0) += 1;
    }
    let header = wire::SnapshotHeader {
        format: FORMAT,
        cluster: meta.cluster.0.as_bytes().to_vec().into(),
        last_log: Some(codec::log_id_to(&last)),
        membership: None,
        revision: state.revision().0,
        generation: meta.generation.0,
        created_at: created_at.0,
        release: release.to_owned(),
        counts,
    };
    let Summed { mut inner, sum, .. } = write_frames(Summed::new(out), header, state)?;
    inner.write_all(&sum.finalize())?;
    inner.flush()
}

/// Reads a backup as a whole and checks it.
///
/// # Errors
/// [`BackupError`], which says what is wrong and where.
pub fn read_backup(path: &Path) -> Result<Backup, BackupError> {
    let mut rows = Vec::new();
    let (summary, last) = scan(path, |row| rows.push(row))?;
    let damaged = |cause: String| BackupError::Damaged { path: path.to_owned(), cause };
    let state = State::from_rows(summary.revision, rows).map_err(|e| damaged(e.to_string()))?;
    let says = state.meta().map(|meta| (meta.cluster, meta.generation));
    if says != Some((summary.cluster, summary.generation)) {
        return Err(damaged("its header and its rows speak of different clusters".to_owned()));
    }
    Ok(Backup { summary, state, last })
}

/// Reads a backup as a whole and checks it, and keeps nothing of it.
///
/// # Errors
/// [`BackupError`], which says what is wrong and where.
pub fn inspect_backup(path: &Path) -> Result<BackupSummary, BackupError> {
    scan(path, drop).map(|(summary, _)| summary)
}

fn scan(path: &Path, mut keep: impl FnMut(Row)) -> Result<(BackupSummary, LogId), BackupError> {
    let unreadable = |e: io::Error| BackupError::Read { path: path.to_owned(), cause: e.to_string() };
    let file = File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    let damaged = |cause: String| BackupError::Damaged { path: path.to_owned(), cause };
    let mut counts = BTreeMap::new();
    let read = read_frames(Summed::new(BufReader::with_capacity(BUFFER, file)), known, |key, row| {
        let row = read_row(key, row)?;
        *counts.entry(row.key().table()).or_insert(0_u64) += 1;
        keep(row);
        Ok(())
    });
    let (Summed { inner, sum, bytes: summed }, header) = read.map_err(|error| match error {
        SnapshotError::Read(e) => unreadable(e),
        SnapshotError::Damaged(cause) => damaged(cause),
        other => damaged(other.to_string()),
    })?;
    let sha256 = check_end(inner, sum, summed).map_err(damaged)?;
    let (summary, last) = summary(header, counts.into_iter().collect()).map_err(damaged)?;
    Ok((BackupSummary { bytes, sha256, ..summary }, last))
}

fn known(header: wire::SnapshotHeader) -> Result<wire::SnapshotHeader, SnapshotError> {
    if header.format == FORMAT { Ok(header) } else { Err(SnapshotError::Format { found: header.format }) }
}

/// The sum at the end, and nothing behind it.
fn check_end(mut rest: impl Read, sum: Sha256, at: u64) -> Result<[u8; BACKUP_SUM], String> {
    let mut found = Vec::new();
    rest.by_ref().take(BACKUP_SUM as u64 + 1).read_to_end(&mut found).map_err(|e| e.to_string())?;
    let wanted: [u8; BACKUP_SUM] = sum.finalize().into();
    match found.len() {
        0..BACKUP_SUM => Err(format!("it ends in its SHA-256, which begins at byte {at}")),
        BACKUP_SUM if found == wanted => Ok(wanted),
        BACKUP_SUM => Err(format!("the SHA-256 at byte {at} is not that of what stands before it")),
        _ => Err(format!("it goes on after its end at byte {}", at + BACKUP_SUM as u64)),
    }
}

fn summary(header: wire::SnapshotHeader, counts: Vec<(Table, u64)>) -> Result<(BackupSummary, LogId), String> {
    let cluster = uuid::Uuid::from_slice(&header.cluster).map(ClusterId).map_err(|e| e.to_string())?;
    let last = header.last_log.ok_or("it names no log entry")?;
    let said: BTreeMap<u32, u64> = header.counts.into_iter().collect();
    let found: BTreeMap<u32, u64> = counts.iter().map(|(table, count)| (*table as u32, *count)).collect();
    if said != found {
        return Err("it has other rows than its header says".to_owned());
    }
    let summary = BackupSummary {
        format: header.format,
        cluster,
        generation: ClusterGeneration(header.generation),
        created_at: Timestamp(header.created_at),
        release: header.release,
        index: last.index,
        term: last.term,
        revision: Revision(header.revision),
        counts,
        bytes: 0,
        sha256: [0; BACKUP_SUM],
    };
    Ok((summary, log_id(last.term, last.index)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use ring_state::{ClusterMeta, Namespace};
    use ring_types::MemberId;

    use super::*;

    fn state() -> State {
        let meta = ClusterMeta {
            cluster: ClusterId(uuid::Uuid::from_u128(7)),
            created_at: Timestamp(1),
            next_member: MemberId(4),
            ca_certificate: "certificate".into(),
            ca_key_sealed: vec![1],
            generation: ClusterGeneration::FIRST.after(9),
            first_member: MemberId(1001),
        };
        let namespace = |n: u32| {
            let name = format!("ns{n}").parse().unwrap();
            Row::Namespace(Arc::new(Namespace { name, created_at: Timestamp(5), version: Revision(3) }))
        };
        State::from_rows(Revision(9), std::iter::once(Row::Meta(Arc::new(meta))).chain((0..20).map(namespace))).unwrap()
    }

    fn bytes() -> Vec<u8> {
        let mut bytes = Vec::new();
        write_backup(&mut bytes, &state(), log_id(2, 11), Timestamp(77), "1.2.3").unwrap();
        bytes
    }

    fn check(bytes: &[u8]) -> Result<Backup, BackupError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup");
        fs::write(&path, bytes).unwrap();
        read_backup(&path)
    }

    #[test]
    fn a_backup_reads_back() {
        let bytes = bytes();
        let Backup { summary, state: read, last } = check(&bytes).unwrap();
        assert_eq!(ring_proto::rows::digest(&read), ring_proto::rows::digest(&state()));
        assert_eq!((summary.index, summary.term, summary.revision, last), (11, 2, Revision(9), log_id(2, 11)));
        assert_eq!((summary.created_at, summary.release.as_str()), (Timestamp(77), "1.2.3"));
        assert_eq!(summary.counts, [(Table::Meta, 1), (Table::Namespace, 20), (Table::Clock, 1)]);
        assert_eq!(summary.bytes, bytes.len() as u64);
        let outside: [u8; 32] = Sha256::digest(&bytes[..bytes.len() - BACKUP_SUM]).into();
        assert_eq!(summary.sha256, outside);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let good = bytes();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(check(&bad).is_err(), "a bit of byte {at} flipped");
            assert!(check(&good[..at]).is_err(), "cut at {at}");
        }
        let error = check(&[&good[..], b"x"].concat()).unwrap_err().to_string();
        assert!(error.contains(&format!("goes on after its end at byte {}", good.len())), "{error}");
    }

    #[test]
    fn the_refusal_says_where() {
        let good = bytes();
        let mut bad = good.clone();
        bad[30] ^= 4;
        let error = check(&bad).unwrap_err().to_string();
        assert!(error.contains("the frame at byte 8 does not match its checksum"), "{error}");
        let error = check(&good[..good.len() - 5]).unwrap_err().to_string();
        assert!(error.contains("it ends in its SHA-256"), "{error}");
    }
}
