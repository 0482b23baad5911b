//! Lines of several instances in the order of their times, as far as that can be known while they come.
//!
//! Each instance's own lines stay in their order. The next line is given when every instance that is read has one waiting, so
//! that none can come before it; an instance that says nothing is waited for no longer than [`WINDOW`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use ring_api::model::LogLine;
use ring_types::InstanceId;

/// How long a line waits for earlier ones of other instances.
pub(super) const WINDOW: Duration = Duration::from_millis(250);
/// Lines that wait; beyond these the earliest goes on.
const MOST: usize = 4096;

/// Lines that wait for earlier ones of others.
#[derive(Default)]
pub(super) struct Merge {
    waiting: BTreeMap<InstanceId, VecDeque<(Instant, LogLine)>>,
    count: usize,
}

impl Merge {
    /// A line that has come.
    pub(super) fn push(&mut self, line: LogLine, now: Instant) {
        self.waiting.entry(line.instance).or_default().push_back((now, line));
        self.count += 1;
    }

    /// The next line, when it is time for it. `reading`: whose lines may still come.
    pub(super) fn pop(&mut self, reading: &BTreeSet<InstanceId>, now: Instant) -> Option<LogLine> {
        let complete = reading.iter().all(|id| self.waiting.contains_key(id));
        let ready = complete || self.count >= MOST || self.due().is_some_and(|due| due <= now);
        if !ready {
            return None;
        }
        let heads = self.waiting.iter().filter_map(|(id, lines)| lines.front().map(|(_, line)| (line.timestamp, *id)));
        let (_, first) = heads.min()?;
        let lines = self.waiting.get_mut(&first)?;
        let line = lines.pop_front().map(|(_, line)| line);
        if lines.is_empty() {
            self.waiting.remove(&first);
        }
        self.count -= 1;
        line
    }

    /// When the line that has waited longest goes on, come what may.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.values().filter_map(|lines| lines.front().map(|(came, _)| *came + WINDOW)).min()
    }
}

#[cfg(test)]
mod tests {
    use ring_api::model::LogStream;
    use ring_types::Timestamp;

    use super::*;

    fn id(n: u128) -> InstanceId {
        InstanceId(uuid::Uuid::from_u128(n))
    }

    fn line(instance: u128, at_ms: i64) -> LogLine {
        let (timestamp, stream) = (Some(Timestamp(at_ms)), LogStream::Stdout);
        LogLine { instance: id(instance), node: String::new(), timestamp, stream, line: format!("{instance}@{at_ms}") }
    }

    fn all(merge: &mut Merge, reading: &BTreeSet<InstanceId>, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| merge.pop(reading, now)).map(|line| line.line).collect()
    }

    #[test]
    fn histories_come_out_in_the_order_of_their_times() {
        let (mut merge, now) = (Merge::default(), Instant::now());
        for (instance, at) in [(1, 10), (1, 30), (1, 50), (2, 20), (2, 40)] {
            merge.push(line(instance, at), now);
        }
        let both = BTreeSet::from([id(1), id(2)]);
        assert_eq!(all(&mut merge, &both, now), ["1@10", "2@20", "1@30", "2@40"], "a line of 2 may still come before 1@50");
        assert_eq!(all(&mut merge, &BTreeSet::from([id(1)]), now), ["1@50"], "2 is at its end");
    }

    #[test]
    fn a_silent_instance_is_waited_for_no_longer_than_the_window() {
        let (mut merge, now) = (Merge::default(), Instant::now());
        let both = BTreeSet::from([id(1), id(2)]);
        merge.push(line(1, 10), now);
        assert_eq!(merge.due(), Some(now + WINDOW));
        assert_eq!(all(&mut merge, &both, now + WINDOW / 2), Vec::<String>::new());
        merge.push(line(2, 5), now + WINDOW / 2);
        assert_eq!(all(&mut merge, &both, now + WINDOW / 2), ["2@5"], "an earlier one that came in time");
        assert_eq!(all(&mut merge, &both, now + WINDOW), ["1@10"]);
        assert_eq!(merge.due(), None);
    }

    #[test]
    fn one_instance_alone_does_not_wait() {
        let (mut merge, now) = (Merge::default(), Instant::now());
        merge.push(line(1, 10), now);
        assert_eq!(all(&mut merge, &BTreeSet::from([id(1)]), now), ["1@10"]);
    }

    #[test]
    fn one_instance_keeps_its_own_order_whatever_its_clock_says() {
        let (mut merge, now) = (Merge::default(), Instant::now());
        for at in [30, 10, 20] {
            merge.push(line(1, at), now);
        }
        assert_eq!(all(&mut merge, &BTreeSet::new(), now), ["1@30", "1@10", "1@20"]);
    }
}
