//! How far a reader is in the output of each instance: what the id of an event says, and where a broken stream goes on.

use std::collections::BTreeMap;
use std::fmt::Write;

use ring_proto::agent::v1::LogLine;
use ring_types::InstanceId;

/// Instances an id tells of; of more than these, those that wrote last, and all that wrote at the same time as the last of them.
const TOLD: usize = 8;

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
pub(super) struct Cursors(pub(super) BTreeMap<InstanceId, Cursor>);

impl Cursors {
    /// The id of an event.
    pub(super) fn encode(&self) -> String {
        let mut latest: Vec<_> = self.0.iter().collect();
        latest.sort_by_key(|(_, cursor)| std::cmp::Reverse(cursor.at_ms));
        let mut text = String::new();
        let earliest = latest.get(TOLD - 1).map_or(i64::MIN, |(_, cursor)| cursor.at_ms);
        for (id, cursor) in latest.into_iter().take_while(|(_, cursor)| cursor.at_ms >= earliest) {
            let comma = if text.is_empty() { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}{}:{}:{}", id.0.simple(), cursor.at_ms, cursor.lines);
        }
        text
    }

    /// Reads the id of an event; what it does not understand it leaves out.
    pub(super) fn parse(text: &str) -> Self {
        let one = |part: &str| {
            let mut fields = part.split(':');
            let id = fields.next()?.parse().ok()?;
            let at_ms = fields.next()?.parse().ok()?;
            Some((id, Cursor { at_ms, lines: fields.next()?.parse().ok()? }))
        };
        Self(text.split(',').filter_map(one).collect())
    }

    /// Where to begin in an instance. One the id does not tell of, though it tells of others, begins where the reader is in
    /// the slowest of those.
    pub(super) fn start(&self, id: InstanceId) -> Option<Cursor> {
        let earliest = || self.0.values().map(|c| c.at_ms).min().map(|at_ms| Cursor { at_ms, lines: 0 });
        self.0.get(&id).copied().or_else(earliest)
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
        let cursors = Cursors([(id(1), Cursor { at_ms: 5, lines: 2 }), (id(2), Cursor { at_ms: 7, lines: 1 })].into());
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
        let many: BTreeMap<_, _> = (0..100).map(|n| (id(n), Cursor { at_ms: n as i64, lines: 1 })).collect();
        let told = Cursors::parse(&Cursors(many).encode());
        assert_eq!(told.0.len(), TOLD);
        assert_eq!(told.start(id(0)), Some(Cursor { at_ms: 92, lines: 0 }));
    }
}
