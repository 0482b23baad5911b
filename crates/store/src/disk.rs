//! One RocksDB for everything a member stores, so that one write-ahead log orders it all: the state on disk can never be ahead
//! of the log, and a vote never behind it.
//!
//! Writes go to the memtable and to the write-ahead log's buffer; `flush` makes all of them so far durable at once. Only the
//! flush thread calls it ([`crate::flush`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fail::fail_point;
use prost::Message;
use ring_proto::raft::v1 as wire;
use ring_proto::rows;
use ring_state::{LEVEL, Row, RowKey, State, Table};
use ring_types::{Level, Revision};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBRecoveryMode, DEFAULT_COLUMN_FAMILY_NAME, ErrorKind,
    IteratorMode, LogLevel, Options, WriteBatch,
};
use tokio::sync::watch;

use crate::StoreError;
use crate::codec::{self, CodecError};
use crate::failure::Failure;
use crate::identity::DataDir;
use crate::mark::Mark;
use crate::types::{LogId, StoredMembership};

const META: &str = "raft_meta";
const LOG: &str = "raft_log";
const STATE: &str = "state";
/// Key of the record in `raft_meta` that says how far the rows go.
const APPLIED: &[u8] = b"applied";
/// A column family that is rarely written would keep old write-ahead logs for ever; past this size it is flushed.
const WAL_LIMIT: u64 = 32 << 20;
/// What a family gathers in memory before it is written to a file.
const WRITE_BUFFER: usize = 8 << 20;
/// Blocks of files kept in memory, all families together, RocksDB's own `default` too, which nothing is written to. The state is in
/// memory as rows and the log's end as entries, so files are read at a start and for a member that was away. A family that is given
/// no cache makes one of its own of 32 MB, with a table of 6 MB of address space.
const BLOCK_CACHE: usize = 4 << 20;

/// The member's database.
pub(crate) struct Disk {
    // In this order: first the database is closed, then the directory unlocked, then whoever waits for that is told.
    db: DB,
    dir: DataDir,
    mark: Mark,
    /// Number of the last write that is on disk.
    synced: AtomicU64,
    failure: Failure,
    closed: watch::Sender<()>,
}

/// The state on disk and how far it goes.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) state: State,
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

impl Disk {
    pub(crate) fn open(dir: DataDir, failure: Failure) -> Result<Arc<Self>, StoreError> {
        let path = dir.database();
        let mark = Mark::open(dir.root())?;
        let was_synced = mark.read()?.unwrap_or_default();
        let cache = Cache::new_lru_cache(BLOCK_CACHE);
        let families =
            [DEFAULT_COLUMN_FAMILY_NAME, META, LOG, STATE].map(|name| ColumnFamilyDescriptor::new(name, family_options(&cache)));
        let db = DB::open_cf_descriptors(&options(), &path, families).map_err(|e| open_error(&path, &e))?;
        let found = db.latest_sequence_number();
        if found < was_synced {
            let cause = format!("its end is missing: it has {found} writes, and {was_synced} were on disk");
            return Err(StoreError::Damaged { path, cause });
        }
        Ok(Arc::new(Self { db, dir, mark, synced: AtomicU64::new(found), failure, closed: watch::channel(()).0 }))
    }

    /// Resolves, with an error, when the directory is free for another process.
    pub(crate) fn closed(&self) -> watch::Receiver<()> {
        self.closed.subscribe()
    }

    pub(crate) fn dir(&self) -> &DataDir {
        &self.dir
    }

    pub(crate) fn db(&self) -> &DB {
        &self.db
    }

    pub(crate) fn meta(&self) -> &ColumnFamily {
        self.family(META)
    }

    pub(crate) fn log(&self) -> &ColumnFamily {
        self.family(LOG)
    }

    fn state(&self) -> &ColumnFamily {
        self.family(STATE)
    }

