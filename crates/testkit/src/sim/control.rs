//! The control plane: one ordered log, members that follow it at their own pace, a leader that comes and goes, and what the
//! leader does: plan, and watch leases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ring_agent::Assignment;
use ring_planner::{Contact, IdSource, LeaseOptions, Moment, Waiting, affected, judge_nodes, plan};
use ring_state::{Command, EnrolNode, Entry, Instance, LEVEL, Reply, RowKey, State};
use ring_types::{
    Cpu, DeploymentId, Epoch, InstanceId, Memory, Name, NodeCapacity, NodeId, NodeInfo, NodeStatus, RequestId, Revision,
    RuntimeKind, RuntimeReport, Span, Timestamp,
};

use super::network::{ToAgent, ToControl};
use super::rng::Rng;
use super::run::{Event, Sim};

const MEMBERS: usize = 3;
const LEASES: LeaseOptions = LeaseOptions { suspect_after: Span(4000), lost_after: Span(12_000), max_lost_percent: 50 };
const JUDGE_EVERY: u64 = 500;
/// States that are not needed go so many at a time.
const KEEP: usize = 1000;

/// Who proposed something, and is to hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Client,
    Session(u64),
    Planner { term: u64 },
    Nobody,
}

/// A command on its way to the log.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub(crate) origin: Origin,
    pub(crate) request: RequestId,
    pub(crate) command: Command,
}

/// A control node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) applied: usize,
    /// It follows the log no further before this time.
    stalled_until: i64,
}

/// A session as the control node sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    node: usize,
    member: usize,
    epoch: Option<Epoch>,
    pushed: usize,
    pub(crate) last_delivery: i64,
}

/// What a leader holds in memory.
struct Driver {
    seen: usize,
    dirty: BTreeSet<DeploymentId>,
    waiting: Waiting,
    timers: BTreeMap<DeploymentId, Timestamp>,
    in_flight: bool,
}

/// The control plane.
pub(crate) struct Control {
    /// The state after each entry.
    states: Vec<State>,
    /// So many of the first are not there any more.
    forgotten: usize,
    /// What each entry changed.
    changes: Vec<Vec<RowKey>>,
    pub(crate) members: Vec<Member>,
    pub(crate) leader: Option<usize>,
    pub(crate) term: u64,
    leader_since: Timestamp,
    /// The same for what is decided, which is never before what is recorded.
    leading_since: Timestamp,
    /// The leader's clock is off by so much.
    pub(crate) skew: i64,
    contacts: BTreeMap<NodeId, Contact>,
    driver: Option<Driver>,
    pub(crate) sessions: BTreeMap<u64, Session>,
    next_session: u64,
}

struct Ids<'r>(&'r mut Rng);

impl IdSource for Ids<'_> {
    fn instance(&mut self) -> InstanceId {
        InstanceId(self.0.uuid())
    }
}

impl Control {
    pub(crate) fn new() -> Self {
        Self {
            states: vec![State::default()],
            forgotten: 0,
            changes: vec![Vec::new()],
            members: vec![Member { applied: 0, stalled_until: 0 }; MEMBERS],
            leader: None,
            term: 0,
            leader_since: Timestamp(0),
            leading_since: Timestamp(0),
            skew: 0,
            contacts: BTreeMap::new(),
            driver: None,
            sessions: BTreeMap::new(),
            next_session: 0,
        }
    }

    /// The state after everything that is committed.
    pub(crate) fn tip(&self) -> &State {
        &self.states[self.states.len() - 1]
    }

    pub(crate) fn new_session(&mut self, node: usize, member: usize) -> u64 {
        self.next_session += 1;
        let session = Session { node, member, epoch: None, pushed: 0, last_delivery: 0 };
        self.sessions.insert(self.next_session, session);
        self.next_session
    }

    /// A control node goes down and comes up again: its sessions are over.
    pub(crate) fn close_sessions(&mut self, member: usize) {
        self.sessions.retain(|_, session| session.member != member);
    }

