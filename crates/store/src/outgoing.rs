//! What goes out on a stream of appends: few requests at a time, so that each carries much, and no message of its own for a
//! commit that can go with the next entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use openraft::raft::AppendEntriesRequest;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::types::Types;

/// Requests of a stream that may wait for their answers. What is proposed meanwhile goes into the next one: on a busy cluster
/// one message carries many entries, and a follower syncs and answers once for all of them.
const WINDOW: usize = 2;
/// How long a follower may learn later that something is committed when no entry comes to say it with.
const COMMIT_DELAY: Duration = Duration::from_millis(2);
/// Entries that come closer than this after each other are likely to be followed by more: a commit waits for those. One that is
/// followed by nothing goes at once, so that a write by itself costs no delay anywhere.
const CLOSE: Duration = Duration::from_millis(4);
/// Somebody who waited at a follower just now may well do so again.
const HURRY: Duration = Duration::from_millis(100);

type Rpc = AppendEntriesRequest<Types>;

/// What bounds the requests that are open on a stream.
pub(crate) struct Window {
    slots: Semaphore,
    sent: AtomicU64,
    left: CancellationToken,
}

impl Window {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { slots: Semaphore::new(WINDOW), sent: AtomicU64::new(0), left: CancellationToken::new() })
    }

    /// For whoever reads the answers: the requests end when it is dropped. The connection keeps them otherwise, since dropping the
    /// answers does not end the call while requests go on, and with them openraft's lock and its reader of the log: a full window
    /// would keep them until the connection breaks.
    pub(crate) fn reader(&self) -> DropGuard {
        self.left.clone().drop_guard()
    }

    /// Requests that were sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// One was answered: there is room for another.
    pub(crate) fn answered(&self) {
        self.slots.add_permits(1);
    }
}

/// Whether somebody waits at a follower: a write it handed on, or a read, which ends when the follower has applied an entry.
#[derive(Debug)]
pub(crate) struct Hurry {
    waits: Notify,
    since: Instant,
    /// Of the last one, in milliseconds after `since`, and one more; 0 for none.
    last: AtomicU64,
}

impl Hurry {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { waits: Notify::new(), since: Instant::now(), last: AtomicU64::new(0) })
    }

    /// Somebody waits: commits go out at once.
    pub(crate) fn please(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
        self.waits.notify_waiters();
    }

    fn wanted(&self) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last > 0 && u128::from(self.now() - last) < HURRY.as_millis()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }
}

/// The requests of `input` as they are sent.
pub(crate) fn outgoing<S>(input: S, window: Arc<Window>, hurry: Arc<Hurry>) -> impl Stream<Item = Rpc> + Send
where
    S: Stream<Item = Rpc> + Unpin + Send,
{
    Outgoing { input: Some(input), asked: false, window, hurry, pace: Pace::default() }.requests()
}

struct Outgoing<S> {
    /// None after its end.
    input: Option<S>,
    /// The next request was asked for and has not come. openraft holds a lock of all its streams to that member until it has, so
    /// that it must not be left alone.
    asked: bool,
    window: Arc<Window>,
    hurry: Arc<Hurry>,
    pace: Pace,
}

/// How the requests with entries follow each other.
#[derive(Default)]
struct Pace {
    last: Option<Instant>,
    close: bool,
}

impl Pace {
    fn entries_at(&mut self, now: Instant) {
        self.close = self.last.is_some_and(|last| now - last < CLOSE);
        self.last = Some(now);
    }
}

impl<S: Stream<Item = Rpc> + Unpin> Outgoing<S> {
    fn requests(self) -> impl Stream<Item = Rpc> {
        let left = self.window.left.clone().cancelled_owned();
        let requests = stream::unfold(self, async |mut state| {
            let rpc = state.next().await?;
            Some((rpc, state))
        });
        requests.take_until(left)
    }

    async fn next(&mut self) -> Option<Rpc> {
        let mut rpc = self.next_in_window().await?;
        // The first one also finds out whether the follower's log fits.
        if rpc.entries.is_empty() && self.window.sent() > 0 && self.pace.close && !self.hurry.wanted() {
            rpc = self.wait_for_entries(rpc).await;
        }
        if !rpc.entries.is_empty() {
            self.pace.entries_at(Instant::now());
        }
        self.window.sent.fetch_add(1, Ordering::Relaxed);
        Some(rpc)
    }

    /// The next request, when there is room for it: what comes until then goes into it.
    async fn next_in_window(&mut self) -> Option<Rpc> {
        // The end needs no room.
        self.input.as_ref()?;
        let window = Arc::clone(&self.window);
        let (slot, asked) = if self.asked {
            let (slot, rpc) = futures::join!(window.slots.acquire(), self.input());
            (slot, Some(rpc))
        } else {
            (window.slots.acquire().await, None)
        };
        slot.ok()?.forget();
        match asked {
            Some(rpc) => rpc,
            None => self.input().await,
        }
    }

    async fn input(&mut self) -> Option<Rpc> {
        let input = self.input.as_mut()?;
        self.asked = true;
        let next = input.next().await;
        self.asked = false;
        if next.is_none() {
            self.input = None;
        }
        next
    }

