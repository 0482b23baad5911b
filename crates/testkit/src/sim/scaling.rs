//! Loads: what instances are measured with, what the leader makes of it, and what has to hold of it.

use std::collections::BTreeMap;

use ring_planner::{AutoscaleOptions, Load, autoscale};
use ring_state::{Command, Deployment, RowKey, State};
use ring_types::{Cpu, InstanceState, Kind, RequestId, Span, Timestamp};

use super::control::Origin;
use super::run::{Event, Sim};

const LOOK: u64 = 1000;
const OPTIONS: AutoscaleOptions =
    AutoscaleOptions { up_after: Span(3000), down_after: Span(5000), stale_after: Span(20_000), samples: 1 };

/// How many instances a deployment is to have: said here in other words than in the state.
pub(crate) fn wanted(deployment: &Deployment) -> u32 {
    match (deployment.spec.autoscale, deployment.scale) {
        (Some(bounds), Some(scale)) if deployment.spec.kind == Kind::Worker => scale.replicas.max(bounds.min).min(bounds.max),
        (Some(bounds), None) if deployment.spec.kind == Kind::Worker => deployment.spec.replicas.max(bounds.min).min(bounds.max),
        _ => deployment.spec.replicas,
    }
}

impl Sim {
    /// The leader looks at the loads.
    pub(crate) fn scale(&mut self, term: u64) {
        if self.control.term != term || self.control.leader.is_none() || !self.chaos {
            return;
        }
        self.after(LOOK, Event::Scale { term });
        let now = Timestamp(self.now + self.control.skew).max(self.control.tip().clock());
        let view = self.control.tip().clone();
        let scales = |deployment| view.deployment(deployment).is_some_and(|d| d.spec.autoscale.is_some());
        let mut loads = BTreeMap::new();
        for instance in view.instances().filter(|i| i.state == InstanceState::Running && scales(i.deployment)) {
            // Some are not heard of.
            if self.rng.chance(80) {
                let load = Load { node: instance.node, cpu: Cpu(self.rng.range(0, 1200)), samples: 1, at: now };
                loads.insert(instance.id, load);
            }
        }
        let actions = autoscale(&view, &loads, now, &OPTIONS);
        if !actions.is_empty() {
            let request = RequestId(self.rng.uuid());
            self.propose(Origin::Nobody, request, Command::Plan { actions });
        }
    }

    /// A load leads nowhere beyond the bounds.
    pub(crate) fn check_scales(&mut self, before: &State, after: &State, keys: &[RowKey]) -> Result<(), String> {
        for key in keys {
            let RowKey::Deployment(id) = key else { continue };
            let Some(now) = after.deployment(*id) else { continue };
            let scale = |d: &Deployment| d.scale.and_then(|scale| scale.at);
            let led = scale(now).is_some() && before.deployment(*id).is_some_and(|was| scale(was) != scale(now));
            let (Some(bounds), Some(to)) = (now.spec.autoscale.filter(|_| led), now.scale) else { continue };
            self.summary.scaled += 1;
            if to.replicas < bounds.min || to.replicas > bounds.max {
                return Err(format!("the load of {id} leads to {}, beyond {bounds:?}", to.replicas));
            }
        }
        Ok(())
    }
}