    /// What nobody looks at any more takes no memory: a day has half a million states.
    fn forget_the_past(&mut self) {
        if !self.states.len().is_multiple_of(KEEP) {
            return;
        }
        let members = self.members.iter().map(|member| member.applied);
        let sessions = self.sessions.values().map(|session| session.pushed);
        let driver = self.driver.iter().map(|driver| driver.seen);
        let needed = members.chain(sessions).chain(driver).min().unwrap_or(0);
        for old in self.forgotten..needed.saturating_sub(1) {
            self.states[old] = State::default();
            self.changes[old].clear();
            self.changes[old].shrink_to_fit();
        }
        self.forgotten = self.forgotten.max(needed.saturating_sub(1));
    }

    /// Nothing is under way in the leader.
    pub(crate) fn is_idle(&self) -> bool {
        self.driver.as_ref().is_some_and(|driver| !driver.in_flight && driver.dirty.is_empty())
    }
}

impl Sim {
    pub(crate) fn raise_level(&mut self) {
        self.propose(Origin::Nobody, RequestId::NONE, Command::RaiseLevel { level: LEVEL });
    }

    pub(crate) fn enrol(&mut self, node: usize) {
        let agent = &self.agents[node];
        let Ok(name) = Name::new(&agent.name) else { return };
        let enrol = EnrolNode { token: None, node: agent.node, name, member: None, labels: BTreeMap::new() };
        self.propose(Origin::Nobody, RequestId::NONE, Command::EnrolNode(enrol));
    }

    /// Puts a command on its way. It may get lost, arrive late or twice, and its answer may get lost.
    pub(crate) fn propose(&mut self, origin: Origin, request: RequestId, command: Command) {
        let proposal = Proposal { origin, request, command };
        let setup = matches!(proposal.command, Command::EnrolNode(_) | Command::RaiseLevel { .. });
        let fate = if self.chaos && !setup { self.rng.range(0, 100) } else { 100 };
        match fate {
            0..4 => {
                let delay = self.rng.range(50, 3000);
                self.after(delay, Event::NoAnswer(proposal));
            }
            4..8 => {
                let delay = self.rng.range(100, 15_000);
                self.after(delay, Event::Commit(proposal));
            }
            8..12 => {
                let (delay, again) = (self.rng.range(1, 20), self.rng.range(1, 6000));
                let twin = Proposal { origin: Origin::Nobody, ..proposal.clone() };
                self.after(delay, Event::Commit(proposal));
                self.after(again, Event::Commit(twin));
            }
            _ => {
                let delay = self.rng.range(1, 20);
                self.after(delay, Event::Commit(proposal));
            }
        }
    }

    /// A command reaches the log, if there is a leader.
    pub(crate) fn commit(&mut self, proposal: Proposal) -> Result<(), String> {
        let Some(leader) = self.control.leader else {
            let gives_up = self.chaos && self.rng.chance(10);
            let event = if gives_up { Event::NoAnswer(proposal) } else { Event::Commit(proposal) };
            self.after(100, event);
            return Ok(());
        };
        let before = self.control.tip().clone();
        let mut state = before.clone();
        let index = Revision(self.control.states.len() as u64);
        let at = Timestamp(self.now + self.control.skew);
        let entry = Entry { at, request: proposal.request, command: proposal.command.clone() };
        let applied = state.apply(index, &entry);
        self.summary.entries += 1;
        self.note(|| format!("entry {index} {:?} -> {:?}", proposal.command, applied.reply));
        let mut keys: Vec<_> = applied.rows.into_iter().map(|row| row.key).collect();
        self.break_state(&mut state, &proposal.command, &mut keys);
        let planned = matches!(proposal.command, Command::Plan { .. });
        self.check_commit(&before, &state, &keys, planned)?;
        let lost = |node: &&Arc<ring_state::Node>| node.status == NodeStatus::Lost;
        self.summary.lost += state.nodes().filter(lost).count().saturating_sub(before.nodes().filter(lost).count()) as u64;
        self.control.states.push(state);
        self.control.changes.push(keys);
        self.control.forget_the_past();
        self.followers_apply(leader, index.0 as usize);
        let (term, answers) = (self.control.term, !(self.chaos && self.rng.chance(4)));
        self.after(1, Event::Lead { term });
        let delay = self.rng.range(1, 10);
        self.after(delay, if answers { Event::Answer(proposal, applied.reply) } else { Event::NoAnswer(proposal) });
        Ok(())
    }