    /// The request that comes next says all that `commit` says; alone it goes when nothing comes in time.
    async fn wait_for_entries(&mut self, commit: Rpc) -> Rpc {
        let hurry = Arc::clone(&self.hurry);
        tokio::select! {
            biased;
            next = self.input() => next.unwrap_or(commit),
            () = hurry.waits.notified() => commit,
            () = sleep(COMMIT_DELAY) => commit,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use openraft::EntryPayload;
    use openraft::entry::RaftEntry;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::UnboundedReceiverStream;

    use super::*;
    use crate::types::{Entry, Vote, log_id};

    /// A request with the entry at `index`, or without any.
    fn request(index: Option<u64>, committed: u64) -> Rpc {
        AppendEntriesRequest {
            vote: Vote::new_committed(1, 1),
            prev_log_id: None,
            entries: index.map(|index| Entry::new(log_id(1, index), EntryPayload::Blank)).into_iter().collect(),
            leader_commit: Some(log_id(1, committed)),
        }
    }

    struct Rig {
        input: mpsc::UnboundedSender<Rpc>,
        taken: Arc<AtomicU64>,
        window: Arc<Window>,
        hurry: Arc<Hurry>,
        output: stream::BoxStream<'static, Rpc>,
    }

    impl Rig {
        /// With a request that was sent close after another one, and answered.
        fn busy() -> Self {
            // However late the test comes to it, the request that is sent is not a later one.
            let last = Instant::now() + Duration::from_hours(1);
            Self::after(Pace { last: Some(last), close: false })
        }

        /// With a first request that was sent and answered.
        fn after_first() -> Self {
            Self::after(Pace::default())
        }

        fn after(pace: Pace) -> Self {
            let (input, requests) = mpsc::unbounded_channel();
            let (window, hurry) = (Window::new(), Hurry::new());
            let taken = Arc::<AtomicU64>::default();
            let takes = Arc::clone(&taken);
            let requests = UnboundedReceiverStream::new(requests).inspect(move |_| {
                takes.fetch_add(1, Ordering::Relaxed);
            });
            let (requests, asked) = (Some(requests), false);
            let outgoing = Outgoing { input: requests, asked, window: Arc::clone(&window), hurry: Arc::clone(&hurry), pace };
            let output = outgoing.requests().boxed();
            let mut rig = Self { input, taken, window, hurry, output };
            rig.put(Some(1), 0);
            assert!(rig.ready().is_some());
            rig.window.answered();
            rig
        }

        fn put(&self, index: Option<u64>, committed: u64) {
            self.input.send(request(index, committed)).unwrap();
        }

        /// The request that goes out now; None when none does.
        fn ready(&mut self) -> Option<Rpc> {
            self.output.next().now_or_never().flatten()
        }
    }

    #[tokio::test]
    async fn no_more_than_a_window_is_open() {
        let mut rig = Rig::after_first();
        (2..9).for_each(|index| rig.put(Some(index), 0));
        for _ in 0..WINDOW {
            assert!(rig.ready().is_some());
        }
        assert!(rig.ready().is_none());
        rig.window.answered();
        assert!(rig.ready().is_some());
        assert_eq!(rig.window.sent(), 2 + WINDOW as u64);
    }

    #[tokio::test]
    async fn a_commit_goes_with_the_next_entries() {
        let mut rig = Rig::busy();
        rig.put(None, 2);
        assert!(rig.ready().is_none());
        rig.put(Some(3), 2);
        assert_eq!(rig.ready().map(|sent| sent.entries.len()), Some(1));
        assert_eq!(rig.window.sent(), 2, "one message for both");
    }

    #[tokio::test]
    async fn a_commit_goes_alone_when_nothing_follows() {
        let mut rig = Rig::busy();
        rig.put(None, 2);
        assert_eq!(rig.output.next().await.map(|sent| sent.entries.len()), Some(0));
        rig.put(None, 3);
        drop(rig.input);
        assert!(rig.output.next().await.is_some(), "the last one before the end");
        assert!(rig.output.next().await.is_none());
    }

    #[tokio::test]
    async fn the_commit_of_a_write_by_itself_goes_at_once() {
        let mut rig = Rig::after_first();
        rig.put(None, 1);
        assert!(rig.ready().is_some());
    }

    #[test]
    fn entries_are_close_when_they_come_within_a_time() {
        let (mut pace, begin) = (Pace::default(), Instant::now());
        let close = [0, 3, 7, 30].map(|millis| {
            pace.entries_at(begin + Duration::from_millis(millis));
            pace.close
        });
        assert_eq!(close, [false, true, false, false]);
    }

    #[tokio::test]
    async fn a_commit_goes_at_once_when_somebody_waits_for_it() {
        let mut rig = Rig::busy();
        rig.hurry.please();
        rig.put(None, 1);
        assert!(rig.ready().is_some());
    }

    #[tokio::test]
    async fn a_request_that_was_asked_for_is_not_left_alone() {
        let mut rig = Rig::busy();
        rig.put(Some(2), 1);
        assert!(rig.ready().is_some());
        rig.put(None, 1);
        assert!(rig.ready().is_none(), "it waits for the next request");
        rig.hurry.please();
        assert!(rig.ready().is_some());
        rig.put(Some(3), 1);
        assert!(rig.ready().is_none(), "the window is full");
        assert_eq!(rig.taken.load(Ordering::Relaxed), 4, "and yet it was taken");
        rig.window.answered();
        assert_eq!(rig.ready().map(|sent| sent.entries.len()), Some(1));
    }

    #[tokio::test]
    async fn the_requests_end_when_nobody_reads_the_answers() {
        let mut rig = Rig::after_first();
        let reader = rig.window.reader();
        (2..9).for_each(|index| rig.put(Some(index), 0));
        while rig.ready().is_some() {}
        drop(reader);
        assert!(rig.output.next().await.is_none(), "though the window is full, and there are more");
        let mut rig = Rig::after_first();
        drop(rig.window.reader());
        assert!(rig.output.next().await.is_none(), "and when it waits for the next one");
    }

    #[tokio::test]
    async fn whoever_comes_to_wait_releases_a_commit() {
        let mut rig = Rig::busy();
        rig.put(None, 1);
        assert!(rig.ready().is_none());
        rig.hurry.please();
        assert!(rig.ready().is_some());
    }
}
