//! The newest entries of the log in memory: replication and apply read what was just written.

use std::collections::VecDeque;

use openraft::EntryPayload;

use crate::types::Entry;

/// Entries kept, and their bytes.
const ENTRIES: usize = 8192;
const BYTES: usize = 16 << 20;

/// A run of entries without holes that ends with the last one.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
}

/// About how much of memory or of a message an entry takes.
pub(crate) fn weight(entry: &Entry) -> usize {
    64 + match &entry.payload {
        EntryPayload::Normal(command) => command.0.len(),
        EntryPayload::Blank => 0,
        EntryPayload::Membership(_) => 1024,
    }
}

impl Tail {
    /// Adds the next entry. One that does not follow begins a new run.
    pub(crate) fn push(&mut self, entry: Entry) {
        if self.entries.back().is_some_and(|last| last.log_id.index + 1 != entry.log_id.index) {
            self.clear();
        }
        self.bytes += weight(&entry);
        self.entries.push_back(entry);
        while self.entries.len() > ENTRIES || self.bytes > BYTES {
            let Some(first) = self.entries.pop_front() else { break };
            self.bytes -= weight(&first);
        }
    }

    /// Forgets everything after `index`; everything, when there is none.
    pub(crate) fn truncate_after(&mut self, index: Option<u64>) {
        while self.entries.back().is_some_and(|last| index.is_none_or(|index| last.log_id.index > index)) {
            if let Some(last) = self.entries.pop_back() {
                self.bytes -= weight(&last);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The entries from `start` on, before `end`, at most about `limit` bytes but at least one; None when memory does not have
    /// the first one.
    pub(crate) fn read(&self, start: u64, end: u64, limit: usize) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.log_id.index;
        let skip = usize::try_from(start.checked_sub(first)?).ok()?;
        if skip >= self.entries.len() {
            return None;
        }
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let begin = bytes == 0;
            bytes += weight(entry);
            entry.log_id.index < end && (begin || bytes <= limit)
        };
        Some(self.entries.range(skip..).take_while(fits).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::entry::RaftEntry;

    use super::*;
    use crate::types::{Encoded, log_id};

    fn entry(index: u64, size: usize) -> Entry {
        Entry::new(log_id(1, index), EntryPayload::Normal(Encoded(Bytes::from(vec![0; size]))))
    }

    fn indexes(entries: Option<Vec<Entry>>) -> Option<Vec<u64>> {
        entries.map(|e| e.iter().map(|e| e.log_id.index).collect())
    }

    #[test]
    fn it_has_the_end_of_the_log() {
        let mut tail = Tail::default();
        for index in 5..10 {
            tail.push(entry(index, 100));
        }
        assert_eq!(indexes(tail.read(6, 8, usize::MAX)), Some(vec![6, 7]));
        assert_eq!(indexes(tail.read(6, 100, usize::MAX)), Some(vec![6, 7, 8, 9]));
        assert_eq!(indexes(tail.read(6, 100, 1)), Some(vec![6]), "at least one");
        assert_eq!(indexes(tail.read(6, 100, 330)), Some(vec![6, 7]));
        assert_eq!(tail.read(4, 8, usize::MAX), None, "it begins later");
        assert_eq!(tail.read(10, 11, usize::MAX), None);
        tail.truncate_after(Some(6));
        assert_eq!(indexes(tail.read(5, 100, usize::MAX)), Some(vec![5, 6]));
        tail.push(entry(20, 1));
        assert_eq!(tail.read(6, 7, usize::MAX), None, "a hole begins a new run");
        tail.truncate_after(None);
        assert_eq!((tail.entries.len(), tail.bytes), (0, 0));
    }

    #[test]
    fn it_is_bounded() {
        let mut tail = Tail::default();
        for index in 0..100 {
            tail.push(entry(index, 1 << 20));
        }
        assert!(tail.bytes <= BYTES && tail.entries.len() < 17);
        assert_eq!(indexes(tail.read(99, 100, 1)), Some(vec![99]));
    }
}
