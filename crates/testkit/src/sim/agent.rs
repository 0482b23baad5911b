//! An agent: the real decisions of `ring_agent::next`, with a simulated ledger, runtime and session around them.

mod act;
mod probe;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ring_agent::{Desired, Phase, Record, Volatile};
use ring_runtime::Observed;
use ring_state::InstanceReport;
use ring_types::{DeploymentId, DeploymentSpec, Epoch, InstanceId, Kind, NodeId, RequestId, Revision};

use super::rng::Rng;
use super::run::{Event, Mutation, Sim};

/// One container.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) deployment: DeploymentId,
    pub(crate) kind: Kind,
    pub(crate) spec: Arc<DeploymentSpec>,
    pub(crate) observed: Observed,
}

/// What one run of the agent knows of an instance.
#[derive(Clone, Debug, Default)]
struct Known {
    desired: Desired,
    volatile: Volatile,
    observed: Option<Observed>,
    looked: i64,
    preparing: bool,
    /// Generation of its record when this run began.
    recorded: Option<ring_types::Generation>,
    revision: Option<Revision>,
}

/// One host that runs work.
pub(crate) struct Agent {
    pub(crate) node: NodeId,
    pub(crate) name: String,
    /// Survives a crash of the agent; after a crash of the host only what was synced is left.
    pub(crate) ledger: BTreeMap<InstanceId, Record>,
    synced: BTreeMap<InstanceId, Record>,
    /// Survives everything but a hand.
    pub(crate) runtime: BTreeMap<InstanceId, Container>,
    pub(crate) host_boot: String,
    pub(crate) up: bool,
    pub(crate) cut_off: bool,
    pub(crate) removed: bool,
    /// Counts runs of the agent.
    pub(crate) life: u64,
    boot: RequestId,
    known: BTreeMap<InstanceId, Known>,
    reports: BTreeMap<InstanceId, InstanceReport>,
    pub(crate) session: Option<u64>,
    welcomed: Option<Epoch>,
    last_epoch: Option<Epoch>,
    heard_at: i64,
    /// When the newest heartbeat that was answered was sent. Survives a crash of the agent.
    contact: i64,
    /// Since when this run of the agent is up.
    pub(crate) up_since: i64,
    beat_at: i64,
    sent_at: i64,
    turn_at: i64,
}

impl Agent {
    pub(crate) fn new(index: usize, rng: &mut Rng) -> Self {
        Self {
            node: NodeId(rng.uuid()),
            name: format!("n{index}"),
            ledger: BTreeMap::new(),
            synced: BTreeMap::new(),
            runtime: BTreeMap::new(),
            host_boot: format!("boot-{index}-0"),
            up: true,
            cut_off: false,
            removed: false,
            life: 0,
            boot: RequestId(rng.uuid()),
            known: BTreeMap::new(),
            reports: BTreeMap::new(),
            session: None,
            welcomed: None,
            last_epoch: None,
            heard_at: 0,
            contact: 0,
            up_since: 0,
            beat_at: 0,
            sent_at: 0,
            turn_at: 0,
        }
    }

    pub(crate) fn look_at(&mut self, instance: InstanceId) {
        if let Some(known) = self.known.get_mut(&instance) {
            known.observed = None;
        }
    }

    /// The session is over, or never came about.
    fn end_session(&mut self) {
        self.session = None;
        self.welcomed = None;
    }
}

impl Sim {
    /// The agent's process ends.
    pub(crate) fn agent_crashes(&mut self, node: usize) {
        let no_ledger = self.mutated(Mutation::NoLedger);
        let agent = &mut self.agents[node];
        agent.up = false;
        agent.known.clear();
        agent.reports.clear();
        agent.end_session();
        if no_ledger {
            agent.ledger.clear();
        }
        self.summary.crashes += 1;
        self.note(|| format!("agent {node} crashes"));
    }

    /// The whole host goes down.
    pub(crate) fn host_crashes(&mut self, node: usize) {
        self.agent_crashes(node);
        self.power_fails(node);
        let agent = &mut self.agents[node];
        agent.ledger = agent.synced.clone();
        agent.host_boot.push('+');
        self.note(|| format!("host {node} goes down"));
    }

