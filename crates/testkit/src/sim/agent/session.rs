//! The agent's session: what it says, and what it hears.

use std::collections::BTreeSet;

use ring_agent::{Assignment, Claim, Desired};
use ring_types::{Epoch, Goal, InstanceId, InstanceState, Revision, Span};

use super::super::network::{ToAgent, ToControl};
use super::super::run::{Mutation, Sim};

/// What was not answered is sent again.
const RESEND: i64 = 1500;
/// A session in which nothing is heard for so long is given up.
const SILENCE: i64 = 3000;

impl Sim {
    pub(super) fn look_after_session(&mut self, node: usize) {
        let (now, agent) = (self.now, &mut self.agents[node]);
        if agent.session.is_some() && now - agent.heard_at > SILENCE {
            agent.end_session();
        }
        if agent.session.is_none() {
            if !agent.cut_off {
                agent.heard_at = now;
                let boot = agent.boot;
                let member = self.rng.range(0, self.control.members.len() as u64) as usize;
                let session = self.control.new_session(node, member);
                self.agents[node].session = Some(session);
                self.send_up(node, session, ToControl::Hello { boot });
            }
            return;
        }
        let beats = agent.welcomed.is_some() && now - agent.beat_at >= 1000;
        if let Some(session) = agent.session.filter(|_| beats) {
            agent.beat_at = now;
            self.send_up(node, session, ToControl::Heartbeat { sent: now });
        }
    }

    /// Sends what is to be sent; what was sent lately only when `again`.
    pub(super) fn send_out(&mut self, node: usize, again: bool) {
        let agent = &mut self.agents[node];
        let (Some(session), Some(_)) = (agent.session, agent.welcomed) else { return };
        let claims: Vec<_> = agent.known.iter().filter(|(_, k)| k.volatile.claim == Claim::Asked).map(|(id, _)| *id).collect();
        let reports: Vec<_> = agent.reports.values().cloned().collect();
        if (claims.is_empty() && reports.is_empty()) || (!again && self.now - agent.sent_at < RESEND) {
            return;
        }
        agent.sent_at = self.now;
        if !claims.is_empty() {
            self.send_up(node, session, ToControl::Claim(claims));
        }
        if !reports.is_empty() {
            if self.mutated(Mutation::AckOnSend) {
                let agent = &mut self.agents[node];
                for (instance, report) in std::mem::take(&mut agent.reports) {
                    if let Some(known) = agent.known.get_mut(&instance) {
                        known.volatile.acknowledged = Some(report.state);
                    }
                }
            }
            self.send_up(node, session, ToControl::Report(reports));
        }
    }

    /// A message of the session arrives.
    pub(crate) fn agent_hears(&mut self, node: usize, session: u64, message: ToAgent) -> Result<(), String> {
        let agent = &mut self.agents[node];
        if !agent.up || agent.session != Some(session) {
            return Ok(());
        }
        if agent.cut_off {
            agent.end_session();
            return Ok(());
        }
        self.agents[node].heard_at = self.now;
        match message {
            ToAgent::Welcome { epoch } => self.welcomed(node, epoch),
            ToAgent::Beat { sent } => {
                let agent = &mut self.agents[node];
                agent.contact = agent.contact.max(sent);
                return Ok(());
            }
            ToAgent::Goodbye => self.agents[node].end_session(),
            ToAgent::Claimed { instance, granted } => {
                let until = Span(self.now as u64 + 500);
                if let Some(known) = self.agents[node].known.get_mut(&instance).filter(|k| k.volatile.claim == Claim::Asked) {
                    known.volatile.claim = if granted { Claim::Granted } else { Claim::Refused(until) };
                }
            }
            ToAgent::Committed { instance, state } => {
                let agent = &mut self.agents[node];
                if agent.reports.get(&instance).is_some_and(|report| report.state <= state) {
                    agent.reports.remove(&instance);
                }
                if let Some(known) = agent.known.get_mut(&instance) {
                    known.volatile.acknowledged = known.volatile.acknowledged.max(Some(state));
                }
            }
            ToAgent::Assignments { revision, complete, assignments, removed } => {
                self.assigned(node, revision, complete, assignments, removed)?;
            }
        }
        self.wake_agent(node);
        Ok(())
    }

    fn welcomed(&mut self, node: usize, epoch: Epoch) {
        let agent = &mut self.agents[node];
        let other = agent.last_epoch.replace(epoch).is_some_and(|before| before != epoch);
        agent.welcomed = Some(epoch);
        for known in agent.known.values_mut() {
            match known.volatile.claim {
                Claim::Refused(_) => known.volatile.claim = Claim::None,
                Claim::Granted | Claim::Unusable(_) if other => known.volatile.claim = Claim::None,
                _ => {}
            }
        }
        self.send_out(node, true);
    }

    fn assigned(
        &mut self,
        node: usize,
        revision: Revision,
        complete: bool,
        assignments: Vec<Assignment>,
        removed: Vec<InstanceId>,
    ) -> Result<(), String> {
        let believes = self.mutated(Mutation::BelieveAnyGeneration);
        let named: BTreeSet<_> = assignments.iter().map(|assignment| assignment.instance).collect();
        for assignment in assignments {
            self.offered(node, assignment, believes)?;
        }
        let agent = &mut self.agents[node];
        let gone: Vec<_> =
            if complete { agent.known.keys().filter(|instance| !named.contains(instance)).copied().collect() } else { removed };
        for instance in gone {
            let Some(known) = agent.known.get_mut(&instance) else { continue };
            if known.revision.is_none_or(|first| revision >= first) {
                known.desired = Desired::Gone;
            }
        }
        Ok(())
    }

    fn offered(&mut self, node: usize, assignment: Assignment, believes: bool) -> Result<(), String> {
        let (instance, revision, now) = (assignment.instance, assignment.revision, self.now);
        let agent = &mut self.agents[node];
        if !agent.known.contains_key(&instance) && assignment.state == InstanceState::Removed {
            return Ok(());
        }
        let known = agent.known.entry(instance).or_default();
        let before = match &known.desired {
            Desired::Assigned(before) => before.generation.max(known.recorded.unwrap_or_default()),
            _ => known.recorded.unwrap_or_default(),
        };
        let accepted =
            if believes { Ok(Desired::Assigned(assignment)) } else { known.desired.accept(known.recorded, assignment) };
        if let Ok(desired) = accepted {
            if let Desired::Assigned(heard) = &desired
                && heard.generation < before
            {
                return Err(format!(
                    "node {node} believes an older generation of {instance}: {} after {before}",
                    heard.generation
                ));
            }
            known.revision.get_or_insert(revision);
            if matches!(&desired, Desired::Assigned(heard) if heard.goal > Goal::Run) {
                known.volatile.told.get_or_insert(Span(now as u64));
            }
            known.desired = desired;
        }
        Ok(())
    }
}
