//! What nodes say: claims and reports. Here stand "at most one execution" and "no exit status lost or invented".

use std::sync::Arc;

use ring_types::{Epoch, ExitStatus, Goal, InstanceId, InstanceState, NodeId, Outcome, StartFailure, StopCause, UnknownExit};

use super::{Done, EventAt, Tx};
use crate::{ClaimOutcome, EventKind, EventLevel, Instance, InstanceReport, Refusal, Reply};

impl Tx<'_> {
    pub(super) fn claim(&mut self, node: NodeId, epoch: Epoch, instances: &[InstanceId]) -> Done {
        let current = self.state.node(node).is_some_and(|n| n.epoch == epoch);
        let mut outcomes = Vec::with_capacity(instances.len());
        for id in instances {
            let instance = self.state.instance(*id).filter(|i| current && may_claim(i, node)).cloned();
            outcomes.push(ClaimOutcome { instance: *id, granted: instance.is_some() });
            if let Some(instance) = instance {
                let mut claimed = Instance::clone(&instance);
                claimed.claim = Some(epoch);
                claimed.state = claimed.state.max(InstanceState::Claimed);
                self.put_instance(claimed);
            }
        }
        Ok(Reply::Claims(outcomes))
    }

    /// A run of an agent that has lost its ledger may execute what the run before said had never been started. So what an earlier
    /// run said, and comes late, is not taken: the present one says again whatever of it still holds.
    pub(super) fn report(&mut self, node: NodeId, epoch: Option<Epoch>, reports: &[InstanceReport]) -> Done {
        let current = self.state.node(node).map(|node| node.epoch);
        if epoch.is_some() && epoch != current {
            return Err(Refusal::conflict("this was said under a registration of the node that is not the present one"));
        }
        for report in reports {
            let instance = self.state.instance(report.instance).filter(|i| i.node == node).cloned();
            if let Some(instance) = instance.filter(|i| acceptable(i, report)) {
                self.accept(&instance, report);
            }
        }
        Ok(Reply::Done)
    }

    fn accept(&mut self, before: &Arc<Instance>, report: &InstanceReport) {
        let mut after = Instance::clone(before);
        after.state = report.state;
        if let Some(address) = &report.address {
            after.address = Some(address.as_str().into());
        }
        if let Some(digest) = &report.image_digest {
            after.image_digest = Some(digest.as_str().into());
        }
        after.started_at = after.started_at.or(report.started_at);
        if report.state == InstanceState::Running {
            after.running_since = after.running_since.or(Some(self.at));
        }
        self.take_health(&mut after, report);
        if let Some(exit) = report.exit.as_ref().filter(|_| may_set_exit(before)) {
            after.exit = Some(Box::new(ExitStatus { node: before.node, ..exit.clone() }));
            if report.cut_off {
                after.stop_cause = after.stop_cause.or(Some(StopCause::Disconnected));
            }
        }
        if after == **before {
            return;
        }
        let corrected = before.state == InstanceState::Lost && after.exit != before.exit;
        self.note_transition(before, &after, corrected);
        self.note_health(before, &after);
        self.count_start(before, &after);
        self.put_instance(after);
    }

    /// The latest account of its checks; what has ended is not ready any more.
    fn take_health(&self, after: &mut Instance, report: &InstanceReport) {
        if let Some(health) = &report.health {
            after.health = Some(Box::new(health.clone()));
        }
        let ready = after.state == InstanceState::Running && after.health.as_deref().is_some_and(|health| health.ready);
        after.ready_at = if ready { after.ready_at.or(Some(self.at)) } else { None };
    }

    fn note_health(&mut self, before: &Instance, after: &Instance) {
        if after.state != InstanceState::Running {
            return;
        }
        let failing = |i: &Instance| i.health.as_deref().map_or_else(Vec::new, |health| health.failing.clone());
        let (old, new) = (failing(before), failing(after));
        for check in new.iter().filter(|check| old.iter().all(|known| known.check != check.check)) {
            let message = format!("health check {} fails: {}", check.check, check.message);
            self.tell_check(after, &message);
            self.event(after.deployment, EventLevel::Warning, EventKind::HealthCheckFailed, EventAt::instance(after), message);
        }
        if !old.is_empty() && new.is_empty() {
            let message = "its health checks pass again".to_owned();
            self.event(after.deployment, EventLevel::Info, EventKind::HealthCheckRecovered, EventAt::instance(after), message);
        }
        if before.ready_at.is_none() && after.ready_at.is_some() {
            let message = "ready".to_owned();
            self.event(after.deployment, EventLevel::Info, EventKind::InstanceReady, EventAt::instance(after), message);
        }
    }

    fn note_transition(&mut self, before: &Instance, after: &Instance, corrected: bool) {
        let place = || EventAt::instance(after);
        let node = self.state.node(after.node).map_or_else(|| after.node.to_string(), |n| n.name.to_string());
        let reached = |state: InstanceState| before.state < state && after.state >= state;
        if reached(InstanceState::Running) && after.started_at.is_some() && before.state != InstanceState::Lost {
            let message = format!("started on {node}");
            self.event(after.deployment, EventLevel::Info, EventKind::InstanceStarted, place(), message);
        }
        if let Some(exit) = after.exit.as_deref().filter(|_| before.exit != after.exit) {
            let level = if exit.success() { EventLevel::Info } else { EventLevel::Warning };
            let kind = if corrected { EventKind::ExitCorrected } else { EventKind::InstanceExited };
            let cut_off = after.stop_cause == Some(StopCause::Disconnected);
            let why = if cut_off { "stopped by its agent, which was cut off: " } else { "" };
            let message = format!("{why}{} on {node}", describe(&exit.outcome));
            self.event(after.deployment, level, kind, place(), message);
        }
    }

    /// Failures to start in a row decide the pause before the next try.
    fn count_start(&mut self, before: &Instance, after: &Instance) {
        let Some(deployment) = self.state.deployment(after.deployment).cloned() else { return };
        let failed = match after.exit.as_deref().map(|e| &e.outcome) {
            Some(Outcome::NotStarted { cause, .. }) if before.exit != after.exit => {
                !matches!(cause, StartFailure::Cancelled | StartFailure::NodeGone)
            }
            _ => false,
        };
        let started = before.started_at.is_none() && after.started_at.is_some();
        let digest = after.image_digest.as_deref().map(str::to_owned);
        let new_digest = digest.is_some() && digest != deployment.image_digest;
        let recovered = started && deployment.start_failures > 0;
        if !(failed || new_digest || recovered) {
            return;
        }
        self.edit_deployment(&deployment, |d| {
            if failed {
                d.start_failures += 1;
            } else if started {
                d.start_failures = 0;
            }
            if new_digest {
                d.image_digest = digest;
            }
        });
    }

    /// Records that nobody can tell how an instance ended, or that it never began.
    pub(super) fn lose(&mut self, before: &Arc<Instance>, why: UnknownExit) {
        let mut after = Instance::clone(before);
        let outcome = if before.claim.is_none() && before.state == InstanceState::Assigned {
            after.state = InstanceState::Exited;
            let message = "its node was lost before it claimed the instance".to_owned();
            Outcome::NotStarted { cause: StartFailure::NodeGone, message }
        } else {
            after.state = if why == UnknownExit::NodeLost { InstanceState::Lost } else { InstanceState::Exited };
            Outcome::Unknown(why)
        };
        let message = describe(&outcome);
        after.exit =
            Some(Box::new(ExitStatus { outcome, started_at: before.started_at, finished_at: self.at, node: before.node }));
        self.event(after.deployment, EventLevel::Error, EventKind::InstanceLost, EventAt::instance(&after), message);
        self.put_instance(after);
    }
}

