//! How far a reader is in the output of each instance: what the id of an event says, and where a broken stream goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use ring_proto::agent::v1::LogLine;
use ring_types::InstanceId;

/// Instances an id tells of; of more than these, those that wrote last, and all that wrote at the same time as the last of them.
const TOLD: usize = 8;
/// Instances behind the others an id tells of as well. Of more than these, what the rest wrote while they were away may be
/// missing when a stream goes on elsewhere.
const BEHIND: usize = 64;
/// After the position of one that is behind.
const MARK: &str = ":b";

/// A position in one instance's output: the time of the last line, and how many lines of that time there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) at_ms: i64,
    pub(super) lines: u32,
}

impl Cursor {
    /// Goes past a line.
    pub(super) fn advance(&mut self, at_ms: i64) {
        if at_ms == self.at_ms {
            self.lines += 1;
        } else {
            *self = Self { at_ms, lines: 1 };
        }
    }
}

/// Leaves out the lines a stream repeats when it begins again at a cursor.
pub(super) struct Skip {
    from: Cursor,
}

impl Skip {
    pub(super) const fn new(from: Cursor) -> Self {
        Self { from }
    }

    /// Was this line seen before?
    pub(super) const fn repeats(&mut self, line: &LogLine) -> bool {
        if line.at_ms == self.from.at_ms && self.from.lines > 0 {
            self.from.lines -= 1;
            return true;
        }
        line.at_ms < self.from.at_ms
    }
}

/// The positions in all instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursors {
    at: BTreeMap<InstanceId, Cursor>,
    /// Those that were away, and are not among those that wrote last since: what they wrote meanwhile is yet to come, though
    /// it is older than what was read of others.
    behind: BTreeSet<InstanceId>,
}

impl Cursors {
    /// Goes past a line of an instance.
    pub(super) fn advance(&mut self, id: InstanceId, at_ms: i64) {
        let cursor = self.at.entry(id).or_default();
        cursor.advance(at_ms);
        let at_ms = cursor.at_ms;
        if self.behind.contains(&id) && at_ms >= self.earliest() {
            self.behind.remove(&id);
        }
    }

    /// An instance cannot be read for now.
    pub(super) fn falls_behind(&mut self, id: InstanceId) {
        self.behind.insert(id);
    }

    /// The time of the last line of the slowest one that is told of for having written last.
    fn earliest(&self) -> i64 {
        let mut times: Vec<_> = self.level().map(|(_, cursor)| cursor.at_ms).collect();
        times.sort_unstable_by_key(|at_ms| std::cmp::Reverse(*at_ms));
        times.get(TOLD - 1).copied().unwrap_or(i64::MIN)
    }

    /// Those that are not behind.
    fn level(&self) -> impl Iterator<Item = (&InstanceId, &Cursor)> {
        self.at.iter().filter(|(id, _)| !self.behind.contains(id))
    }

    /// The id of an event.
    pub(super) fn encode(&self) -> String {
        let earliest = self.earliest();
        let mut text = String::new();
        let mut tell = |id: &InstanceId, cursor: Cursor, mark: &str| {
            let comma = if text.is_empty() { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}{}:{}:{}{mark}", id.0.simple(), cursor.at_ms, cursor.lines);
        };
        let latest = self.level().filter(|(_, cursor)| cursor.at_ms >= earliest);
        latest.for_each(|(id, cursor)| tell(id, *cursor, ""));
        for id in self.behind.iter().take(BEHIND) {
            tell(id, self.at.get(id).copied().unwrap_or_default(), MARK);
        }
        text
    }

    /// Reads the id of an event; what it does not understand it leaves out.
    pub(super) fn parse(text: &str) -> Self {
        let mut behind = BTreeSet::new();
        let mut one = |part: &str| {
            let marked = part.strip_suffix(MARK);
            let mut fields = marked.unwrap_or(part).split(':');
            let id = fields.next()?.parse().ok()?;
            let at_ms = fields.next()?.parse().ok()?;
            let cursor = Cursor { at_ms, lines: fields.next()?.parse().ok()? };
            if marked.is_some() {
                behind.insert(id);
            }
            Some((id, cursor))
        };
        let at = text.split(',').filter_map(&mut one).collect();
        Self { at, behind }
    }

    /// Where to begin in an instance. One the id does not tell of, though it tells of others, begins where the reader is in
    /// the slowest of those that are not behind.
    pub(super) fn start(&self, id: InstanceId) -> Option<Cursor> {
        let earliest = || self.level().map(|(_, c)| c.at_ms).min().map(|at_ms| Cursor { at_ms, lines: 0 });
        self.at.get(&id).copied().or_else(earliest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> InstanceId {
        InstanceId(uuid::Uuid::from_u128(n))
    }

    fn line(at_ms: i64) -> LogLine {
        LogLine { at_ms, ..LogLine::default() }
    }

    #[test]
    fn positions_read_back_from_an_id() {
        let at = [(id(1), Cursor { at_ms: 5, lines: 2 }), (id(2), Cursor { at_ms: 7, lines: 1 })].into();
        let cursors = Cursors { at, behind: [id(2)].into() };
        assert_eq!(Cursors::parse(&cursors.encode()), cursors);
        assert_eq!(Cursors::parse("nonsense,1:2"), Cursors::default());
    }

    #[test]
    fn a_stream_that_begins_again_repeats_nothing_and_loses_nothing() {
        let all = [1, 2, 2, 2, 3].map(line);
        for seen in 0..all.len() {
            let mut cursor = Cursor::default();
            all[..seen].iter().for_each(|l| cursor.advance(l.at_ms));
            let mut skip = Skip::new(cursor);
            let again: Vec<_> = all.iter().filter(|l| l.at_ms >= cursor.at_ms).filter(|l| !skip.repeats(l)).collect();
            assert_eq!(again.len(), all.len() - seen, "after {seen}");
        }
    }

    #[test]
    fn an_id_has_a_limit() {
        let mut many = Cursors::default();
        (0..100).for_each(|n| many.advance(id(n), n as i64 + 1));
        let told = Cursors::parse(&many.encode());
        assert_eq!(told.at.len(), TOLD);
        assert_eq!(told.start(id(0)), Some(Cursor { at_ms: 93, lines: 0 }));
        (0..100).for_each(|n| many.falls_behind(id(n)));
        assert_eq!(Cursors::parse(&many.encode()).at.len(), BEHIND);
    }

    /// Of many, one was out of contact: what it wrote meanwhile comes late, and is older than what the id tells of the others.
    #[test]
    fn what_one_of_many_wrote_while_it_was_away_is_not_passed_over() {
        let mut cursors = Cursors::default();
        (0..20).for_each(|n| cursors.advance(id(n), 10));
        for away in [id(5), id(50)] {
            cursors.falls_behind(away);
        }
        (0..20).filter(|n| *n != 5).for_each(|n| cursors.advance(id(n), 100 + n as i64));
        let told = Cursors::parse(&cursors.encode());
        assert_eq!(told.start(id(5)), Some(Cursor { at_ms: 10, lines: 1 }));
        assert_eq!(told.start(id(50)), Some(Cursor::default()), "nothing was read of it");
        assert_eq!(told.start(id(0)), Some(Cursor { at_ms: 112, lines: 0 }), "the others do not begin so early for it");
        // It is back, and midway in what it has to tell.
        cursors.advance(id(5), 50);
        assert_eq!(Cursors::parse(&cursors.encode()).start(id(5)), Some(Cursor { at_ms: 50, lines: 1 }));
        cursors.advance(id(5), 200);
        assert_eq!(cursors.behind, [id(50)].into(), "it has caught up");
    }
}
