//! The leases of nodes: who was not heard of for too long is proposed as out of contact, then as lost.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use ring_planner::{Judgement, judge_nodes};
use ring_state::Command;
use ring_store::ProposeError;
use ring_types::Timestamp;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::supervise::Controller;
use crate::{Contacts, ControllerOptions, clock};

/// Longest time between two looks: a node that is heard again is ready again after no more.
const LONGEST: Duration = Duration::from_millis(500);

/// Watches the leases.
#[derive(Clone)]
pub(crate) struct Leases {
    contacts: Contacts,
    options: ControllerOptions,
}

impl Leases {
    pub(crate) fn new(contacts: Contacts, options: ControllerOptions) -> Self {
        Self { contacts, options }
    }

    fn interval(&self) -> Duration {
        (self.options.leases.suspect_after.duration() / 5).clamp(Duration::from_millis(10), LONGEST)
    }
}

#[async_trait]
impl<C: Cluster> Controller<C> for Leases {
    async fn lead(self, cluster: C) {
        let interval = self.interval();
        // This long without a look, and it was this process that stood still: what it did not hear proves nothing.
        let stall = self.options.leases.suspect_after.duration() / 2 + interval;
        let mut since = clock::wall();
        let mut last = Look::now();
        let mut held_back = 0;
        loop {
            let look = Look::now();
            if let Some(fault) = last.fault(&look, stall) {
                tracing::warn!(?fault, "leases of all nodes start afresh");
                since = look.wall;
                if matches!(fault, Fault::ClockSet { .. }) {
                    self.contacts.forget_all();
                }
            }
            last = look;
            let judgement = self.judge(&cluster, since);
            if judgement.held_back > 0 && judgement.held_back != held_back {
                tracing::warn!(
                    nodes = judgement.held_back,
                    "so many nodes are silent at once that none of them is declared lost: look at the network of this control node"
                );
            }
            held_back = judgement.held_back;
            if self.record(&cluster, judgement).await.is_err() {
                return;
            }
            sleep(interval).await;
        }
    }
}

/// When the nodes were looked at, by both clocks of this host.
struct Look {
    steady: Instant,
    wall: Timestamp,
}

/// Why what was heard before proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// This process did nothing for so long.
    StoodStill(Duration),
    /// The clock that signs of life are dated by was set, by so many milliseconds.
    ClockSet { millis: i64 },
}

impl Look {
    fn now() -> Self {
        Self { steady: Instant::now(), wall: clock::wall() }
    }

    fn fault(&self, next: &Self, bound: Duration) -> Option<Fault> {
        let passed = next.steady.duration_since(self.steady);
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let set = next.wall.0.saturating_sub(self.wall.0).saturating_sub(millis(passed));
        if set.saturating_abs() > millis(bound) {
            return Some(Fault::ClockSet { millis: set });
        }
        (passed > bound).then_some(Fault::StoodStill(passed))
    }
}

impl Leases {
    fn judge<C: Cluster>(&self, cluster: &C, since: Timestamp) -> Judgement {
        let state = cluster.local();
        self.contacts.prune(&state);
        judge_nodes(&state, &self.contacts.snapshot(), since, clock::wall(), &self.options.leases)
    }

    async fn record<C: Cluster>(&self, cluster: &C, judgement: Judgement) -> Result<(), ProposeError> {
        if judgement.changes.is_empty() {
            return Ok(());
        }
        for change in &judgement.changes {
            tracing::info!(node = %change.node, status = ?change.status, "node");
        }
        match cluster.propose(Command::SetNodeStatus { changes: judgement.changes }).await {
            Ok(_) => Ok(()),
            Err(error @ (ProposeError::Shutdown | ProposeError::Storage(_))) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "the status of nodes was not committed; judging again");
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_told_from_a_process_that_stood_still() {
        let begun = Look { steady: Instant::now(), wall: Timestamp(1_000_000) };
        let later = |steady: u64, wall: i64| {
            let next = Look { steady: begun.steady + Duration::from_millis(steady), wall: Timestamp(1_000_000 + wall) };
            begun.fault(&next, Duration::from_secs(3))
        };
        assert_eq!(later(500, 500), None);
        assert_eq!(later(500, 3400), None, "within what a lease bears");
        assert_eq!(later(500, 300_500), Some(Fault::ClockSet { millis: 300_000 }));
        assert_eq!(later(500, -299_500), Some(Fault::ClockSet { millis: -300_000 }));
        assert_eq!(later(4000, 4000), Some(Fault::StoodStill(Duration::from_secs(4))));
    }
}
