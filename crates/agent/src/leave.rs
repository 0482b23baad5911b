//! An agent that is told to stop may have its node emptied first.

use std::time::Duration;

use ring_proto::agent::v1::{LeaveReply, LeaveRequest};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

/// From one question how much is left to the next.
pub(crate) const ASK: Duration = Duration::from_secs(1);
/// Without an answer for so long it is given up: the node has no contact.
const SILENCE: Duration = Duration::from_secs(20);
/// What is told to end at the deadline has so long to do it, beyond its own time for that.
const GRACE: Duration = Duration::from_secs(30);

/// What control nodes say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    Refused(String),
    Left(u32),
}

/// Between whoever stops the agent and its session.
#[derive(Debug)]
pub(crate) struct Leave {
    /// [`SILENCE`] and [`GRACE`], which tests shorten.
    patience: (Duration, Duration),
    within: watch::Sender<Option<Duration>>,
    said: watch::Sender<(Said, u64)>,
}

impl Default for Leave {
    fn default() -> Self {
        Self { patience: (SILENCE, GRACE), within: watch::Sender::default(), said: watch::Sender::default() }
    }
}

impl Leave {
    /// Resolves when there is something to ask.
    pub(crate) async fn wanted(&self) {
        // The sender is our own.
        let _ = self.within.subscribe().wait_for(Option::is_some).await;
    }

    /// What to ask.
    pub(crate) fn request(&self) -> Option<LeaveRequest> {
        self.within.borrow().map(|within| LeaveRequest { within_ms: within.as_millis() as u64 })
    }

    /// A control node answered.
    pub(crate) fn answered(&self, reply: LeaveReply) {
        if !reply.error.is_empty() {
            tracing::warn!(error = reply.error, "whether this node is emptied was not decided, asking again");
            return;
        }
        let said = if reply.refused.is_empty() { Said::Left(reply.left) } else { Said::Refused(reply.refused) };
        self.said.send_modify(|(now, count)| (*now, *count) = (said, *count + 1));
    }

    /// Has the node emptied, and waits until it is, or cannot be, or `within` and a little more has passed.
    pub(crate) async fn empty(&self, within: Duration) {
        let (silence, grace) = self.patience;
        let deadline = Instant::now() + within + grace;
        self.within.send_replace(Some(within));
        let mut said = self.said.subscribe();
        let mut told = None;
        loop {
            let patience = deadline.min(Instant::now() + silence);
            match timeout_at(patience, said.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) if patience == deadline => {
                    tracing::warn!(?within, "the time for emptying this node is over; what is left runs on");
                    return;
                }
                Err(_) => {
                    tracing::warn!("no control node answers: this node is not emptied; what runs goes on");
                    return;
                }
            }
            let now = said.borrow_and_update().0.clone();
            match now {
                Said::Left(0) => {
                    tracing::info!("this node is empty");
                    return;
                }
                Said::Refused(why) => {
                    tracing::warn!(why, "this node is not emptied; what runs goes on");
                    return;
                }
                Said::Left(left) if told != Some(left) => {
                    tracing::info!(left, "this node is being emptied");
                    told = Some(left);
                }
                Said::Left(_) | Said::Nothing => {}
            }
        }
    }
}

/// Resolves when it is time to ask again.
pub(crate) async fn turn(next: Option<Instant>) {
    match next {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn left(left: u32) -> LeaveReply {
        LeaveReply { left, ..LeaveReply::default() }
    }

    fn refused(why: &str) -> LeaveReply {
        LeaveReply { refused: why.to_owned(), ..LeaveReply::default() }
    }

    /// How many of the replies it took until nobody waited any more; None: it waits on.
    async fn taken(leave: &Leave, within: Duration, replies: &[LeaveReply]) -> Option<usize> {
        let mut waiting = std::pin::pin!(leave.empty(within));
        for (count, reply) in replies.iter().enumerate() {
            tokio::select! {
                biased;
                () = &mut waiting => return Some(count),
                () = leave.wanted() => {}
            }
            assert_eq!(leave.request(), Some(LeaveRequest { within_ms: within.as_millis() as u64 }));
            leave.answered(reply.clone());
        }
        tokio::select! {
            biased;
            () = &mut waiting => Some(replies.len()),
            () = std::future::ready(()) => None,
        }
    }

    #[tokio::test]
    async fn it_ends_when_nothing_is_left_or_it_is_refused() {
        let undecided = LeaveReply { error: "no quorum".to_owned(), ..LeaveReply::default() };
        let all = [left(2), undecided, left(2), left(1), left(0), left(0)];
        assert_eq!(taken(&Leave::default(), HOUR, &all).await, Some(5));
        assert_eq!(taken(&Leave::default(), HOUR, &all[..4]).await, None);
        assert_eq!(taken(&Leave::default(), HOUR, &[refused("level"), left(1)]).await, Some(1));
    }

    #[tokio::test]
    async fn it_ends_when_nobody_answers_or_its_time_is_over() {
        let (short, long) = (Duration::from_millis(20), Duration::from_hours(1));
        let silent = Leave { patience: (short, long), ..Leave::default() };
        assert_eq!(taken(&silent, HOUR, &[left(1)]).await, None);
        silent.empty(HOUR).await;
        let over = Leave { patience: (long, short), ..Leave::default() };
        over.empty(short).await;
    }
}