    fn followers_apply(&mut self, leader: usize, revision: usize) {
        for member in 0..MEMBERS {
            let delay = if member == leader { 0 } else { self.rng.range(1, 30) };
            let stalls = self.chaos && self.rng.range(0, 200) == 0;
            let until = self.now + if stalls { self.rng.range(500, 8000) as i64 } else { 0 };
            let there = &mut self.control.members[member];
            there.stalled_until = if member == leader { 0 } else { there.stalled_until.max(until) };
            let delay = delay.max((there.stalled_until - self.now).max(0) as u64);
            self.after(delay, Event::CatchUp { member, revision });
        }
    }

    pub(crate) fn catch_up(&mut self, member: usize, revision: usize) {
        let there = &mut self.control.members[member];
        if revision <= there.applied {
            return;
        }
        there.applied = revision;
        let sessions: Vec<_> = self.control.sessions.iter().filter(|(_, s)| s.member == member).map(|(id, _)| *id).collect();
        for session in sessions {
            self.push(session);
        }
    }

    /// Sends an agent what has changed for it.
    fn push(&mut self, id: u64) {
        let control = &self.control;
        let Some(session) = control.sessions.get(&id).copied() else { return };
        let Some(epoch) = session.epoch else { return };
        let to = control.members[session.member].applied;
        let (old, new) = (&control.states[session.pushed], &control.states[to]);
        let node = self.agents[session.node].node;
        // A later registration has taken the place of this session's.
        if new.node(node).is_none_or(|node| node.epoch > epoch) {
            self.control.sessions.remove(&id);
            self.send_goodbye(session.node, id);
            return;
        }
        let keys: BTreeSet<_> = control.changes[(session.pushed + 1).min(to + 1)..=to].iter().flatten().collect();
        let (mut assignments, mut removed) = (Vec::new(), Vec::new());
        for key in keys {
            let RowKey::Instance(instance) = key else { continue };
            let mine = |instance: &&Arc<Instance>| instance.node == node;
            match new.instance(*instance).filter(mine) {
                Some(now) => assignments.extend(assignment(new, now)),
                None if old.instance(*instance).as_ref().is_some_and(mine) => removed.push(*instance),
                None => {}
            }
        }
        let revision = new.revision();
        if let Some(session) = self.control.sessions.get_mut(&id) {
            session.pushed = to;
        }
        if !assignments.is_empty() || !removed.is_empty() {
            let message = ToAgent::Assignments { revision, complete: false, assignments, removed };
            self.send_down(session.node, id, message);
        }
    }

    fn send_goodbye(&mut self, node: usize, session: u64) {
        self.after(1, Event::ToAgent { node, session, message: ToAgent::Goodbye });
    }

    /// A message of an agent arrives at its control node.
    pub(crate) fn control_hears(&mut self, node: usize, id: u64, message: ToControl) {
        let Some(session) = self.control.sessions.get(&id).copied() else { return };
        if self.agents[node].cut_off {
            return;
        }
        let from = self.agents[node].node;
        match message {
            ToControl::Hello { boot } => {
                let info = node_info();
                self.propose(Origin::Session(id), RequestId::NONE, Command::RegisterNode { node: from, boot, info });
            }
            ToControl::Heartbeat { sent } => {
                if let Some(epoch) = session.epoch {
                    let last_heard = Timestamp(self.now + self.control.skew);
                    self.control.contacts.insert(from, Contact { epoch, last_heard });
                    self.send_down(node, id, ToAgent::Beat { sent });
                }
            }
            ToControl::Claim(instances) => {
                if let Some(epoch) = session.epoch {
                    self.propose(Origin::Session(id), RequestId::NONE, Command::Claim { node: from, epoch, instances });
                }
            }
            ToControl::Report(reports) => {
                self.propose(Origin::Session(id), RequestId::NONE, Command::Report { node: from, epoch: session.epoch, reports });
            }
        }
    }