    #[allow(clippy::expect_used)] // `open` made every one of them.
    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("the column family is open")
    }

    /// Writes a batch: visible at once, durable after the next flush.
    pub(crate) fn write(&self, batch: WriteBatch) -> std::io::Result<()> {
        self.db.write(batch).map_err(|e| self.fail("write to", &e))
    }

    /// Makes everything written so far durable.
    pub(crate) fn flush(&self) -> std::io::Result<()> {
        fail_point!("sync-fails", |_| Err(self.broken(StoreError::Disk {
            action: "sync",
            path: self.dir.database(),
            cause: "no space left on device".to_owned(),
        })));
        let written = self.db.latest_sequence_number();
        self.db.flush_wal(true).map_err(|e| self.fail("sync", &e))?;
        self.synced.fetch_max(written, Ordering::Relaxed);
        Ok(())
    }

    /// Puts down how far the last `flush` came. Not part of it: nobody who waits for a sync has to wait for this too.
    pub(crate) fn mark(&self) -> std::io::Result<()> {
        self.mark.put(self.synced.load(Ordering::Relaxed)).map_err(|e| self.broken(e))
    }

    /// Reports a storage error: it ends the store.
    pub(crate) fn fail(&self, action: &'static str, cause: &rocksdb::Error) -> std::io::Error {
        let path = self.dir.database();
        self.failure.report(match cause.kind() {
            ErrorKind::Corruption => StoreError::Damaged { path, cause: cause.to_string() },
            _ => StoreError::Disk { action, path, cause: cause.to_string() },
        });
        std::io::Error::other(cause.to_string())
    }

    /// Reports damaged data: it ends the store.
    pub(crate) fn damaged(&self, cause: impl ToString) -> std::io::Error {
        self.failure.report(StoreError::Damaged { path: self.dir.root().to_owned(), cause: cause.to_string() });
        std::io::Error::new(std::io::ErrorKind::InvalidData, cause.to_string())
    }

    /// Reports any other error of a step on disk: it ends the store.
    pub(crate) fn broken(&self, error: StoreError) -> std::io::Error {
        let cause = std::io::Error::other(error.to_string());
        self.failure.report(error);
        cause
    }

    /// Reads the state.
    pub(crate) fn load(&self) -> Result<Loaded, StoreError> {
        let damaged = |cause: String| StoreError::Damaged { path: self.dir.database(), cause };
        let record = self.db.get_pinned_cf(self.meta(), APPLIED).map_err(|e| damaged(e.to_string()))?;
        let Some(record) = record else { return Ok(Loaded::default()) };
        let (applied, membership, revision) = applied_from(&record).map_err(|e| damaged(e.to_string()))?;
        // First: a row this release cannot read is no damage then.
        let level = self.db.get_pinned_cf(self.state(), stored_key(&RowKey::Level)).map_err(|e| damaged(e.to_string()))?;
        if let Some(Ok(Row::Level(cluster))) = level.map(|row| rows::decode_row(Table::Level, &row)) {
            self.speaks(cluster.level)?;
        }
        let rows = self.rows().collect::<Result<Vec<Row>, String>>().map_err(damaged)?;
        let state = State::from_rows(revision, rows).map_err(|e| damaged(e.to_string()))?;
        Ok(Loaded { state, applied, membership })
    }

    /// Refuses what is of a level this release does not understand.
    pub(crate) fn speaks(&self, level: Level) -> Result<(), StoreError> {
        speaks(level, self.dir.root())
    }

    fn rows(&self) -> impl Iterator<Item = Result<Row, String>> + '_ {
        self.db.iterator_cf(self.state(), IteratorMode::Start).map(|item| {
            let (key, value) = item.map_err(|e| e.to_string())?;
            read_row(&key, &value)
        })
    }

    /// Adds the change of a row to a batch.
    pub(crate) fn put_row(&self, batch: &mut WriteBatch, key: &RowKey, row: Option<&Row>) {
        let stored = stored_key(key);
        match row {
            Some(row) => batch.put_cf(self.state(), stored, rows::encode_row(row)),
            None => batch.delete_cf(self.state(), stored),
        }
    }

    /// Adds a row that is encoded already to a batch.
    pub(crate) fn put_stored(&self, batch: &mut WriteBatch, key: &[u8], row: &[u8]) {
        batch.put_cf(self.state(), key, row);
    }

    /// Adds the removal of every row to a batch.
    pub(crate) fn clear_rows(&self, batch: &mut WriteBatch) {
        batch.delete_range_cf(self.state(), [0_u8].as_slice(), [u8::MAX].as_slice());
    }

    /// Adds to a batch how far the rows go.
    pub(crate) fn put_applied(
        &self,
        batch: &mut WriteBatch,
        applied: Option<&LogId>,
        membership: &StoredMembership,
        revision: Revision,
    ) {
        let record = wire::Applied {
            log_id: applied.map(codec::log_id_to),
            membership: Some(codec::stored_membership_to(membership)),
            revision: revision.0,
        };
        batch.put_cf(self.meta(), APPLIED, record.encode_to_vec());
    }
}

/// Does this release understand what is in a directory, which is of this level?
pub(crate) fn speaks(level: Level, dir: &Path) -> Result<(), StoreError> {
    let newer = || StoreError::Newer { path: dir.to_owned(), level, spoken: LEVEL };
    if level > LEVEL { Err(newer()) } else { Ok(()) }
}

/// Key of a row on disk and in a snapshot: the table's number, then the key.
pub(crate) fn stored_key(key: &RowKey) -> Vec<u8> {
    let mut stored = vec![key.table() as u8];
    stored.extend(rows::encode_key(key));
    stored
}

/// The row of a key and its bytes.
pub(crate) fn read_row(key: &[u8], value: &[u8]) -> Result<Row, String> {
    let table = key.first().copied().and_then(Table::from_number);
    let table = table.ok_or_else(|| format!("a row of the unknown table {:?}", key.first()))?;
    let row = rows::decode_row(table, value).map_err(|e| format!("a row of table {table:?}: {e}"))?;
    if stored_key(&row.key()) == key { Ok(row) } else { Err(format!("a row of table {table:?} under another key")) }
}

fn applied_from(record: &[u8]) -> Result<(Option<LogId>, StoredMembership, Revision), CodecError> {
    let record: wire::Applied = codec::decode("applied record", record)?;
    let membership = codec::stored_membership_from(record.membership)?;
    Ok((record.log_id.map(codec::log_id_from), membership, Revision(record.revision)))
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // A torn record at the end is what a power cut leaves, and was never acknowledged. Anything else is damage: RocksDB's own
    // default would silently open with what stands before it.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_paranoid_checks(true);
    options.set_manual_wal_flush(true);
    options.set_max_total_wal_size(WAL_LIMIT);
    options.set_max_open_files(256);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(4 << 20);
    options.set_keep_log_file_num(4);
    options
}

fn family_options(cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(WRITE_BUFFER);
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    options
}

fn open_error(path: &Path, error: &rocksdb::Error) -> StoreError {
    let (path, cause): (PathBuf, String) = (path.to_owned(), error.to_string());
    match error.kind() {
        ErrorKind::Corruption => StoreError::Damaged { path, cause },
        ErrorKind::IOError if cause.contains("LOCK") => StoreError::Locked { path },
        // It names a file that is not there.
        ErrorKind::IOError if cause.contains("No such file") => StoreError::Damaged { path, cause },
        _ => StoreError::Disk { action: "open", path, cause },
    }
}
