//! Lines that are recorded without a change: gathered for a moment, the same ones as one line, and committed together.
//!
//! Nobody can fill the log by being refused: there is one entry a second at most, of a bounded number of lines, and what is
//! more than that is counted in a line that says so.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ring_state::{AuditNote, AuditRecord, AuditRefusal, Command, State};
use ring_store::{Changes, Store, Watch};
use ring_types::{RequestId, Revision};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::ids;

/// Time in which lines are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// Different lines of one entry.
const LINES: usize = 100;

/// Gathers lines and has them committed.
pub struct Recorder {
    waiting: Mutex<Waiting>,
    some: Notify,
}

#[derive(Default)]
struct Waiting {
    lines: BTreeMap<String, AuditRecord>,
    /// Lines there was no room for.
    dropped: u32,
}

/// Lines of one entry. It is proposed as the same request until it is committed, so that its lines are there once.
struct Batch {
    request: RequestId,
    records: Vec<AuditRecord>,
}

impl Recorder {
    /// One that has nothing yet.
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::default(), some: Notify::new() }
    }

    /// Takes a line; the same line within a moment counts once more.
    pub(crate) fn add(&self, record: AuditRecord) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{:?}{:?}{:?}{:?}", record.note, record.namespace, record.objects, record.refused);
        let full = waiting.lines.len() >= LINES;
        match waiting.lines.entry(key) {
            Entry::Occupied(mut there) => there.get_mut().count += 1,
            Entry::Vacant(free) if !full => {
                free.insert(record);
            }
            Entry::Vacant(_) => waiting.dropped = waiting.dropped.saturating_add(1),
        }
        drop(waiting);
        self.some.notify_one();
    }

    /// Commits what comes in until the last request was `served`, then what is left, once; and tells the log of this control node
    /// what was committed of the requests it answered.
    pub(crate) async fn keep(&self, store: &Store, served_by: &str, served: CancellationToken) {
        let mut telling = Telling::new(store, served_by);
        let told = async {
            telling.follow().await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.run(store, served_by, served) => {}
            () = told => {}
        }
        telling.pass(&store.local());
    }

    async fn run(&self, store: &Store, served_by: &str, served: CancellationToken) {
        let mut left = None;
        loop {
            let gathered = async {
                if left.is_none() {
                    self.some.notified().await;
                }
                tokio::time::sleep(GATHER).await;
            };
            tokio::select! {
                () = served.cancelled() => break,
                () = gathered => {}
            }
            left = self.commit(store, served_by, left).await;
        }
        let last = match left {
            None => None,
            Some(batch) => self.commit(store, served_by, Some(batch)).await,
        };
        let lost = match last {
            None => self.commit(store, served_by, None).await,
            Some(batch) => Some(batch),
        };
        if let Some(batch) = lost {
            tracing::warn!("{} lines of the audit record are lost: this control node stops", batch.records.len());
        }
    }

    /// Commits a batch, or what waits. Gives back what could not be written.
    async fn commit(&self, store: &Store, served_by: &str, batch: Option<Batch>) -> Option<Batch> {
        let batch = batch.or_else(|| self.take(served_by))?;
        match store.propose(batch.request, Command::RecordAudit { records: batch.records.clone() }).await {
            Ok(_) => None,
            Err(error) => {
                tracing::warn!("the audit record could not be written: {error}");
                Some(batch)
            }
        }
    }

    fn take(&self, served_by: &str) -> Option<Batch> {
        let taken = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut records: Vec<_> = taken.lines.into_values().collect();
        records.extend((taken.dropped > 0).then(|| surplus(served_by, taken.dropped)));
        (!records.is_empty()).then(|| Batch { request: ids::fresh(), records })
    }
}

/// The line that stands for those there was no room for.
fn surplus(served_by: &str, count: u32) -> AuditRecord {
    let note = AuditNote::unattended("audit.surplus", "", served_by);
    let message = "more refusals than the record takes";
    let refused = Some(AuditRefusal { code: "audit.surplus".to_owned(), message: message.to_owned() });
    AuditRecord { note, namespace: None, objects: Vec::new(), more: 0, refused, count }
}

/// Tells the lines of the requests one control node answered to its log, as they are committed.
struct Telling {
    changes: Changes,
    seen: Revision,
    served_by: String,
}

impl Telling {
    fn new(store: &Store, served_by: &str) -> Self {
        let Watch { state, changes } = store.watch();
        Self { changes, seen: state.revision(), served_by: served_by.to_owned() }
    }

    async fn follow(&mut self) {
        while let Some(update) = self.changes.next().await {
            self.pass(update.state());
        }
    }

    fn pass(&mut self, state: &State) {
        for entry in state.audit_after(self.seen).filter(|entry| entry.record.note.served_by == self.served_by) {
            told(&entry.record);
        }
        self.seen = state.revision();
    }
}

fn told(record: &AuditRecord) {
    let note = &record.note;
    let objects: Vec<_> = record.objects.iter().map(|o| format!("{} {} {}", o.kind, o.name, o.id)).collect();
    tracing::info!(
        target: "ring::audit",
        action = note.action,
        user = note.user,
        token = note.token_name,
        address = note.address,
        namespace = record.namespace.as_ref().map_or("", |name| name.as_str()),
        objects = objects.join(", "),
        count = record.count,
        refused = record.refused.as_ref().map_or("", |refused| refused.code.as_str()),
        "audit"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(user: &str) -> AuditRecord {
        let mut record = surplus("c1", 1);
        user.clone_into(&mut record.note.user);
        record
    }

    #[test]
    fn the_same_line_is_one_line_and_a_flood_is_a_number() {
        let recorder = Recorder::new();
        for _ in 0..5 {
            recorder.add(refused("eve"));
        }
        for i in 0..LINES + 9 {
            recorder.add(refused(&i.to_string()));
        }
        let waiting = recorder.waiting.lock().unwrap();
        assert_eq!((waiting.lines.len(), waiting.dropped), (LINES, 10));
        assert_eq!(waiting.lines.values().find(|line| line.note.user == "eve").map(|line| line.count), Some(5));
    }

    #[test]
    fn what_waits_is_taken_once_under_a_request_of_its_own() {
        let recorder = Recorder::new();
        for _ in 0..3 {
            recorder.add(refused("eve"));
        }
        let batch = recorder.take("c1").unwrap();
        let counts: Vec<_> = batch.records.iter().map(|line| (line.note.user.as_str(), line.count)).collect();
        assert_eq!(counts, [("eve", 3)]);
        assert!(batch.request != RequestId::NONE && recorder.take("c1").is_none());
    }
}
