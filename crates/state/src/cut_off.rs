//! Instances that their agents stop when the host is out of contact: from when on it is certain that they are stopped.

use ring_types::{InstanceState, NodeStatus, Span, Timestamp};

use crate::{Instance, Node, State};

/// From the time an agent has to have stopped an instance to the time another may take its place. In it are the time for which a
/// control node that lost its leader still answers agents (4.5 s), the pause between two looks of an agent (1 s), what a runtime
/// takes beyond the grace to end a process, and clocks that do not run at the same rate.
const CUT_OFF_MARGIN: Span = Span::seconds(15);

impl Node {
    /// Since when at the latest nothing is heard of it; None while it is in contact.
    pub fn silence(&self) -> Option<Timestamp> {
        let silent = matches!(self.status, NodeStatus::Unreachable | NodeStatus::Lost);
        silent.then(|| self.silent_since.unwrap_or(self.status_since))
    }
}

impl State {
    /// When an instance on a lost node has certainly been stopped by its agent, if that is what is to become of it; None for one that
    /// runs on, that was never claimed and so runs nowhere, or whose node was removed, by which somebody says that it does not run.
    /// The node's silence counts from `not_before` where that is later: what a leader before said was by another clock.
    pub fn stopped_at(&self, instance: &Instance, not_before: Timestamp) -> Option<Timestamp> {
        let spec = &self.deployment(instance.deployment)?.spec;
        let limit = spec.stop_on_disconnect.filter(|_| instance.state != InstanceState::Assigned)?;
        let silent = self.node(instance.node)?.silence()?;
        Some(silent.max(not_before) + limit + spec.stop_grace + CUT_OFF_MARGIN)
    }
}
