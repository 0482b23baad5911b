//! What goes out on a stream of appends: few requests at a time, so that each carries much, and no message of its own for a
//! commit that can go with the next entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use openraft::raft::AppendEntriesRequest;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep};

use crate::types::Types;

/// Requests of a stream that may wait for their answers. What is proposed meanwhile goes into the next one: on a busy cluster
/// one message carries many entries, and a follower syncs and answers once for all of them.
const WINDOW: usize = 2;
/// How long a follower may learn later that something is committed when no entry comes to say it with.
const COMMIT_DELAY: Duration = Duration::from_millis(2);
/// Somebody who waited at a follower just now may well do so again.
const HURRY: Duration = Duration::from_millis(100);

type Rpc = AppendEntriesRequest<Types>;

/// What bounds the requests that are open on a stream.
pub(crate) struct Window {
    slots: Semaphore,
    sent: AtomicU64,
}

impl Window {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { slots: Semaphore::new(WINDOW), sent: AtomicU64::new(0) })
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
    stream::unfold(Outgoing { input: Some(input), window, hurry }, async |mut state| {
        let rpc = state.next().await?;
        Some((rpc, state))
    })
}

struct Outgoing<S> {
    /// None after its end.
    input: Option<S>,
    window: Arc<Window>,
    hurry: Arc<Hurry>,
}

impl<S: Stream<Item = Rpc> + Unpin> Outgoing<S> {
    async fn next(&mut self) -> Option<Rpc> {
        self.window.slots.acquire().await.ok()?.forget();
        let mut rpc = self.input().await?;
        // The first one also finds out whether the follower's log fits.
        if rpc.entries.is_empty() && self.window.sent() > 0 && !self.hurry.wanted() {
            rpc = self.wait_for_entries(rpc).await;
        }
        self.window.sent.fetch_add(1, Ordering::Relaxed);
        Some(rpc)
    }

    async fn input(&mut self) -> Option<Rpc> {
        let next = self.input.as_mut()?.next().await;
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
