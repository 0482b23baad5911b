//! Rotation of the authority: a phase ends when no host is missing. Who is, stands in the state.

use std::time::Duration;

use async_trait::async_trait;
use ring_state::{CaStep, Command, State};
use ring_store::ProposeError;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::supervise::Controller;

/// Between two looks whether a phase is over.
const LOOK: Duration = Duration::from_millis(500);

/// Ends phases.
#[derive(Clone)]
pub(crate) struct Phases;

fn over(state: &State) -> Option<CaStep> {
    let rotation = state.ca_rotation()?;
    let (members, nodes) = state.ca_missing();
    let step = CaStep { rotation: rotation.id, phase: rotation.phase, force: false };
    (members.is_empty() && nodes.is_empty()).then_some(step)
}

#[async_trait]
impl<C: Cluster> Controller<C> for Phases {
    async fn lead(self, cluster: C) {
        loop {
            if let Some(step) = over(&cluster.local()) {
                match cluster.propose(Command::StepCa(step)).await {
                    Ok(_) => tracing::info!(phase = ?step.phase, "a phase of the rotation of the authority is over"),
                    Err(ProposeError::Shutdown | ProposeError::Storage(_)) => return,
                    Err(error) => tracing::warn!(%error, "the end of a phase was not committed; trying again"),
                }
            }
            sleep(LOOK).await;
        }
    }
}
