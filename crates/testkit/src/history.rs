//! Histories of an API whose replies carry the log index: a write the index it became, a read the index it reflects. That makes
//! the order known, and a whole run can be judged, whatever its length.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What was found under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its value.
    pub value: u64,
    /// The index that wrote it, where the reply says so.
    pub version: Option<u64>,
}

/// An operation and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The key got a value, or went. The index, unless nobody knows what became of it.
    Write {
        /// The value; none when it was deleted.
        value: Option<u64>,
        /// The index it became.
        revision: Option<u64>,
    },
    /// What the key had.
    Read {
        /// The index it reflects.
        revision: u64,
        /// What was there.
        found: Option<Found>,
        /// The answering node's own copy was asked for: it may be old, and must have been true once.
        stale: bool,
    },
}

/// An operation of a client. Times are of one clock all clients share.
#[derive(Clone, Debug)]
pub struct Event {
    /// Which client, for messages.
    pub client: usize,
    /// What it was about.
    pub key: String,
    /// When it was sent.
    pub call: u64,
    /// When it was answered.
    pub answer: Option<u64>,
    /// What it was.
    pub deed: Deed,
}

/// How much was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Acknowledged writes.
    pub writes: usize,
    /// Writes nobody knows the end of.
    pub unknown: usize,
    /// Current reads.
    pub reads: usize,
    /// Reads of a node's own copy.
    pub stale: usize,
}

/// What is written down of a write.
#[derive(Clone, Copy, Debug)]
struct Written {
    value: Option<u64>,
    call: u64,
}

/// Of one key: what was acknowledged, by index, and what may or may not have been done.
#[derive(Debug, Default)]
struct Key {
    known: BTreeMap<u64, Written>,
    unknown: Vec<Written>,
}

/// Judges a history; what is wrong with it, a line each.
///
/// # Errors
/// When something acknowledged was lost, seen out of order, or seen and never written.
pub fn judge(events: &[Event]) -> Result<Judged, String> {
    let mut wrong = String::new();
    let mut judged = Judged::default();
    let keys = keys(events, &mut judged, &mut wrong);
    in_order(events, &mut wrong);
    for event in events {
        let Deed::Read { revision, found, stale } = event.deed else { continue };
        *if stale { &mut judged.stale } else { &mut judged.reads } += 1;
        let explained = keys.get(event.key.as_str()).map_or(found.is_none(), |key| key.explains(event, revision, found));
        if !explained {
            let key = keys.get(event.key.as_str());
            let (near, wrote) = (key.map(|key| key.before(revision)), key.map(|key| key.wrote(found)));
            let _ =
                writeln!(wrong, "{event:?} is explained by no write: before it {near:?}; what it found was written by {wrote:?}");
        }
    }
    if wrong.is_empty() { Ok(judged) } else { Err(wrong) }
}

fn keys<'a>(events: &'a [Event], judged: &mut Judged, wrong: &mut String) -> BTreeMap<&'a str, Key> {
    let mut keys: BTreeMap<&str, Key> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for event in events {
        let Deed::Write { value, revision } = event.deed else { continue };
        let (key, written) = (keys.entry(&event.key).or_default(), Written { value, call: event.call });
        if let Some(revision) = revision {
            judged.writes += 1;
            key.known.insert(revision, written);
            if !taken.insert(revision) {
                let _ = writeln!(wrong, "{event:?}: two writes are one entry");
            }
        } else {
            judged.unknown += 1;
            key.unknown.push(written);
        }
    }
    keys
}

/// What is sent after something was answered has a later index, or the same when it reads.
fn in_order(events: &[Event], wrong: &mut String) {
    let mut answered: Vec<(u64, u64, &Event)> = Vec::new();
    let mut sent: Vec<(u64, u64, u64, &Event)> = Vec::new();
    for event in events {
        let (revision, least) = match event.deed {
            Deed::Write { revision: Some(revision), .. } => (revision, 1),
            Deed::Read { revision, stale: false, .. } => (revision, 0),
            _ => continue,
        };
        sent.push((event.call, revision, least, event));
        answered.extend(event.answer.map(|at| (at, revision, event)));
    }
    sent.sort_by_key(|(at, ..)| *at);
    answered.sort_by_key(|(at, ..)| *at);
    let mut before = answered.into_iter().peekable();
    let mut floor: Option<(u64, &Event)> = None;
    for (at, revision, least, event) in sent {
        while let Some((_, seen, earlier)) = before.next_if(|(answer, ..)| *answer < at) {
            if floor.is_none_or(|(floor, _)| seen > floor) {
                floor = Some((seen, earlier));
            }
        }
        if let Some((floor, earlier)) = floor
            && revision < floor + least
        {
            let _ = writeln!(wrong, "{event:?} was sent after the answer to {earlier:?}, and reflects less");
        }
    }
}