    pub(crate) fn answered(&mut self, proposal: Proposal, reply: Reply) {
        match proposal.origin {
            Origin::Nobody | Origin::Client => {}
            Origin::Planner { term } => self.plan_is_done(term),
            Origin::Session(id) => self.tell_agent(id, proposal.command, reply),
        }
    }

    pub(crate) fn not_answered(&mut self, proposal: Proposal) {
        match proposal.origin {
            Origin::Planner { term } => {
                if let (Command::Plan { actions }, Some(driver)) = (&proposal.command, &mut self.control.driver) {
                    let tip = &self.control.states[self.control.states.len() - 1];
                    driver.dirty.extend(actions.iter().filter_map(|action| super::clients::deployment_of(tip, action)));
                }
                self.plan_is_done(term);
            }
            // The same request again is the same request.
            Origin::Client => self.propose(Origin::Client, proposal.request, proposal.command),
            Origin::Session(_) | Origin::Nobody => {}
        }
    }

    fn plan_is_done(&mut self, term: u64) {
        if self.control.term != term {
            return;
        }
        if let Some(driver) = &mut self.control.driver {
            driver.in_flight = false;
        }
        self.after(1, Event::Lead { term });
    }

    fn tell_agent(&mut self, id: u64, command: Command, reply: Reply) {
        let Some(session) = self.control.sessions.get(&id).copied() else { return };
        let node = session.node;
        match (command, reply) {
            (command @ Command::RegisterNode { .. }, Reply::Epoch(epoch)) if session.epoch.is_none() => {
                // From the copy this control node has, which may be old; but it has this session's registration in it.
                let applied = self.control.members[session.member].applied;
                if self.control.states[applied].node(self.agents[node].node).is_none_or(|known| known.epoch < epoch) {
                    let proposal = Proposal { origin: Origin::Session(id), request: RequestId::NONE, command };
                    self.after(20, Event::Answer(proposal, Reply::Epoch(epoch)));
                    return;
                }
                if let Some(session) = self.control.sessions.get_mut(&id) {
                    (session.epoch, session.pushed) = (Some(epoch), applied);
                }
                let (me, view) = (self.agents[node].node, &self.control.states[applied]);
                let assignments = view.instances_on(me).filter_map(|instance| assignment(view, instance)).collect();
                let revision = view.revision();
                self.send_down(node, id, ToAgent::Welcome { epoch });
                let message = ToAgent::Assignments { revision, complete: true, assignments, removed: Vec::new() };
                self.send_down(node, id, message);
            }
            (Command::Claim { .. }, Reply::Claims(outcomes)) => {
                for outcome in outcomes {
                    let message = ToAgent::Claimed { instance: outcome.instance, granted: outcome.granted };
                    self.send_down(node, id, message);
                }
            }
            (Command::Report { reports, .. }, Reply::Done) => {
                for report in reports {
                    self.send_down(node, id, ToAgent::Committed { instance: report.instance, state: report.state });
                }
            }
            _ => {}
        }
    }

    pub(crate) fn elect(&mut self) {
        if self.control.leader.is_some() {
            return;
        }
        let leader = self.rng.range(0, MEMBERS as u64) as usize;
        let control = &mut self.control;
        control.leader = Some(leader);
        control.term += 1;
        control.skew = self.rng.range(0, 2000) as i64 - 1000;
        control.leader_since = Timestamp(self.now + control.skew);
        control.leading_since = control.leader_since.max(control.tip().clock());
        control.contacts.clear();
        let view = control.tip();
        let dirty = view.deployments().map(|deployment| deployment.id).collect();
        let (waiting, timers, seen) = (Waiting::of(view), BTreeMap::new(), control.states.len() - 1);
        control.driver = Some(Driver { seen, dirty, waiting, timers, in_flight: false });
        let (term, tip) = (control.term, seen);
        self.summary.elections += 1;
        self.note(|| format!("member {leader} leads term {term}"));
        self.after(0, Event::CatchUp { member: leader, revision: tip });
        self.after(1, Event::Lead { term });
        self.after(JUDGE_EVERY, Event::Leases { term });
        self.after(JUDGE_EVERY, Event::Scale { term });
    }