    /// The ledger is lost; what the runtime has is still there.
    pub(crate) fn ledger_is_lost(&mut self, node: usize) {
        self.agent_crashes(node);
        let agent = &mut self.agents[node];
        let all = agent.runtime.keys().chain(agent.ledger.keys());
        self.hosts.disturbed.extend(all.copied());
        agent.ledger.clear();
        agent.synced.clear();
        self.note(|| format!("agent {node} loses its ledger"));
    }

    pub(crate) fn agent_starts(&mut self, node: usize) {
        if self.agents[node].up {
            return;
        }
        let (boot, now) = (RequestId(self.rng.uuid()), self.now);
        let agent = &mut self.agents[node];
        agent.up_since = now;
        (agent.up, agent.boot, agent.life) = (true, boot, agent.life + 1);
        agent.last_epoch = None;
        for (instance, record) in &agent.ledger {
            let known = Known { recorded: Some(record.generation), revision: Some(record.revision), ..Known::default() };
            agent.known.insert(*instance, known);
        }
        for instance in agent.runtime.keys() {
            agent.known.entry(*instance).or_default();
        }
        self.note(|| format!("agent {node} starts"));
        self.wake_agent(node);
    }

    pub(crate) fn rejoin(&mut self, node: usize) {
        self.agents[node].cut_off = false;
        self.note(|| format!("node {node} is reachable again"));
        self.wake_agent(node);
    }

    /// The agent gets its turn soon.
    pub(crate) fn wake_agent(&mut self, node: usize) {
        let soon = self.rng.range(1, 6);
        self.turn_after(node, soon);
    }

    fn turn_after(&mut self, node: usize, delay: u64) {
        let at = self.now + delay as i64;
        let agent = &mut self.agents[node];
        // One turn is under way at most; an earlier one replaces it.
        if agent.turn_at > self.now && agent.turn_at <= at {
            return;
        }
        agent.turn_at = at;
        self.after(delay, Event::AgentTurn(node));
    }

    /// One turn: the session is looked after, then each instance takes one step. It may crash before any of them.
    pub(crate) fn agent_turn(&mut self, node: usize) -> Result<(), String> {
        if self.agents[node].turn_at > self.now {
            return Ok(());
        }
        self.agents[node].turn_at = 0;
        if !self.agents[node].up || self.agents[node].removed {
            return Ok(());
        }
        self.look_after_session(node);
        let mut moved = false;
        let all: Vec<_> = self.agents[node].known.keys().copied().collect();
        for instance in all {
            if self.chaos && self.rng.range(0, 4000) == 0 {
                self.agent_crashes(node);
                let back = self.rng.range(1, 20_000);
                self.after(back, Event::AgentStarts(node));
                return Ok(());
            }
            moved |= self.step(node, instance)?;
        }
        self.send_out(node, false);
        let delay = if moved { self.rng.range(1, 8) } else { self.rng.range(200, 500) };
        self.turn_after(node, delay);
        Ok(())
    }

    /// What the hosts have of an instance, for people.
    pub(crate) fn describe(&self, instance: InstanceId) -> String {
        let has = |agent: &&Agent| agent.known.contains_key(&instance) || agent.ledger.contains_key(&instance);
        let all = self.agents.iter().filter(has).map(|agent| {
            let (known, record, container) =
                (agent.known.get(&instance), agent.ledger.get(&instance), agent.runtime.get(&instance));
            format!(
                "{}: session {:?} {known:?} {record:?} {container:?} report {:?}",
                agent.name,
                agent.welcomed,
                agent.reports.get(&instance)
            )
        });
        all.collect::<Vec<_>>().join("\n")
    }

    /// Is anything of an instance on a node: in its ledger, or in its runtime?
    pub(crate) fn remains(&self, node: usize) -> BTreeSet<InstanceId> {
        let agent = &self.agents[node];
        let ledger = agent.ledger.iter().filter(|(_, record)| record.phase < Phase::Removed).map(|(id, _)| *id);
        ledger.chain(agent.runtime.keys().copied()).collect()
    }
}
