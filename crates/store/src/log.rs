//! The Raft log and the vote on disk.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use crate::lock::{Mutex, MutexGuard};
use bytes::Bytes;
use fail::fail_point;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use prost::Message;
use rocksdb::{Direction, IteratorMode, ReadOptions, WriteBatch};

use crate::StoreError;
use crate::codec;
use crate::disk::Disk;
use crate::flush::{Flusher, Waiting};
use crate::tail::{Tail, weight};
use crate::types::{Entry, LogId, Types, Vote};

const VOTE: &[u8] = b"vote";
const PURGED: &[u8] = b"purged";
/// About how many bytes of entries go into one message to a follower.
const MESSAGE: usize = 1 << 20;

/// What is known of the log without reading it.
#[derive(Debug, Default)]
struct Known {
    vote: Option<Vote>,
    purged: Option<LogId>,
    /// Index of the first entry that is there.
    first: Option<u64>,
    last: Option<LogId>,
    tail: Tail,
}

/// Reads the log; every replication task has one.
#[derive(Clone)]
pub(crate) struct LogReader {
    disk: Arc<Disk>,
    known: Arc<Mutex<Known>>,
}

/// Writes the log. openraft owns the only one.
pub(crate) struct LogStore {
    reader: LogReader,
    flusher: Flusher,
}

impl LogStore {
    pub(crate) fn open(disk: Arc<Disk>, flusher: Flusher) -> Result<Self, StoreError> {
        let known = read_known(&disk).map_err(|e| StoreError::Damaged { path: disk.dir().database(), cause: e.to_string() })?;
        Ok(Self { reader: LogReader { disk, known: Arc::new(Mutex::new(known)) }, flusher })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.reader.known.lock()
    }
}

fn read_known(disk: &Disk) -> io::Result<Known> {
    let get = |key| disk.db().get_cf(disk.meta(), key).map_err(io::Error::other);
    let vote = get(VOTE)?.map(|v| codec::decode("vote", &v[..]).and_then(|v| codec::vote_from(Some(v)))).transpose()?;
    let purged = get(PURGED)?.map(|v| codec::decode("purged position", &v[..])).transpose()?.map(codec::log_id_from);
    let (first, last) = checked(disk)?;
    let (last, expected) = (last.max(purged), purged.map_or(0, |purged| purged.index + 1));
    if let Some(first) = first.filter(|first| *first > expected) {
        return Err(io::Error::other(format!("its log begins with entry {first}, and should begin with {expected}")));
    }
    Ok(Known { vote, purged, first, last, tail: Tail::default() })
}

/// Index of the first entry and id of the last, after each one was read once: damage is found when the store opens, and not when
/// another member asks for what is damaged.
fn checked(disk: &Disk) -> io::Result<(Option<u64>, Option<LogId>)> {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    let (mut first, mut last) = (None, None::<LogId>);
    for item in disk.db().iterator_cf_opt(disk.log(), options, IteratorMode::Start) {
        let id = read_entry(item.map_err(io::Error::other)?)?.log_id;
        if let Some(before) = last.filter(|before| before.index + 1 != id.index) {
            return Err(io::Error::other(format!("its log goes on with entry {} after entry {}", id.index, before.index)));
        }
        first = first.or(Some(id.index));
        last = Some(id);
    }
    Ok((first, last))
}

fn read_entry((key, frame): (Box<[u8]>, Box<[u8]>)) -> io::Result<Entry> {
    let index = key.first_chunk::<8>().filter(|k| k.len() == key.len()).map(|k| u64::from_be_bytes(*k));
    let index = index.ok_or_else(|| io::Error::other("a key of the log is not an index"))?;
    Ok(codec::unframe_entry(index, Bytes::from(frame))?)
}

/// What a log has behind an entry.
pub(crate) struct Leftover {
    pub(crate) vote: Option<Vote>,
    /// Its last entry, or the last one that was cut away.
    pub(crate) last: Option<LogId>,
    pub(crate) entries: Vec<Entry>,
}

/// The entries behind `applied`, of a store that does not run.
pub(crate) fn leftover(disk: &Disk, applied: u64) -> io::Result<Leftover> {
    let known = read_known(disk)?;
    let start = known.first.map_or(u64::MAX, |first| first.max(applied + 1));
    let end = known.last.map_or(0, |last| last.index + 1);
    let entries = if start < end {
        let mode = IteratorMode::From(&start.to_be_bytes(), Direction::Forward);
        collect(start, end, usize::MAX, disk.db().iterator_cf(disk.log(), mode))?
    } else {
        Vec::new()
    };
    Ok(Leftover { vote: known.vote, last: known.last, entries })
}

