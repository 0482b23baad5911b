//! Output as it comes.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use futures::stream::{self, BoxStream, StreamExt};
use ring_runtime::{LogLine, LogRequest, RuntimeError, RuntimeErrorKind};

use super::reader::Position;
use crate::notice::Notice;

struct Follower<Ended> {
    ready: VecDeque<LogLine>,
    position: Position,
    request: LogRequest,
    changes: Notice,
    ended: Ended,
    /// The instance had ended before the last look: nothing comes after what that look found.
    last: bool,
}

/// Goes on after `ready` and `position` until `ended` says so and everything was given.
pub fn follow<Ended>(
    dir: &Path,
    (ready, position): (VecDeque<LogLine>, Position),
    request: LogRequest,
    ended: Ended,
) -> BoxStream<'static, Result<LogLine, RuntimeError>>
where
    Ended: Fn() -> bool + Send + Sync + 'static,
{
    // The record of the end appears in the directory of the instance.
    let changes = Notice::of(std::iter::once(dir).chain(dir.parent()));
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
                self.changes.changed().await;
            }
        }
    }
}
