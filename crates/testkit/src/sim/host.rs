//! What really happens on the hosts: containers, processes, and the truth about every execution.

use std::collections::{BTreeMap, BTreeSet};

use ring_runtime::Observed;
use ring_types::{DeploymentId, InstanceId, Kind, Outcome, Timestamp};

use super::run::{Event, Sim};

/// One execution, as only the simulation knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Execution {
    /// How often its process was started.
    pub(crate) starts: u32,
    /// How it really ended.
    pub(crate) outcome: Option<Outcome>,
    /// When it was started, by the clock of the simulation.
    started: i64,
    /// When it ended.
    ended: i64,
}

impl Execution {
    /// How long it ran.
    pub(crate) fn ran(&self) -> u64 {
        (self.ended - self.started).max(0) as u64
    }
}

/// The truth about all hosts.
#[derive(Default)]
pub(crate) struct Hosts {
    pub(crate) executions: BTreeMap<InstanceId, Execution>,
    /// Instances whose end nobody can be asked to know: their host went down, their container was removed by hand, or the
    /// ledger of their node was lost.
    pub(crate) disturbed: BTreeSet<InstanceId>,
    /// Which instances of a deployment were executed.
    pub(crate) executed: BTreeMap<DeploymentId, BTreeSet<InstanceId>>,
}

impl Sim {
    /// Starts the process of a container, unless it was started before.
    pub(crate) fn start_process(&mut self, node: usize, instance: InstanceId) -> Result<(), String> {
        let Some(container) = self.agents[node].runtime.get_mut(&instance) else { return Ok(()) };
        if container.observed != Observed::Created {
            return Ok(());
        }
        container.observed = Observed::Running { started_at: Timestamp(self.now), address: None };
        let (deployment, kind, checked) = (container.deployment, container.kind, !container.spec.health_checks.is_empty());
        let execution = self.hosts.executions.entry(instance).or_default();
        execution.starts += 1;
        execution.started = self.now;
        self.hosts.executed.entry(deployment).or_default().insert(instance);
        self.summary.starts += 1;
        self.note(|| format!("host {node} STARTS {instance}"));
        if checked {
            self.after(300, Event::Probe { node, instance });
        }
        let ends = match kind {
            Kind::Job => Some(self.rng.range(5, 15_000)),
            Kind::Worker => (self.chaos && self.rng.chance(20)).then(|| self.rng.range(5, 10_000)),
        };
        if let Some(delay) = ends {
            self.after(delay, Event::ProcessEnds { node, instance });
        }
        self.check_start(instance, deployment, kind)
    }

    /// A process ends by itself.
    pub(crate) fn process_ends(&mut self, node: usize, instance: InstanceId) {
        let outcome = match self.rng.range(0, 6) {
            0 => Outcome::Code(self.rng.range(1, 100) as i32),
            1 => Outcome::Signal { signal: 9, oom_killed: self.rng.chance(50) },
            _ => Outcome::Code(0),
        };
        self.end_process(node, instance, outcome);
    }

    /// Ends a process, if it runs.
    pub(crate) fn end_process(&mut self, node: usize, instance: InstanceId, outcome: Outcome) {
        let Some(container) = self.agents[node].runtime.get_mut(&instance) else { return };
        let Observed::Running { started_at, .. } = container.observed else { return };
        let (started_at, finished_at) = (Some(started_at), Timestamp(self.now));
        container.observed = Observed::Exited { outcome: outcome.clone(), started_at, finished_at };
        self.note(|| format!("host {node} ENDS {instance} {outcome:?}"));
        if let Some(execution) = self.hosts.executions.get_mut(&instance) {
            execution.outcome = Some(outcome);
            execution.ended = self.now;
        }
        // The runtime tells, but what it tells may get lost; the agent looks again from time to time.
        if self.rng.chance(80) {
            self.agents[node].look_at(instance);
            self.wake_agent(node);
        }
    }

    /// A container is removed by hand, running or not.
    pub(crate) fn vanish(&mut self, node: usize, instance: InstanceId) {
        let killed = Outcome::Signal { signal: 9, oom_killed: false };
        self.end_process(node, instance, killed);
        self.agents[node].runtime.remove(&instance);
        self.hosts.disturbed.insert(instance);
        self.note(|| format!("host {node}: {instance} removed by hand"));
    }

    /// Power goes: every process ends, and of some of them nothing is left.
    pub(crate) fn power_fails(&mut self, node: usize) {
        let all: Vec<_> = self.agents[node].runtime.keys().copied().collect();
        for instance in all {
            self.hosts.disturbed.insert(instance);
            self.end_process(node, instance, Outcome::Signal { signal: 9, oom_killed: false });
            if self.rng.chance(30) {
                self.agents[node].runtime.remove(&instance);
            }
        }
    }
}