    /// The leader plans what is dirty. It never looks at everything but when it begins: each change has to say by itself
    /// what it concerns.
    pub(crate) fn lead(&mut self, term: u64) {
        let (control, rng) = (&mut self.control, &mut self.rng);
        if control.term != term || control.leader.is_none() {
            return;
        }
        let Some(driver) = &mut control.driver else { return };
        let tip = control.states.len() - 1;
        for revision in driver.seen + 1..=tip {
            let (before, after) = (&control.states[revision - 1], &control.states[revision]);
            driver.dirty.extend(affected(before, &control.changes[revision], after, &mut driver.waiting));
        }
        driver.seen = tip;
        let view = super::mutate::seen(self.options.mutation, &control.states[tip]);
        let now = Timestamp(self.now + control.skew).max(view.clock());
        let due: Vec<_> = driver.timers.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        driver.timers.retain(|id, _| !due.contains(id));
        driver.dirty.extend(due);
        if driver.in_flight || driver.dirty.is_empty() {
            return;
        }
        let dirty = std::mem::take(&mut driver.dirty);
        driver.timers.retain(|id, _| !dirty.contains(id));
        let when = Moment { now, leading_since: control.leading_since };
        let mut plan = plan(&view, &dirty, when, &mut Ids(rng));
        super::mutate::planned(self.options.mutation, &mut plan.actions);
        driver.dirty.extend(&plan.remaining);
        driver.timers.extend(plan.wakes);
        driver.in_flight = !plan.actions.is_empty();
        let wake = driver.timers.values().min().map(|at| at.since(now).0 + 1);
        if !plan.actions.is_empty() {
            // As the controller does: a plan done twice could bring back what was forgotten in between.
            let request = RequestId(self.rng.uuid());
            self.propose(Origin::Planner { term }, request, Command::Plan { actions: plan.actions });
        }
        if let Some(delay) = wake {
            self.after(delay, Event::Lead { term });
        }
    }

    pub(crate) fn judge(&mut self, term: u64) {
        let control = &mut self.control;
        if control.term != term || control.leader.is_none() {
            return;
        }
        let now = Timestamp(self.now + control.skew);
        let tip = &control.states[control.states.len() - 1];
        for (id, contact) in &mut control.contacts {
            *contact = tip.node(*id).map_or(*contact, |node| contact.renewed(node, now));
        }
        let judgement = judge_nodes(control.tip(), &control.contacts, control.leader_since, now, &LEASES);
        if !judgement.changes.is_empty() {
            let command = Command::SetNodeStatus { changes: judgement.changes };
            self.propose(Origin::Nobody, RequestId::NONE, command);
        }
        self.after(JUDGE_EVERY, Event::Leases { term });
    }
}

fn assignment(view: &State, instance: &Instance) -> Option<Assignment> {
    let deployment = view.deployment(instance.deployment)?;
    Some(Assignment {
        instance: instance.id,
        deployment: deployment.id,
        generation: instance.generation,
        revision: view.revision(),
        spec: deployment.spec.clone(),
        goal: instance.goal,
        state: instance.state,
        linger: instance.linger(&deployment.spec),
    })
}

fn node_info() -> NodeInfo {
    let runtimes = vec![RuntimeReport { kind: RuntimeKind::Docker, version: String::new(), problem: None }];
    NodeInfo {
        capacity: NodeCapacity { cpu: Cpu(16_000), memory: Memory(1 << 34) },
        runtimes,
        level: LEVEL,
        ..NodeInfo::default()
    }
}