impl Key {
    /// The last acknowledged write that a read at `revision` has to see.
    fn before(&self, revision: u64) -> Option<(u64, Written)> {
        self.known.range(..=revision).next_back().map(|(at, written)| (*at, *written))
    }

    /// The acknowledged writes of a value, with their indexes.
    fn wrote(&self, found: Option<Found>) -> Vec<(u64, Written)> {
        let value = found.map(|found| found.value);
        self.known.iter().filter(|(_, written)| written.value == value).map(|(at, written)| (*at, *written)).collect()
    }

    /// It is the last acknowledged write up to there, or one of which nobody knew the end and that may have come after it.
    fn explains(&self, read: &Event, revision: u64, found: Option<Found>) -> bool {
        let value = found.map(|found| found.value);
        let version = found.and_then(|found| found.version);
        let last = self.before(revision);
        let exactly = match (last, version) {
            (Some((at, written)), Some(version)) => at == version && written.value == value,
            (Some((_, written)), None) => written.value == value,
            (None, _) => value.is_none(),
        };
        let later = version.is_none_or(|version| version <= revision && last.is_none_or(|(at, _)| version > at));
        let sent = |written: &Written| read.answer.is_none_or(|answer| written.call <= answer);
        exactly || (later && self.unknown.iter().any(|written| written.value == value && sent(written)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(call: u64, answer: u64, deed: Deed) -> Event {
        Event { client: 0, key: "k".into(), call, answer: (answer > 0).then_some(answer), deed }
    }

    fn write(call: u64, answer: u64, value: u64, revision: u64) -> Event {
        let revision = (revision > 0).then_some(revision);
        event(call, answer, Deed::Write { value: (value > 0).then_some(value), revision })
    }

    fn read(call: u64, answer: u64, revision: u64, value: u64, version: u64) -> Event {
        let found = (value > 0).then_some(Found { value, version: (version > 0).then_some(version) });
        event(call, answer, Deed::Read { revision, found, stale: false })
    }

    fn stale(read: Event) -> Event {
        let Deed::Read { revision, found, .. } = read.deed else { return read };
        Event { deed: Deed::Read { revision, found, stale: true }, ..read }
    }

    #[test]
    fn what_the_indexes_explain_is_accepted() {
        let events = [
            read(0, 1, 4, 0, 0),
            write(2, 3, 1, 5),
            read(4, 5, 5, 1, 5),
            // Nobody knows of 2; it came as entry 7. 3 never came.
            write(4, 0, 2, 0),
            write(4, 0, 3, 0),
            read(6, 9, 6, 1, 5),
            read(6, 9, 8, 2, 7),
            read(6, 9, 8, 2, 0),
            write(10, 11, 0, 9),
            read(12, 13, 9, 0, 0),
            stale(read(14, 15, 6, 1, 5)),
        ];
        let judged = judge(&events).unwrap();
        assert_eq!(judged, Judged { writes: 2, unknown: 2, reads: 6, stale: 1 });
    }

    #[test]
    fn what_they_do_not_explain_is_rejected() {
        let base = || vec![write(2, 3, 1, 5), write(4, 5, 2, 8), write(4, 0, 3, 0)];
        let wrong = [
            ("lost", read(6, 7, 9, 1, 5)),
            ("gone", read(6, 7, 9, 0, 0)),
            ("a phantom", read(6, 7, 9, 9, 9)),
            ("less than was acknowledged", read(6, 7, 7, 1, 5)),
            ("under another version", read(6, 7, 9, 2, 7)),
            ("from the future", read(6, 7, 9, 3, 11)),
            ("unknown, but older than what is known", read(6, 7, 9, 3, 7)),
            ("before it was sent", read(0, 1, 9, 3, 9)),
            ("the same entry", write(6, 7, 4, 8)),
            ("an earlier entry", write(6, 7, 4, 6)),
            ("an old copy that never was", stale(read(6, 7, 9, 1, 5))),
        ];
        assert!(judge(&base()).is_ok());
        for (what, one) in wrong {
            let mut events = base();
            events.push(one);
            assert!(judge(&events).is_err(), "{what}");
        }
    }
}