fn may_claim(instance: &Instance, node: NodeId) -> bool {
    let state = match instance.state {
        InstanceState::Assigned => true,
        // The agent was started again between its claim and the start; its ledger knows what it had done.
        InstanceState::Claimed | InstanceState::Preparing | InstanceState::Starting => instance.claim.is_some(),
        _ => false,
    };
    state && instance.node == node && instance.goal == Goal::Run
}

/// A report may move an instance forward, or add what was not known; an instance nobody claimed can only have never run.
///
/// One that was claimed may have run: no state from [`InstanceState::Exited`] on is taken without an account of its end, so
/// that it cannot be removed and its end be lost. What stands for a lost one is a guess, which is no account of it.
fn acceptable(instance: &Instance, report: &InstanceReport) -> bool {
    if report.state < instance.state || instance.state == InstanceState::Removed {
        return false;
    }
    let claimed = instance.claim.is_some();
    let never_ran = match &report.exit {
        Some(exit) => matches!(exit.outcome, Outcome::NotStarted { .. }),
        None => !claimed && report.state == InstanceState::Removed,
    };
    let told = report.exit.is_some() || (instance.exit.is_some() && instance.state != InstanceState::Lost);
    (claimed || never_ran) && (report.state < InstanceState::Exited || told || never_ran)
}

/// The first account of the end stands, unless it was a guess that the truth replaces.
fn may_set_exit(instance: &Instance) -> bool {
    match &instance.exit {
        None => true,
        Some(_) => instance.state == InstanceState::Lost,
    }
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Code(code) => format!("exited with code {code}"),
        Outcome::Signal { signal, oom_killed: true } => format!("killed by signal {signal}: out of memory"),
        Outcome::Signal { signal, oom_killed: false } => format!("killed by signal {signal}"),
        Outcome::NotStarted { message, .. } => format!("not started: {message}"),
        Outcome::Unknown(why) => format!("its end is not known: {}", why.as_str()),
    }
}
