//! What is on a fake runtime.

use std::collections::{BTreeMap, BTreeSet};

use ring_types::{DeploymentId, InstanceId, Outcome, Timestamp};

use super::script::{FakeCall, FakeScript};
use crate::{LogLine, Observed, RuntimeError, RuntimeErrorKind, Workload};

/// One instance.
pub(super) struct FakeInstance {
    pub(super) deployment: DeploymentId,
    pub(super) observed: Observed,
    pub(super) lines: Vec<LogLine>,
}

/// Everything behind the lock.
#[derive(Default)]
pub(super) struct World {
    pub(super) instances: BTreeMap<InstanceId, FakeInstance>,
    pub(super) scripts: BTreeMap<InstanceId, FakeScript>,
    pub(super) default_script: FakeScript,
    pub(super) released: BTreeSet<InstanceId>,
    pub(super) starts: BTreeMap<InstanceId, u32>,
    pub(super) workloads: BTreeMap<InstanceId, Workload>,
    pub(super) calls: Vec<FakeCall>,
    pub(super) problem: Option<String>,
    pub(super) clock: Option<Timestamp>,
}

impl World {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.unwrap_or_else(crate::now)
    }

    /// Records a call; fails when the runtime is out of order.
    pub(super) fn enter(&mut self, call: FakeCall) -> Result<(), RuntimeError> {
        self.calls.push(call);
        match &self.problem {
            Some(problem) => Err(RuntimeError::new(RuntimeErrorKind::Unavailable, problem.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn script(&self, instance: InstanceId) -> &FakeScript {
        self.scripts.get(&instance).unwrap_or(&self.default_script)
    }

    /// The next error `prepare` of this instance has to give.
    pub(super) fn next_prepare_error(&mut self, instance: InstanceId) -> Option<RuntimeError> {
        let script = self.scripts.get_mut(&instance).unwrap_or(&mut self.default_script);
        (!script.prepare_errors.is_empty()).then(|| script.prepare_errors.remove(0))
    }

    pub(super) fn create(&mut self, workload: &Workload) {
        let made = FakeInstance { deployment: workload.deployment, observed: Observed::Created, lines: Vec::new() };
        self.instances.entry(workload.instance).or_insert(made);
        self.workloads.insert(workload.instance, workload.clone());
    }

    pub(super) fn observed(&self, instance: InstanceId) -> Observed {
        self.instances.get(&instance).map_or(Observed::Absent, |found| found.observed.clone())
    }

    /// Executes an instance.
    pub(super) fn run(&mut self, instance: InstanceId) {
        let running = Observed::Running { started_at: self.now(), address: self.script(instance).address.clone() };
        if let Some(found) = self.instances.get_mut(&instance) {
            found.observed = running;
            *self.starts.entry(instance).or_default() += 1;
        }
    }

    /// Ends a running instance. False when it was not running.
    pub(super) fn end(&mut self, instance: InstanceId, outcome: Outcome) -> bool {
        let finished_at = self.now();
        let Some(found) = self.instances.get_mut(&instance) else { return false };
        let Observed::Running { started_at, .. } = found.observed else { return false };
        found.observed = Observed::Exited { outcome, started_at: Some(started_at), finished_at };
        true
    }
}
