//! What has to hold, at each step and at the end.

use std::collections::{BTreeMap, BTreeSet};

use ring_runtime::Observed;
use ring_state::{Deployment, Instance, RowKey, State};
use ring_types::{
    Condition, DeploymentId, DeploymentStatus, Goal, InstanceId, InstanceState, Kind, NodeStatus, OnNodeLoss, Outcome, StopCause,
    UnknownExit,
};

use super::run::Sim;

/// What is remembered of the whole history.
#[derive(Default)]
pub(crate) struct Checks {
    /// Their claim was committed.
    claimed: BTreeSet<InstanceId>,
    /// It was recorded that they never started.
    never_started: BTreeSet<InstanceId>,
    /// Their rows are gone.
    forgotten: BTreeSet<InstanceId>,
    /// Which attempt of its job an instance is.
    attempts: BTreeMap<InstanceId, u32>,
    /// Jobs that were told to be over, with the instances they had then.
    over: BTreeMap<DeploymentId, BTreeSet<InstanceId>>,
    /// When what others depend on was there.
    pub(super) there: super::dependencies::There,
}

type Checked = Result<(), String>;

/// A new instance is where the data of its volumes is.
fn check_volumes(instance: &Instance, after: &State) -> Checked {
    let Some(deployment) = after.deployment(instance.deployment) else { return Ok(()) };
    let nodes = after.mounted(&deployment.spec).map(|(_, volume)| volume.and_then(|volume| volume.node));
    let here = nodes.into_iter().all(|node| node == Some(instance.node));
    ensure(here, || format!("{} is not where its data is", instance.id))
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

impl Sim {
    /// At most one execution: only after a committed claim, never twice, never of a second instance of a job.
    pub(crate) fn check_start(&mut self, instance: InstanceId, deployment: DeploymentId, kind: Kind) -> Checked {
        let starts = self.hosts.executions.get(&instance).map_or(0, |execution| execution.starts);
        ensure(starts <= 1, || format!("{instance} was executed {starts} times"))?;
        ensure(self.checks.claimed.contains(&instance), || format!("{instance} was started before its claim was committed"))?;
        ensure(!self.checks.never_started.contains(&instance), || format!("{instance} starts, recorded as never started"))?;
        if kind == Kind::Worker {
            return Ok(());
        }
        let executed = self.hosts.executed.get(&deployment).cloned().unwrap_or_default();
        let attempt = |id: &InstanceId| self.checks.attempts.get(id).copied();
        let same = executed.iter().filter(|id| attempt(id) == attempt(&instance)).count();
        ensure(same <= 1, || format!("attempt {:?} of job {deployment} was executed {same} times", attempt(&instance)))?;
        self.check_alone(instance, deployment, &executed)
    }

    /// No more executions than asked for, and one after another: only a job that says so may overlap with one that was lost.
    fn check_alone(&self, instance: InstanceId, deployment: DeploymentId, executed: &BTreeSet<InstanceId>) -> Checked {
        let Some(job) = self.control.tip().deployment(deployment) else { return Ok(()) };
        let most = job.spec.attempts() as usize;
        ensure(executed.len() <= most, || format!("job {deployment} was executed {} times of {most}", executed.len()))?;
        if job.spec.on_node_loss == OnNodeLoss::Reschedule {
            return Ok(());
        }
        let others = executed.iter().filter(|id| **id != instance).map(|id| (id, &self.hosts.executions[id]));
        for (id, other) in others {
            let ended = other.outcome.as_ref().ok_or_else(|| format!("job {deployment} runs twice: {id} and {instance}"))?;
            // A success that came after its time does not count as one.
            let late = job.spec.timeout.is_some_and(|timeout| other.ran() >= timeout.0);
            let in_vain = *ended != Outcome::Code(0) || late || self.hosts.disturbed.contains(id);
            ensure(in_vain, || format!("job {deployment} is executed again after {id} succeeded"))?;
        }
        Ok(())
    }

    /// What one entry changed.
    pub(crate) fn check_commit(&mut self, before: &State, after: &State, keys: &[RowKey], planned: bool) -> Checked {
        self.check_rollouts(before, after, keys, planned)?;
        self.check_dependencies(before, after, keys)?;
        self.check_scales(before, after, keys)?;
        for key in keys {
            match key {
                RowKey::Instance(id) => {
                    self.check_instance(before.instance(*id).map(|i| &**i), after.instance(*id).map(|i| &**i))?;
                    self.check_drain(before, after, keys, *id)?;
                    self.check_given_up(before, after, *id)?;
                    if let (None, Some(made)) = (before.instance(*id), after.instance(*id)) {
                        check_volumes(made, after)?;
                    }
                }
                RowKey::Volume(id) => {
                    let node = |state: &State| state.volume(*id).and_then(|volume| volume.node);
                    let stays = node(before).is_none() || node(before) == node(after);
                    ensure(stays, || format!("volume {id} moves to another node"))?;
                }
                RowKey::Deployment(id) => {
                    if let Some(deployment) = after.deployment(*id) {
                        self.check_deployment(deployment, after)?;
                    }
                }
                _ => {}
            }
        }
        ensure(before.clock() <= after.clock(), || "the clock goes back".to_owned())
    }

    fn check_instance(&mut self, before: Option<&Instance>, after: Option<&Instance>) -> Checked {
        let Some(after) = after else {
            self.checks.forgotten.extend(before.map(|instance| instance.id));
            return Ok(());
        };
        let id = after.id;
        ensure(!self.checks.forgotten.contains(&id), || format!("{id} is back from the dead"))?;
        if after.claim.is_some() {
            self.checks.claimed.insert(id);
        }
        if before.is_none() {
            self.checks.attempts.insert(id, after.attempt);
            self.summary.retries += u64::from(after.attempt > 1);
        }
        if let Some(before) = before {
            ensure(after.state >= before.state, || format!("{id} goes back from {} to {}", before.state, after.state))?;
            ensure(after.generation >= before.generation, || format!("generation of {id} goes back"))?;
            ensure(after.goal >= before.goal, || format!("goal of {id} goes back"))?;
            ensure(after.node == before.node, || format!("{id} moves to another node"))?;
            let stands = before.exit.is_none() || before.exit == after.exit || before.state == InstanceState::Lost;
            ensure(stands, || format!("exit of {id} changes from {:?} to {:?}", before.exit, after.exit))?;
        }
        self.check_exit(after)
    }

    /// What is recorded of an end is what happened, or that nobody knows.
    fn check_exit(&mut self, instance: &Instance) -> Checked {
        let id = instance.id;
        let Some(exit) = instance.exit.as_deref() else { return Ok(()) };
        let execution = self.hosts.executions.get(&id).cloned().unwrap_or_default();
        match &exit.outcome {
            Outcome::NotStarted { .. } => {
                self.checks.never_started.insert(id);
                ensure(execution.starts == 0, || format!("{id} is recorded as never started, and it was"))
            }
            Outcome::Unknown(UnknownExit::NodeLost | UnknownExit::NodeRemoved) => Ok(()),
            Outcome::Unknown(why) => {
                let disturbed = self.hosts.disturbed.contains(&id);
                ensure(disturbed, || format!("{id}: its end is known, and recorded as {}", why.as_str()))
            }
            known => ensure(execution.outcome.as_ref() == Some(known), || {
                format!("{id} ended with {:?} and is recorded with {known:?}", execution.outcome)
            }),
        }
    }

    fn check_deployment(&mut self, deployment: &Deployment, after: &State) -> Checked {
        let mut live: BTreeMap<u32, u32> = BTreeMap::new();
        for instance in after.instances_of(deployment.id).filter(|instance| instance.state.is_live()) {
            *live.entry(instance.slot).or_default() += 1;
        }
        ensure(live.values().all(|count| *count == 1), || format!("two live instances in a slot of {}", deployment.id))?;
        if deployment.spec.kind == Kind::Worker || !deployment.status.is_final() {
            return Ok(());
        }
        self.check_over(deployment, after)?;
        if deployment.status != DeploymentStatus::Completed {
            return Ok(());
        }
        let executed = self.hosts.executed.get(&deployment.id);
        let well = |id: &InstanceId| self.hosts.executions[id].outcome == Some(Outcome::Code(0));
        let completed = executed.is_some_and(|all| all.iter().any(well));
        ensure(completed, || format!("job {} is completed, and was not", deployment.id))
    }

    /// What was told to be over makes nothing any more, and one that timed out had its time.
    fn check_over(&mut self, job: &Deployment, after: &State) -> Checked {
        let now: BTreeSet<_> = after.instances_of(job.id).map(|instance| instance.id).collect();
        let then = self.checks.over.entry(job.id).or_insert_with(|| now.clone());
        ensure(now.is_subset(then), || format!("job {} goes on after it was over", job.id))?;
        if job.reason != "timeout" {
            return Ok(());
        }
        self.summary.timeouts += 1;
        let (Some(timeout), Some(exit)) = (job.spec.timeout, &job.exit) else {
            return Err(format!("job {} timed out without a time limit or an end", job.id));
        };
        let ran = exit.started_at.map_or(0, |start| exit.finished_at.since(start).0);
        ensure(ran >= timeout.0, || format!("job {} timed out after {ran} of {timeout}", job.id))
    }

    /// What is not yet as it has to be when nothing fails any more.
    pub(crate) fn unhealed(&self) -> Option<String> {
        let state = self.control.tip();
        let busy = (!self.control.is_idle()).then(|| "the leader is busy".to_owned());
        let nodes = || {
            state.nodes().find(|node| node.status != NodeStatus::Ready).map(|node| format!("{} is {:?}", node.name, node.status))
        };
        let deployments = || state.deployments().find_map(|deployment| self.unhealed_deployment(state, deployment));
        let remains = || (0..self.agents.len()).find_map(|node| self.orphans(state, node));
        let moving = || state.moving().next().map(|instance| format!("still moving: {instance:?}"));
        busy.or_else(nodes).or_else(moving).or_else(deployments).or_else(remains)
    }

    fn unhealed_deployment(&self, state: &State, deployment: &Deployment) -> Option<String> {
        let fault = |what: &str| {
            let instances = state.instances_of(deployment.id).map(|i| format!("\n{i:?}\n  on hosts: {}", self.describe(i.id)));
            Some(format!("{what}: {deployment:?}{}", instances.collect::<String>()))
        };
        if deployment.deleting {
            return fault("not forgotten");
        }
        if deployment.is_rolling_out() || deployment.conditions.contains(&Condition::RollingOut) {
            return fault("an update is not over");
        }
        // Attempts that were ended stay, with what they wrote.
        let stays = |i: &Instance| i.goal == Goal::Run || (i.goal == Goal::Stop && i.state == InstanceState::Exited);
        if !state.instances_of(deployment.id).all(|instance| stays(instance)) {
            return fault("an instance is not taken away");
        }
        if super::dependencies::waits(state, deployment) {
            let live = state.instances_of(deployment.id).any(|instance| instance.state.is_live());
            return live.then(|| fault("what waits has instances")).flatten();
        }
        match deployment.spec.kind {
            Kind::Job => self.wrong_job(state, deployment).and_then(fault),
            Kind::Worker => self.wrong_worker(state, deployment).and_then(fault),
        }
    }

    fn wrong_job(&self, state: &State, job: &Deployment) -> Option<&'static str> {
        let done = matches!(job.status, DeploymentStatus::Completed | DeploymentStatus::Failed);
        let Some(exit) = job.exit.as_ref().filter(|_| done) else { return Some("a job has not ended") };
        let executed = self.hosts.executed.get(&job.id).cloned().unwrap_or_default();
        let unknown = matches!(exit.outcome, Outcome::Unknown(_));
        if executed.is_empty() {
            return (!unknown).then_some("a job ended and was never executed");
        }
        let recorded = |id: &InstanceId| state.instance(*id).and_then(|i| i.exit.as_deref().map(|exit| exit.outcome.clone()));
        let excused = |id: &InstanceId| self.hosts.disturbed.contains(id);
        let lost = executed.iter().any(|id| recorded(id) != self.hosts.executions[id].outcome && !excused(id));
        if lost {
            return Some("the exit status of an attempt is lost");
        }
        // One that succeeded decides, else the last.
        let newest = executed.iter().max_by_key(|id| self.checks.attempts.get(*id));
        let decides = if job.status == DeploymentStatus::Completed {
            exit.outcome == Outcome::Code(0)
        } else {
            unknown || newest.and_then(recorded).as_ref() == Some(&exit.outcome)
        };
        (!decides).then_some("a job's exit status is not that of the attempt that counts")
    }

    fn wrong_worker(&self, state: &State, deployment: &Deployment) -> Option<&'static str> {
        match deployment.status {
            DeploymentStatus::CrashLoopBackOff | DeploymentStatus::Failed => return None,
            DeploymentStatus::Running => {}
            DeploymentStatus::Error if deployment.reason == "stopped_by_check" => {}
            _ => return Some("a worker does not run"),
        }
        let runs = |instance: &Instance| {
            let on = self.agents.iter().find(|agent| agent.node == instance.node);
            let container = on.and_then(|agent| agent.runtime.get(&instance.id));
            instance.state == InstanceState::Running && container.is_some_and(|c| matches!(c.observed, Observed::Running { .. }))
        };
        let count = state.instances_of(deployment.id).filter(|instance| runs(instance)).count();
        let stopped = |instance: &Instance| instance.goal == Goal::Stop && instance.stop_cause == Some(StopCause::StoppedByCheck);
        let count = count + state.instances_of(deployment.id).filter(|instance| stopped(instance)).count();
        // Of an update that failed what serves in place of one that never does stays, and takes up the room.
        let failed = |d: &&std::sync::Arc<Deployment>| d.parent == Some(deployment.id) && d.has_failed_to_roll_out();
        let named = state.deployments_named(&deployment.spec.namespace, &deployment.spec.name).filter(failed);
        let held: usize = named.map(|d| state.instances_of(d.id).filter(|i| i.state.is_live()).count()).sum();
        let wanted = super::scaling::wanted(deployment) as usize;
        let right = count == wanted || (held > 0 && count + held == wanted + 1);
        (!right).then_some("a worker has too few or too many instances")
    }

    /// Something on a host that belongs to nothing.
    fn orphans(&self, state: &State, node: usize) -> Option<String> {
        let known = |id: &InstanceId| state.instance(*id).is_some_and(|instance| instance.node == self.agents[node].node);
        let orphan = self.remains(node).into_iter().find(|id| !known(id));
        orphan.map(|id| format!("{id} is left on node {node}"))
    }
}
