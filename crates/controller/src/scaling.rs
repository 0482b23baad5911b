//! Scaling by load: the planner decides from what was measured lately, and what it says is proposed.

use std::time::Duration;

use async_trait::async_trait;
use ring_planner::autoscale;
use ring_state::{Command, limits};
use ring_store::ProposeError;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::supervise::Controller;
use crate::{Contacts, ControllerOptions, clock};

/// Between two looks at the loads; nodes measure less often.
const LOOK: Duration = Duration::from_secs(2);

/// Watches the loads.
#[derive(Clone)]
pub(crate) struct Scaling {
    contacts: Contacts,
    options: ControllerOptions,
}

impl Scaling {
    pub(crate) fn new(contacts: Contacts, options: ControllerOptions) -> Self {
        Self { contacts, options }
    }

    async fn look<C: Cluster>(&self, cluster: &C) -> Result<(), ProposeError> {
        let (state, options) = (cluster.local(), &self.options.autoscale);
        let loads = self.contacts.loads();
        loads.prune(&state);
        let (wall, now) = (clock::wall(), cluster.now());
        let mut measured = loads.snapshot(wall, options.stale_after);
        // Dated by this host's clock, which the clock of the state may be ahead of.
        for load in measured.values_mut() {
            load.at = load.at + now.since(wall);
        }
        let mut actions = autoscale(&state, &measured, now, options);
        actions.truncate(limits::ACTIONS_PER_PLAN);
        if actions.is_empty() {
            return Ok(());
        }
        match cluster.propose(Command::Plan { actions }).await {
            Err(error @ (ProposeError::Shutdown | ProposeError::Storage(_))) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "scaling by load was not committed; looking again");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }
}

#[async_trait]
impl<C: Cluster> Controller<C> for Scaling {
    async fn lead(self, cluster: C) {
        while self.look(&cluster).await.is_ok() {
            sleep(LOOK).await;
        }
    }
}
