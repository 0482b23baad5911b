//! What goes wrong while it does.

use super::network::ToAgent;
use super::run::{Event, Sim};

/// No request of a client is still under way so long after the last.
const LATE: u64 = 30_000;

impl Sim {
    pub(crate) fn fault(&mut self) {
        if !self.chaos {
            return;
        }
        let pause = self.rng.range(200, 3500) * self.options.pace;
        self.after(pause, Event::Fault);
        let node = self.rng.range(0, self.agents.len() as u64) as usize;
        match self.rng.range(0, 100) {
            0..25 => self.crash_agent(node),
            25..32 => self.crash_host(node),
            32..62 => self.cut_off(node),
            62..85 => self.crash_leader(),
            85..90 => self.some_container_vanishes(node),
            90..92 => {
                if self.agents[node].up {
                    self.ledger_is_lost(node);
                    self.agent_back(node);
                }
            }
            _ => self.session_breaks(node),
        }
    }

    fn agent_back(&mut self, node: usize) {
        let longest = if self.rng.chance(20) { 40_000 } else { 4000 };
        let delay = self.rng.range(1, longest);
        self.after(delay, Event::AgentStarts(node));
    }

    fn crash_agent(&mut self, node: usize) {
        if self.agents[node].up {
            self.agent_crashes(node);
            self.agent_back(node);
        }
    }

    fn crash_host(&mut self, node: usize) {
        if self.agents[node].up {
            self.host_crashes(node);
            self.agent_back(node);
        }
    }

    fn cut_off(&mut self, node: usize) {
        if self.agents[node].cut_off {
            return;
        }
        self.agents[node].cut_off = true;
        let longest = if self.steady { 60_000 } else { 40_000 };
        let delay = if self.rng.chance(40) { self.rng.range(50, longest) } else { self.rng.range(50, 6000) };
        self.note(|| format!("node {node} is cut off for {delay}"));
        self.after(delay, Event::Rejoin(node));
    }

    /// The leader's process ends; its sessions with it.
    fn crash_leader(&mut self) {
        if self.steady {
            return;
        }
        let Some(leader) = self.control.leader.take() else { return };
        self.note(|| format!("member {leader}, the leader, crashes"));
        self.control.close_sessions(leader);
        let delay = self.rng.range(100, 5000);
        self.after(delay, Event::Elect);
    }

    fn session_breaks(&mut self, node: usize) {
        if let Some(session) = self.agents[node].session {
            self.after(0, Event::ToAgent { node, session, message: ToAgent::Goodbye });
        }
    }

    fn some_container_vanishes(&mut self, node: usize) {
        let all: Vec<_> = self.agents[node].runtime.keys().copied().collect();
        if let Some(instance) = self.rng.pick(&all).copied() {
            self.vanish(node, instance);
        }
    }

    /// From here on nothing fails, and what is down comes up.
    pub(crate) fn end_chaos(&mut self) {
        self.chaos = false;
        self.note(|| "nothing fails any more".to_owned());
        for node in 0..self.agents.len() {
            self.agent_starts(node);
            self.rejoin(node);
        }
        if self.control.leader.is_none() {
            self.after(0, Event::Elect);
        }
        // When what clients still asked for is over: some of it may be a drain.
        self.after(LATE, Event::EndDrains);
    }
}
