//! Output as it comes.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use ring_runtime::{LogLine, LogRequest, RuntimeError, RuntimeErrorKind};
use rustix::fs::inotify;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::reader::Position;
use crate::watch::wait_on;

/// How long a change can stay unnoticed where the kernel gives no notice.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

struct Follower<Ended> {
    ready: VecDeque<LogLine>,
    position: Position,
    request: LogRequest,
    changes: Option<AsyncFd<OwnedFd>>,
    ended: Ended,
    /// The instance had ended before the last look: nothing comes after what that look found.
    last: bool,
}

/// Goes on after `ready` and `position` until `ended` says so and everything was given.
pub(crate) fn follow<Ended>(
    dir: &Path,
    (ready, position): (VecDeque<LogLine>, Position),
    request: LogRequest,
    ended: Ended,
) -> BoxStream<'static, Result<LogLine, RuntimeError>>
where
    Ended: Fn() -> bool + Send + Sync + 'static,
{
    let changes = watch(dir).ok();
    let follower = Follower { ready, position, request, changes, ended, last: false };
    stream::try_unfold(follower, |mut follower| async move {
        let line = follower.next().await.map_err(|error| RuntimeError::new(RuntimeErrorKind::Other, error.to_string()))?;
        Ok(line.map(|line| (line, follower)))
    })
    .boxed()
}

impl<Ended: Fn() -> bool> Follower<Ended> {
    async fn next(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            if self.last {
                return Ok(None);
            }
            self.last = (self.ended)();
            let (since, ready) = (self.request.since, &mut self.ready);
            self.position.advance(|line| {
                if since.is_none_or(|since| line.at >= since) {
                    ready.push_back(line);
                }
            })?;
            if !self.last && self.ready.is_empty() {
                self.changed().await;
            }
        }
    }

    async fn changed(&self) {
        let Some(changes) = &self.changes else { return tokio::time::sleep(LOOK_AGAIN).await };
        // An instance whose directory was taken away makes no event that says so, hence the limit.
        if let Ok(Ok(mut guard)) = tokio::time::timeout(LOOK_AGAIN * 10, changes.readable()).await {
            drain(changes.get_ref());
            guard.clear_ready();
        }
    }
}

fn watch(dir: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&fd, dir, inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE)?;
    if let Some(instance) = dir.parent() {
        // The record of the end appears there.
        inotify::add_watch(&fd, instance, inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CREATE)?;
    }
    wait_on(fd)
}

fn drain(fd: &OwnedFd) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(fd, &mut buffer);
    loop {
        match events.next() {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
