//! Beginning a cluster anew with one member: from a backup in an empty directory, or from what one survivor has.
//!
//! What a survivor's log has behind its rows is applied too: it may have been acknowledged. The log itself is dropped, and its
//! numbering goes on far above what the generation before may have reached, so that no revision means two things.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use openraft::EntryPayload;
use ring_proto::Wire;
use ring_state::{Command, Entry, Reply, State};
use ring_types::{ClusterId, MemberId, RequestId, Revision, Timestamp};
use rocksdb::WriteBatch;

use crate::disk::{Disk, speaks};
use crate::failure::Failure;
use crate::identity::{DataDir, disk as disk_error};
use crate::log::{self, Leftover};
use crate::types::{LogId, Membership, Peer, StoredMembership, Vote, index_of, log_id, node_id};
use crate::{Backup, StoreConfig, StoreError};

/// The next generation's entries are numbered from so far above the last known one.
const AHEAD: u64 = 1_000_000_000;

/// The store of a member that is stopped, with everything it knows.
pub struct Survivor {
    disk: Arc<Disk>,
    me: MemberId,
    last: LogId,
    term: u64,
    /// The state with every entry of its log.
    pub state: State,
}

impl Survivor {
    /// Opens the store of a member that does not run.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when it does run, and whatever keeps a store from opening.
    pub fn open(data_dir: &Path, cluster: ClusterId, member: MemberId) -> Result<Self, StoreError> {
        let dir = DataDir::take(data_dir)?;
        dir.claim(cluster, member)?;
        let disk = Disk::open(dir, Failure::new())?;
        let damaged = |cause: String| StoreError::Damaged { path: data_dir.to_owned(), cause };
        let loaded = disk.load()?;
        let Leftover { vote, last, entries } =
            log::leftover(&disk, index_of(loaded.applied.as_ref())).map_err(|e| damaged(e.to_string()))?;
        let mut state = loaded.state;
        for entry in &entries {
            if let EntryPayload::Normal(command) = &entry.payload {
                let read = Entry::decode(&command.0);
                let index = entry.log_id.index;
                let read = read.map_err(|e| damaged(format!("log entry {index} cannot be read by this release: {e}")))?;
                state.apply(Revision(index), &read);
                disk.speaks(state.level())?;
            }
        }
        let last = last.max(loaded.applied).ok_or_else(|| damaged("there is no entry of a cluster".to_owned()))?;
        let term = vote.map_or(0, |vote| vote.leader_id.term);
        Ok(Self { disk, me: member, last, term, state })
    }

    /// Term and index of its last entry.
    pub fn last(&self) -> (u64, u64) {
        (self.last.leader_id.term, self.last.index)
    }

    /// Makes this member a cluster of its own; `commands` are its first entries.
    ///
    /// # Errors
    /// [`StoreError::Bootstrap`] when a command is refused: then nothing was changed.
    pub fn begin_anew(self, name: &str, address: &str, commands: Vec<Command>, at: Timestamp) -> Result<(), StoreError> {
        let begun = Begun::of(self.state, self.last, commands, at)?;
        // They are of the generation before. Without them the rows are as good as ever, should it end here.
        let snapshots = self.disk.dir().snapshots();
        match fs::remove_dir_all(&snapshots) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(disk_error("remove", &snapshots, &e)),
            _ => {}
        }
        let peer = Peer { name: name.to_owned(), address: address.to_owned() };
        begun.write(&self.disk, self.term, self.me, peer)
    }
}

/// Makes the state of a backup a cluster of one member in an empty directory; `commands` are its first entries.
///
/// # Errors
/// [`StoreError::NotEmpty`], [`StoreError::Bootstrap`] when a command is refused, or what keeps the directory from being written.
/// What was left unfinished is begun again the next time.
pub fn restore_backup(config: &StoreConfig, backup: Backup, commands: Vec<Command>, at: Timestamp) -> Result<(), StoreError> {
    let dir = DataDir::take(&config.data_dir)?;
    speaks(backup.state.level(), &config.data_dir)?;
    dir.begin(config.cluster, config.member)?;
    let begun = Begun::of(backup.state, backup.last, commands, at)?;
    let disk = Disk::open(dir, Failure::new())?;
    let peer = Peer { name: config.name.clone(), address: config.address.clone() };
    begun.write(&disk, 0, config.member, peer)?;
    DataDir::finish(&config.data_dir)
}

/// The state a generation begins with.
struct Begun {
    state: State,
    term: u64,
    index: u64,
}

impl Begun {
    fn of(mut state: State, last: LogId, commands: Vec<Command>, at: Timestamp) -> Result<Self, StoreError> {
        let mut index = last.index.max(state.revision().0) + AHEAD;
        for command in commands {
            index += 1;
            let entry = Entry { at, request: RequestId::NONE, command };
            if let Reply::Refused(refusal) = state.apply(Revision(index), &entry).reply {
                return Err(StoreError::Bootstrap { cause: refusal.to_string() });
            }
        }
        Ok(Self { state, term: last.leader_id.term, index })
    }

    /// Everything in one batch: there is never a half.
    fn write(self, disk: &Disk, term: u64, me: MemberId, peer: Peer) -> Result<(), StoreError> {
        let term = term.max(self.term) + 1;
        let (me, last) = (node_id(me), log_id(term, self.index));
        let membership = Membership::new(vec![BTreeSet::from([me])], BTreeMap::from([(me, peer)]));
        let membership = membership.map_err(|e| StoreError::Bootstrap { cause: e.to_string() })?;
        let mut batch = WriteBatch::default();
        disk.clear_rows(&mut batch);
        for row in self.state.rows() {
            disk.put_row(&mut batch, &row.key(), Some(&row));
        }
        let membership = StoredMembership::new(Some(last), membership);
        disk.put_applied(&mut batch, Some(&last), &membership, self.state.revision());
        log::put_beginning(disk, &mut batch, &last, &Vote::new(term, me));
        let failed = |e: std::io::Error| disk_error("write to", &disk.dir().database(), &e);
        disk.write(batch).map_err(failed)?;
        disk.flush().map_err(failed)
    }
}