/// Adds to a batch that the log is empty up to an entry, and the vote.
pub(crate) fn put_beginning(disk: &Disk, batch: &mut WriteBatch, upto: &LogId, vote: &Vote) {
    batch.delete_range_cf(disk.log(), 0_u64.to_be_bytes(), u64::MAX.to_be_bytes());
    batch.put_cf(disk.meta(), PURGED, codec::log_id_to(upto).encode_to_vec());
    batch.put_cf(disk.meta(), VOTE, codec::vote_to(vote).encode_to_vec());
}

impl LogReader {
    /// The entries of `start..end`, at most about `limit` bytes but at least one.
    fn read(&self, start: u64, end: u64, limit: usize) -> io::Result<Vec<Entry>> {
        let mut options = ReadOptions::default();
        // The iterator is made under the lock: what it sees of the log is what was known then.
        let (start, end, items) = {
            let known = self.known.lock();
            let start = start.max(known.first.unwrap_or(u64::MAX));
            let end = end.min(known.last.map_or(0, |l| l.index + 1));
            if start >= end {
                return Ok(Vec::new());
            }
            if let Some(entries) = known.tail.read(start, end, limit) {
                return Ok(entries);
            }
            options.set_iterate_upper_bound(end.to_be_bytes());
            let mode = IteratorMode::From(&start.to_be_bytes(), Direction::Forward);
            (start, end, self.disk.db().iterator_cf_opt(self.disk.log(), options, mode))
        };
        collect(start, end, limit, items).map_err(|e| self.disk.damaged(e))
    }
}

type Item = Result<(Box<[u8]>, Box<[u8]>), rocksdb::Error>;

fn collect(start: u64, end: u64, limit: usize, items: impl Iterator<Item = Item>) -> io::Result<Vec<Entry>> {
    let missing = |index: u64| io::Error::other(format!("log entry {index} is not there"));
    let (mut entries, mut bytes, mut next) = (Vec::new(), 0, start);
    for item in items {
        let entry = read_entry(item.map_err(io::Error::other)?)?;
        bytes += weight(&entry);
        if next > start && bytes > limit {
            return Ok(entries);
        }
        if entry.log_id.index != next {
            return Err(missing(next));
        }
        entries.push(entry);
        next += 1;
    }
    if next < end { Err(missing(next)) } else { Ok(entries) }
}

impl RaftLogReader<Types> for LogReader {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, MESSAGE)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.known.lock().vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let known = self.known();
        Ok(LogState { last_purged_log_id: known.purged, last_log_id: known.last })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let disk = &self.reader.disk;
        let mut batch = WriteBatch::default();
        batch.put_cf(disk.meta(), VOTE, codec::vote_to(vote).encode_to_vec());
        disk.write(batch)?;
        fail_point!("vote-after-write");
        self.flusher.sync().await?;
        self.known().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let disk = &self.reader.disk;
        let (mut batch, mut appended) = (WriteBatch::default(), Vec::new());
        for entry in entries {
            batch.put_cf(disk.log(), entry.log_id.index.to_be_bytes(), codec::frame_entry(&entry));
            appended.push(entry);
        }
        fail_point!("log-before-write");
        disk.write(batch)?;
        fail_point!("log-after-write");
        {
            let mut known = self.known();
            known.first = known.first.or(appended.first().map(|e| e.log_id.index));
            known.last = appended.last().map(|e| e.log_id).or(known.last);
            for entry in appended {
                known.tail.push(entry);
            }
        }
        self.flusher.enqueue(Waiting::Append(callback)).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let disk = &self.reader.disk;
        let from = last.map_or(0, |l| l.index + 1);
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(disk.log(), from.to_be_bytes(), u64::MAX.to_be_bytes());
        let mut known = self.known();
        disk.write(batch)?;
        known.tail.truncate_after(last.map(|l| l.index));
        known.first = known.first.filter(|first| *first < from);
        known.last = known.last.min(last).max(known.purged);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let disk = &self.reader.disk;
        let mut known = self.known();
        let from = known.purged.map_or(0, |p| p.index + 1);
        let mut batch = WriteBatch::default();
        batch.put_cf(disk.meta(), PURGED, codec::log_id_to(&upto).encode_to_vec());
        batch.delete_range_cf(disk.log(), from.to_be_bytes(), (upto.index + 1).to_be_bytes());
        disk.write(batch)?;
        fail_point!("purge-after-write");
        known.purged = known.purged.max(Some(upto));
        known.first = known.first.map(|first| first.max(upto.index + 1));
        if known.last <= Some(upto) {
            known.last = Some(upto);
            known.first = None;
            known.tail.clear();
        }
        Ok(())
    }
}
