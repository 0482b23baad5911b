//! How far this member has applied the log, and who waits for it to get further: each is woken once, when its entry is there.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::lock::Mutex;

/// The index of the last applied entry, and those who wait for a later one.
#[derive(Debug)]
pub(crate) struct AppliedIndex(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    index: u64,
    waiting: BTreeMap<Place, oneshot::Sender<()>>,
    next: u64,
}

/// The index somebody waits for, and a number of its own.
type Place = (u64, u64);

/// Takes a waiter off the list when it gives up.
struct Waiter<'a> {
    list: &'a AppliedIndex,
    place: Place,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.list.0.lock().waiting.remove(&self.place);
    }
}

impl AppliedIndex {
    pub(crate) const fn new(index: u64) -> Self {
        Self(Mutex::new(Inner { index, waiting: BTreeMap::new(), next: 0 }))
    }

    /// The state has everything up to `index` now.
    pub(crate) fn advance(&self, index: u64) {
        let reached = {
            let mut inner = self.0.lock();
            inner.index = index;
            let later = inner.waiting.split_off(&(index + 1, 0));
            std::mem::replace(&mut inner.waiting, later)
        };
        for waiter in reached.into_values() {
            // Who gave up meanwhile needs no answer.
            let _ = waiter.send(());
        }
    }

    /// Waits until `index` is applied. There is no end but that one: whoever waits knows how long.
    pub(crate) async fn reach(&self, index: u64) {
        let (place, reached) = {
            let mut inner = self.0.lock();
            if inner.index >= index {
                return;
            }
            let (sender, reached) = oneshot::channel();
            let place = (index, inner.next);
            inner.next += 1;
            inner.waiting.insert(place, sender);
            (place, reached)
        };
        let _waiter = Waiter { list: self, place };
        // The sender is kept until it has sent.
        let _ = reached.await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn each_is_woken_when_its_entry_is_there() {
        let applied = AppliedIndex::new(4);
        assert!(applied.reach(4).now_or_never().is_some(), "it is there already");
        let mut waits = [5, 6, 6, 9].map(|index| Box::pin(applied.reach(index)));
        for wait in &mut waits {
            assert!(wait.now_or_never().is_none());
        }
        applied.advance(6);
        let done = waits.each_mut().map(|wait| wait.now_or_never().is_some());
        assert_eq!(done, [true, true, true, false]);
    }

    #[tokio::test]
    async fn who_gives_up_leaves_nothing_behind() {
        let applied = AppliedIndex::new(0);
        assert!(applied.reach(7).now_or_never().is_none(), "dropped while it waits");
        assert!(applied.0.lock().waiting.is_empty());
    }
}
