//! The state machine as openraft drives it: committed entries become rows on disk and a view in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use fail::fail_point;
use futures::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::type_config::alias::SnapshotOf;
use openraft::{EntryPayload, OptionalSend};
use ring_proto::Wire;
use ring_state::{Row, RowKey, State};
use ring_types::Revision;
use rocksdb::WriteBatch;

use crate::Committed;
use crate::disk::{Disk, Loaded};
use crate::flush::Flusher;
use crate::snapshot::{SnapshotBuilder, SnapshotFile, Snapshots, read_snapshot};
use crate::types::{Answer, Encoded, Entry, LogId, SnapshotMeta, StoredMembership, Types};
use crate::view::View;

/// Entries in one batch on disk. Those who wait for the first of them wait for the last.
const BATCH: usize = 1024;

/// Rows, view and snapshots of one member.
pub(crate) struct Machine {
    disk: Arc<Disk>,
    flusher: Flusher,
    state: State,
    applied: Option<LogId>,
    membership: StoredMembership,
    view: Arc<View>,
    snapshots: Arc<Snapshots>,
}

/// Entries that are applied and not yet written.
#[derive(Default)]
struct Round {
    /// Rows that change, as they are at the end: one that changes with each entry is written once.
    rows: BTreeMap<RowKey, Option<Row>>,
    answers: Vec<(ApplyResponder<Types>, Answer)>,
    entries: usize,
}

impl Machine {
    pub(crate) fn new(disk: Arc<Disk>, flusher: Flusher, loaded: Loaded, snapshots: Arc<Snapshots>) -> (Self, Arc<View>) {
        let Loaded { state, applied, membership } = loaded;
        let view = View::new(state.clone(), applied);
        (Self { disk, flusher, state, applied, membership, view: Arc::clone(&view), snapshots }, view)
    }

    fn step(&mut self, round: &mut Round, entry: &Entry) -> io::Result<Answer> {
        self.applied = Some(entry.log_id);
        round.entries += 1;
        match &entry.payload {
            EntryPayload::Blank => Ok(Answer(None)),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                Ok(Answer(None))
            }
            EntryPayload::Normal(command) => self.command(round, entry.log_id.index, command),
        }
    }

    fn command(&mut self, round: &mut Round, index: u64, command: &Encoded) -> io::Result<Answer> {
        // An entry this release cannot read must not be passed over: the members' states would part.
        let entry = ring_state::Entry::decode(&command.0)
            .map_err(|e| self.disk.damaged(format!("log entry {index} cannot be read by this release: {e}")))?;
        let applied = self.state.apply(Revision(index), &entry);
        self.disk.speaks(self.state.level()).map_err(|newer| self.disk.broken(newer))?;
        round.rows.extend(applied.rows.into_iter().map(|change| (change.key, change.row)));
        Ok(Answer(Some(Committed { revision: applied.revision, reply: applied.reply })))
    }

    /// Writes what a round changed, then shows it, then answers.
    fn commit(&mut self, round: Round) -> io::Result<()> {
        let Round { rows, answers, entries } = round;
        if entries == 0 {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        for (key, row) in &rows {
            self.disk.put_row(&mut batch, key, row.as_ref());
        }
        self.disk.put_applied(&mut batch, self.applied.as_ref(), &self.membership, self.state.revision());
        fail_point!("apply-before-write");
        self.disk.write(batch)?;
        fail_point!("apply-after-write");
        self.view.publish(&self.state, self.applied, rows.into_keys().collect());
        for (responder, answer) in answers {
            responder.send(answer);
        }
        Ok(())
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut round = Round::default();
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let answer = self.step(&mut round, &entry)?;
            round.answers.extend(responder.map(|responder| (responder, answer)));
            if round.entries == BATCH {
                self.commit(std::mem::take(&mut round))?;
            }
        }
        self.commit(round)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        SnapshotBuilder::new(Arc::clone(&self.snapshots), self.state.clone(), meta)
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotFile) -> io::Result<()> {
        let (disk, snapshots, wanted) = (Arc::clone(&self.disk), Arc::clone(&self.snapshots), meta.clone());
        let state = tokio::task::spawn_blocking(move || install(&disk, &snapshots, &wanted, &snapshot));
        self.state = state.await.map_err(io::Error::other)??;
        self.flusher.sync().await?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.view.replace(&self.state, self.applied);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, SnapshotFile>>> {
        Ok(self.snapshots.current())
    }
}

/// First the file under its final name: a crash after that finds it newer than the rows and installs it again. Then all rows in
/// one batch: there is never a half.
fn install(disk: &Disk, snapshots: &Snapshots, meta: &SnapshotMeta, snapshot: &SnapshotFile) -> io::Result<State> {
    let mut batch = WriteBatch::default();
    disk.clear_rows(&mut batch);
    let mut rows = Vec::new();
    let read = read_snapshot(snapshot, snapshots.cluster(), |key, value| {
        rows.push(crate::disk::read_row(key, value)?);
        disk.put_stored(&mut batch, key, value);
        Ok(())
    });
    let header = read.map_err(|e| disk.damaged(e))?;
    let state = State::from_rows(header.revision, rows).map_err(|e| disk.damaged(e))?;
    disk.speaks(state.level()).map_err(|newer| disk.broken(newer))?;
    disk.put_applied(&mut batch, meta.last_log_id.as_ref(), &meta.last_membership, header.revision);
    snapshots.adopt(snapshot, meta).map_err(|e| disk.broken(e))?;
    disk.write(batch)?;
    fail_point!("install-after-write");
    Ok(state)
}
