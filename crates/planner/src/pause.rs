//! Pauses before the next start, and when the healthy window is over.

use std::collections::BTreeMap;

use ring_state::{Deployment, EventKind, Instance, State};
use ring_types::{InstanceId, Span, Timestamp};

/// Shortest healthy window.
const MIN_WINDOW: Span = Span::seconds(10);

/// How long every instance has to run for its restarts to be forgiven.
pub(crate) fn healthy_window(deployment: &Deployment) -> Span {
    deployment.spec.restart.max_backoff.max(MIN_WINDOW)
}

/// When things happened by the leader's clock. Times of a node's own clock may be off by any amount, so the events the
/// state stamped are taken, and what the node said only where the event is gone.
pub(crate) struct Times {
    ended: BTreeMap<InstanceId, Timestamp>,
    started: BTreeMap<InstanceId, Timestamp>,
    recovered: BTreeMap<InstanceId, Timestamp>,
    now: Timestamp,
}

impl Times {
    /// Reads the events of a deployment, of which there are few.
    pub(crate) fn of(state: &State, deployment: &Deployment, now: Timestamp) -> Self {
        let mut times = Self { ended: BTreeMap::new(), started: BTreeMap::new(), recovered: BTreeMap::new(), now };
        for event in state.events(deployment.id) {
            let Some(instance) = event.instance else { continue };
            match event.kind {
                EventKind::InstanceExited | EventKind::InstanceLost | EventKind::ExitCorrected => {
                    times.ended.insert(instance, event.at);
                }
                EventKind::InstanceStarted => {
                    times.started.insert(instance, event.at);
                }
                EventKind::HealthCheckRecovered => {
                    times.recovered.insert(instance, event.at);
                }
                _ => {}
            }
        }
        times
    }

    /// When an instance ended; now for one whose end was not recorded yet.
    pub(crate) fn ended(&self, instance: &Instance) -> Timestamp {
        let said = || instance.exit.as_deref().map_or(self.now, |exit| exit.finished_at);
        self.ended.get(&instance.id).copied().unwrap_or_else(said).min(self.now)
    }

    /// When the process of an instance was first reported alive.
    pub(crate) fn started(&self, instance: &Instance) -> Timestamp {
        let said = || instance.started_at.unwrap_or(self.now);
        self.started.get(&instance.id).copied().unwrap_or_else(said).min(self.now)
    }

    /// Since when an instance has run without a failing check, and been ready if it ever was.
    pub(crate) fn healthy_since(&self, instance: &Instance) -> Timestamp {
        let recovered = self.recovered.get(&instance.id).copied();
        let since = [Some(self.started(instance)), recovered, instance.ready_at].into_iter().flatten().max();
        since.unwrap_or(self.now).min(self.now)
    }
}
