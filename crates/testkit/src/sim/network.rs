//! Messages between agents and control nodes, and what the network does to them.

use ring_agent::Assignment;
use ring_state::InstanceReport;
use ring_types::{Epoch, InstanceId, InstanceState, RequestId, Revision};

use super::run::{Event, Sim};

/// From an agent.
#[derive(Clone, Debug)]
pub(crate) enum ToControl {
    Hello { boot: RequestId },
    Heartbeat { sent: i64 },
    Claim(Vec<InstanceId>),
    Report(Vec<InstanceReport>),
}

/// To an agent.
#[derive(Clone, Debug)]
pub(crate) enum ToAgent {
    Welcome { epoch: Epoch },
    Assignments { revision: Revision, complete: bool, assignments: Vec<Assignment>, removed: Vec<InstanceId> },
    Claimed { instance: InstanceId, granted: bool },
    Committed { instance: InstanceId, state: InstanceState },
    Beat { sent: i64 },
    Goodbye,
}

impl Sim {
    /// Sends to a control node. Each message fares on its own: lost, doubled, late, out of order.
    pub(crate) fn send_up(&mut self, node: usize, session: u64, message: ToControl) {
        if self.agents[node].cut_off {
            return;
        }
        let copies = if self.chaos { [1, 1, 1, 1, 1, 1, 1, 1, 0, 2][self.rng.range(0, 10) as usize] } else { 1 };
        for _ in 0..copies {
            let delay = if self.chaos && self.rng.chance(5) { self.rng.range(100, 8000) } else { self.rng.range(1, 15) };
            self.after(delay, Event::ToControl { node, session, message: message.clone() });
        }
    }

    /// Sends to an agent. The messages of a session arrive in order, or the session is over.
    pub(crate) fn send_down(&mut self, node: usize, session: u64, message: ToAgent) {
        if self.agents[node].cut_off {
            self.control.sessions.remove(&session);
            return;
        }
        if self.chaos && self.rng.chance(1) {
            self.after(0, Event::ToAgent { node, session, message: ToAgent::Goodbye });
            return;
        }
        let Some(record) = self.control.sessions.get_mut(&session) else { return };
        let delay = self.rng.range(1, 15);
        let at = (self.now + delay as i64).max(record.last_delivery);
        record.last_delivery = at;
        let delay = (at - self.now) as u64;
        self.after(delay, Event::ToAgent { node, session, message });
    }
}
