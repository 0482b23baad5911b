//! Output as it comes, to its true end.
//!
//! An engine's own following ends too early: it may close before the last lines of an ended container were given, and it closes
//! when the engine is restarted although the container runs on. It may also not end at all: Podman's misses the end of a container
//! that was short. So its end is only a reason to look, and its silence is one too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use ring_runtime::{LogLine, LogRequest, Observed, RuntimeError, now};
use ring_types::InstanceId;
use tokio::time::{sleep, timeout};

use super::{Message, message, options, wanted};
use crate::driver::Containers;
use crate::state::observed;

/// Before following anew a container that still runs.
const PAUSE: Duration = Duration::from_millis(100);

/// After so long without a message it is asked whether the container still runs.
const SILENCE: Duration = Duration::from_secs(3);

struct Follower {
    containers: Arc<Containers>,
    instance: InstanceId,
    request: LogRequest,
    output: BoxStream<'static, Result<LogOutput, Error>>,
    /// The last message that came.
    last: Option<Message>,
    /// It was followed anew: what is not after `last` came before.
    again: bool,
    /// The end of an output that has ended.
    rest: VecDeque<LogLine>,
    finished: bool,
}

/// Follows the output of an instance until it has ended and everything was given.
pub(crate) async fn follow(
    containers: Arc<Containers>,
    instance: InstanceId,
    request: LogRequest,
) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
    let output = containers.output(instance, options(request)).await?;
    let (last, rest) = (None, VecDeque::new());
    let follower = Follower { containers, instance, request, output, last, again: false, rest, finished: false };
    let lines = stream::try_unfold(follower, |mut follower| async move {
        let line = follower.next().await?;
        Ok(line.map(|line| (line, follower)))
    });
    Ok(lines.boxed())
}

impl Follower {
    async fn next(&mut self) -> Result<Option<LogLine>, RuntimeError> {
        loop {
            if let Some(line) = self.rest.pop_front() {
                return Ok(Some(line));
            }
            if self.finished {
                return Ok(None);
            }
            let Ok(next) = timeout(SILENCE, self.output.next()).await else {
                self.look_in_silence().await?;
                continue;
            };
            match next {
                Some(Ok(output)) => {
                    let message = message(output, now());
                    let old = self.again && self.last.as_ref().is_some_and(|last| message.time <= last.time);
                    if !old {
                        let line = message.line.clone();
                        self.last = Some(message);
                        self.rest.extend(wanted(&line, self.request).then_some(line));
                    }
                }
                Some(Err(_)) | None => self.look().await?,
            }
        }
    }

    /// The engine's following is over: is the instance?
    async fn look(&mut self) -> Result<(), RuntimeError> {
        let found = look_at(&self.containers, self.instance).await?;
        if !self.finish(&found).await? {
            sleep(PAUSE).await;
            let output = self.containers.output(self.instance, options(self.request_from_last(true))).await?;
            (self.output, self.again) = (output, true);
        }
        Ok(())
    }

    /// Nothing came for a while: has the instance ended without a word of it? An engine that does not answer is borne here:
    /// it closes the output when it goes away.
    async fn look_in_silence(&mut self) -> Result<(), RuntimeError> {
        if let Ok(found) = look_at(&self.containers, self.instance).await {
            self.finish(&found).await?;
        }
        Ok(())
    }

    /// Takes what an ended instance has left. False when it has not ended.
    async fn finish(&mut self, found: &Observed) -> Result<bool, RuntimeError> {
        match found {
            Observed::Absent => self.finished = true,
            Observed::Exited { .. } => {
                self.rest = self.remaining().await?;
                self.finished = true;
            }
            Observed::Created | Observed::Running { .. } => {}
        }
        Ok(self.finished)
    }

    /// What an ended instance has written after the last message that came.
    async fn remaining(&mut self) -> Result<VecDeque<LogLine>, RuntimeError> {
        let output = self.containers.output(self.instance, options(self.request_from_last(false))).await?;
        let now = now();
        let all: Result<Vec<Message>, Error> = output.map_ok(|output| message(output, now)).try_collect().await;
        let all = all.map_err(|error| self.containers.failed("the log of an instance", &error))?;
        let given = self.last.as_ref().and_then(|last| all.iter().rposition(|message| message == last));
        let new = all.into_iter().skip(given.map_or(0, |given| given + 1)).map(|message| message.line);
        Ok(new.filter(|line| wanted(line, self.request)).collect())
    }

    /// The same request, from the second of the last message on when there was one.
    fn request_from_last(&self, follow: bool) -> LogRequest {
        match &self.last {
            None => LogRequest { follow, ..self.request },
            Some(last) => LogRequest { tail: None, since: Some(last.line.at), follow },
        }
    }
}

async fn look_at(containers: &Containers, instance: InstanceId) -> Result<Observed, RuntimeError> {
    let found = containers.inspect(instance).await?;
    Ok(found.map_or(Observed::Absent, |container| observed(&container, containers.moment())))
}
