//! Instances that do not run without contact: they are given up only when they do not run any more.

use ring_runtime::Observed;
use ring_state::State;
use ring_types::{InstanceId, InstanceState, StopCause};

use super::run::Sim;

/// An agent that is up again has stopped what it had to stop after so long.
const CATCHES_UP: i64 = 2000;

impl Sim {
    /// Another may take its place from now on: so it does not run. An agent that is down stops nothing, and one without its records
    /// does not know what to stop.
    pub(super) fn check_given_up(&mut self, before: &State, after: &State, id: InstanceId) -> Result<(), String> {
        let (Some(old), Some(new)) = (before.instance(id), after.instance(id)) else { return Ok(()) };
        let spec = after.deployment(new.deployment).map(|deployment| &deployment.spec);
        if spec.is_none_or(|spec| spec.stop_on_disconnect.is_none()) || old.state == new.state {
            return Ok(());
        }
        self.summary.cut_off += u64::from(new.state == InstanceState::Exited && new.stop_cause == Some(StopCause::Disconnected));
        if new.state != InstanceState::Lost {
            return Ok(());
        }
        self.summary.given_up += 1;
        let able = |agent: &&super::agent::Agent| agent.up && self.now - agent.up_since > CATCHES_UP;
        let on = self.agents.iter().find(|agent| agent.node == new.node).filter(able);
        let runs = on.and_then(|agent| agent.runtime.get(&id)).is_some_and(|c| matches!(c.observed, Observed::Running { .. }));
        if runs && !self.hosts.disturbed.contains(&id) {
            return Err(format!("{id} is given up while it still runs"));
        }
        Ok(())
    }
}
