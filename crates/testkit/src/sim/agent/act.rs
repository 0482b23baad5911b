//! The agent's steps: what `ring_agent::next` says, done.

use ring_agent::{Claim, Desired, Durability, Facts, Record, Step, next};
use ring_runtime::{Observed, Prepared};
use ring_types::{InstanceId, Outcome, Span, StartFailure, Timestamp};

use super::super::run::{Event, Mutation, Sim};
use super::{Container, Known};

/// Between two looks at an instance nothing was heard of.
const SWEEP: i64 = 3000;

impl Sim {
    /// Asks what is next for an instance and does it; true when something was done.
    pub(super) fn step(&mut self, node: usize, instance: InstanceId) -> Result<bool, String> {
        let (now, lets_run) = (self.now, self.mutated(Mutation::RunOnCutOff));
        let agent = &mut self.agents[node];
        let Some(known) = agent.known.get_mut(&instance) else { return Ok(false) };
        if known.preparing {
            return Ok(false);
        }
        if known.observed.is_some() && now - known.looked > SWEEP {
            known.observed = None;
        }
        let facts = Facts {
            node: agent.node,
            instance,
            host_boot: &agent.host_boot,
            desired: &known.desired,
            record: agent.ledger.get(&instance),
            observed: known.observed.as_ref(),
            volatile: &known.volatile,
            now: Timestamp(now),
            since_boot: Span(now as u64),
            silence: Span((now - agent.contact).max(0) as u64),
        };
        let mut step = next(&facts);
        if lets_run && matches!(&step, Step::Write(record, _) if record.cut_off) {
            step = Step::Wait;
        }
        if step == Step::Wait || matches!(step, Step::WaitFor(_)) {
            return Ok(false);
        }
        self.perform(node, instance, step)?;
        Ok(true)
    }

    fn perform(&mut self, node: usize, instance: InstanceId, step: Step) -> Result<(), String> {
        match step {
            Step::Wait | Step::WaitFor(_) => {}
            Step::Inspect => self.inspect(node, instance),
            Step::AskClaim => {
                let claim = if self.mutated(Mutation::StartBeforeClaim) { Claim::Granted } else { Claim::Asked };
                self.known(node, instance).volatile.claim = claim;
                self.agents[node].sent_at = 0;
            }
            Step::Write(record, durability) => self.write(node, instance, *record, durability)?,
            Step::Prepare => {
                self.known(node, instance).preparing = true;
                let (delay, life) = (self.rng.range(2, 400), self.agents[node].life);
                self.after(delay, Event::Prepared { node, life, instance });
            }
            Step::Start => self.start(node, instance)?,
            Step::Stop(_) => {
                self.known(node, instance).observed = None;
                self.end_process(node, instance, Outcome::Signal { signal: 15, oom_killed: false });
            }
            Step::Remove => {
                self.known(node, instance).observed = None;
                let running = |c: &Container| matches!(c.observed, Observed::Running { .. });
                if !self.agents[node].runtime.get(&instance).is_some_and(running) {
                    self.agents[node].runtime.remove(&instance);
                }
            }
            Step::Report(report) => {
                self.known(node, instance).volatile.offered = Some(report.state);
                self.agents[node].reports.insert(instance, *report);
                self.agents[node].sent_at = 0;
            }
            Step::Forget => {
                let agent = &mut self.agents[node];
                agent.ledger.remove(&instance);
                agent.synced.remove(&instance);
                agent.reports.remove(&instance);
                agent.known.remove(&instance);
            }
        }
        Ok(())
    }

    fn known(&mut self, node: usize, instance: InstanceId) -> &mut Known {
        self.agents[node].known.entry(instance).or_default()
    }

    fn inspect(&mut self, node: usize, instance: InstanceId) {
        let now = self.now;
        if self.chaos && self.rng.chance(3) {
            return;
        }
        let observed = self.agents[node].runtime.get(&instance).map_or(Observed::Absent, |c| c.observed.clone());
        let known = self.known(node, instance);
        (known.observed, known.looked) = (Some(observed), now);
    }

    fn write(&mut self, node: usize, instance: InstanceId, mut record: Record, durability: Durability) -> Result<(), String> {
        if self.mutated(Mutation::GuessExit)
            && let Some(exit) = &mut record.exit
            && matches!(exit.outcome, Outcome::Unknown(_))
        {
            exit.outcome = Outcome::Code(0);
        }
        if let Some(before) = self.agents[node].ledger.get(&instance) {
            if record.phase < before.phase {
                return Err(format!("ledger of node {node}: {instance} goes back from {:?} to {:?}", before.phase, record.phase));
            }
            if record.generation < before.generation {
                return Err(format!("ledger of node {node}: generation of {instance} goes back"));
            }
        }
        self.note(|| format!("agent {node} writes {instance} {:?} {:?}", record.phase, record.exit.as_ref().map(|e| &e.outcome)));
        let agent = &mut self.agents[node];
        agent.ledger.insert(instance, record);
        if durability == Durability::Fsync {
            agent.synced = agent.ledger.clone();
        }
        Ok(())
    }

    fn start(&mut self, node: usize, instance: InstanceId) -> Result<(), String> {
        self.known(node, instance).observed = None;
        let created = self.agents[node].runtime.get(&instance).is_some_and(|c| c.observed == Observed::Created);
        if self.chaos && created && self.rng.chance(4) {
            // The runtime says for certain that it cannot.
            self.known(node, instance).volatile.failure = Some((StartFailure::Create, "no such command".to_owned()));
            return Ok(());
        }
        self.start_process(node, instance)
    }

    pub(crate) fn prepared(&mut self, node: usize, life: u64, instance: InstanceId) {
        if self.agents[node].life != life || !self.agents[node].up {
            return;
        }
        let failed = self.chaos && self.rng.chance(6);
        let agent = &mut self.agents[node];
        let Some(known) = agent.known.get_mut(&instance) else { return };
        known.preparing = false;
        known.observed = None;
        let Desired::Assigned(assignment) = &known.desired else { return };
        if failed {
            known.volatile.failure = Some((StartFailure::ImagePull, "registry does not answer".to_owned()));
        } else {
            let spec = assignment.spec.clone();
            let container = Container { deployment: assignment.deployment, kind: spec.kind, spec, observed: Observed::Created };
            agent.runtime.entry(instance).or_insert(container);
            known.volatile.prepared = Some(Prepared::default());
        }
        self.wake_agent(node);
    }
}
