//! The leases of nodes: who was not heard of for too long is proposed as out of contact, then as lost.

use std::time::Duration;

use async_trait::async_trait;
use ring_planner::{Judgement, judge_nodes};
use ring_state::Command;
use ring_store::ProposeError;
use ring_types::Timestamp;
use tokio::time::sleep;

use crate::clock::{self, Fault, Look};
use crate::cluster::Cluster;
use crate::supervise::Controller;
use crate::{Contacts, ControllerOptions};

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

impl Leases {
    fn judge<C: Cluster>(&self, cluster: &C, since: Timestamp) -> Judgement {
        let state = cluster.local();
        let now = clock::wall();
        self.contacts.follow(&state, now);
        judge_nodes(&state, &self.contacts.snapshot(), since, now, &self.options.leases)
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
