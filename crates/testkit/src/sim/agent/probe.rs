//! Health checks: what an agent finds, and says when it is other than what was said before.

use ring_runtime::Observed;
use ring_state::InstanceReport;
use ring_types::{FailingCheck, Health, InstanceId, InstanceState};

use super::super::clients::BAD;
use super::super::network::ToControl;
use super::super::run::{Event, Sim};

/// After so long an instance passes its readiness checks.
const READY_AFTER: i64 = 1500;

impl Sim {
    /// Probes an instance while its process runs.
    pub(crate) fn probe(&mut self, node: usize, instance: InstanceId) {
        let Some(container) = self.agents[node].runtime.get(&instance).cloned() else { return };
        let Observed::Running { started_at, .. } = container.observed else { return };
        let pause = self.rng.range(300, 1500);
        self.after(pause, Event::Probe { node, instance });
        let fails = self.chaos && self.rng.chance(3);
        let check = self.rng.range(0, container.spec.health_checks.len() as u64) as u32;
        let failing: Vec<_> = fails.then(|| FailingCheck { check, message: "refused".to_owned() }).into_iter().collect();
        let old = self.now - started_at.0 >= READY_AFTER && container.spec.image != BAD;
        let ready = (old || !container.spec.is_gated()) && failing.is_empty();
        self.say_health(node, instance, Health { ready, failing });
    }

    fn say_health(&mut self, node: usize, instance: InstanceId, health: Health) {
        let agent = &self.agents[node];
        let state = InstanceState::Running;
        let known = agent.known.get(&instance).is_some_and(|known| known.volatile.acknowledged == Some(state));
        let Some(session) = agent.session.filter(|_| agent.up && agent.welcomed.is_some() && known) else { return };
        // What was committed of it came back to the agent with the acknowledgements.
        let recorded = self.control.tip().instance(instance).and_then(|i| i.health.as_deref());
        if recorded == Some(&health) {
            return;
        }
        let health = Some(health);
        let report = InstanceReport { health, ..InstanceReport::of(instance, state) };
        self.send_up(node, session, ToControl::Report(vec![report]));
    }
}
