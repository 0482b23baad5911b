//! Lines that are recorded without a change: gathered for a moment, the same ones as one line, and committed together.
//!
//! Nobody can fill the log by being refused: there is one entry a second at most, of a bounded number of lines, and what is
//! more than that is counted in a line that says so.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ring_state::{AuditNote, AuditRecord, AuditRefusal, Command};
use ring_store::Store;
use ring_types::RequestId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

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
            std::collections::btree_map::Entry::Occupied(mut there) => there.get_mut().count += 1,
            std::collections::btree_map::Entry::Vacant(free) if !full => {
                free.insert(record);
            }
            std::collections::btree_map::Entry::Vacant(_) => waiting.dropped = waiting.dropped.saturating_add(1),
        }
        drop(waiting);
        self.some.notify_one();
    }

    /// Commits what comes in until the end; then what is left, once.
    pub(crate) async fn run(&self, store: &Store, served_by: &str, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.some.notified() => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(GATHER) => {}
            }
            self.commit(store, served_by).await;
        }
        self.commit(store, served_by).await;
    }

    async fn commit(&self, store: &Store, served_by: &str) {
        let taken = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut records: Vec<_> = taken.lines.into_values().collect();
        records.extend((taken.dropped > 0).then(|| surplus(served_by, taken.dropped)));
        if records.is_empty() {
            return;
        }
        let command = Command::RecordAudit { records: records.clone() };
        if let Err(error) = store.propose(RequestId::NONE, command).await {
            tracing::warn!("the audit record could not be written, it is tried again: {error}");
            self.put_back(records);
        }
    }

    fn put_back(&self, records: Vec<AuditRecord>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            if waiting.lines.len() < LINES {
                let key = format!("{:?}{:?}{:?}{:?}", record.note, record.namespace, record.objects, record.refused);
                let count = record.count;
                waiting.lines.entry(key).and_modify(|there| there.count += count).or_insert(record);
            } else {
                waiting.dropped = waiting.dropped.saturating_add(record.count);
            }
        }
        drop(waiting);
        self.some.notify_one();
    }
}

/// The line that stands for those there was no room for.
fn surplus(served_by: &str, count: u32) -> AuditRecord {
    let note = AuditNote {
        user: String::new(),
        user_id: None,
        token: None,
        token_name: String::new(),
        address: String::new(),
        served_by: served_by.to_owned(),
        action: "audit.surplus".to_owned(),
    };
    let message = "more refusals than the record takes";
    let refused = Some(AuditRefusal { code: "audit.surplus".to_owned(), message: message.to_owned() });
    AuditRecord { note, namespace: None, objects: Vec::new(), more: 0, refused, count }
}

/// Tells the lines of the requests this control node answered to its log, as they are committed, until the store is gone.
pub(crate) async fn tell(store: Store, served_by: String) {
    let mut watch = store.watch();
    let mut seen = watch.state.revision();
    while let Some(update) = watch.changes.next().await {
        let state = update.state();
        for entry in state.audit_after(seen).filter(|entry| entry.record.note.served_by == served_by) {
            told(&entry.record);
        }
        seen = state.revision();
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
    fn what_could_not_be_written_waits_with_its_number() {
        let recorder = Recorder::new();
        recorder.add(refused("eve"));
        recorder.put_back(vec![AuditRecord { count: 3, ..refused("eve") }, refused("bob")]);
        let waiting = recorder.waiting.lock().unwrap();
        let counts: Vec<_> = waiting.lines.values().map(|line| (line.note.user.as_str(), line.count)).collect();
        assert_eq!(counts, [("bob", 1), ("eve", 4)]);
    }
}
