//! Being told that files in a directory have changed.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How long a change can stay unnoticed where the kernel gives no notice.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Watches directories.
pub struct Notice(Option<AsyncFd<OwnedFd>>);

impl Notice {
    /// Watches these directories for files that are made, written or moved in. Where the kernel has no watch left, time passes
    /// instead.
    pub fn of<'a>(dirs: impl IntoIterator<Item = &'a Path>) -> Self {
        Self(watch(dirs).ok())
    }

    /// Returns when something may have changed: at a change, and now and then without one.
    pub async fn changed(&self) {
        let Some(changes) = &self.0 else { return tokio::time::sleep(LOOK_AGAIN).await };
        // A directory that was taken away makes no event that says so, hence the limit.
        if let Ok(Ok(mut guard)) = tokio::time::timeout(LOOK_AGAIN * 10, changes.readable()).await {
            drain(changes.get_ref());
            guard.clear_ready();
        }
    }
}

fn watch<'a>(dirs: impl IntoIterator<Item = &'a Path>) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    let kinds = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    for dir in dirs {
        inotify::add_watch(&fd, dir, kinds)?;
    }
    wait_on(fd)
}

/// Lets the runtime wait for a descriptor to become readable.
///
/// # Errors
/// Outside of an async runtime, and for what cannot be waited for.
#[expect(deprecated, reason = "its successor is unsafe and asks for what an OwnedFd promises by its type")]
pub fn wait_on(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
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
