//! Which nodes are in contact, out of contact, lost.
//!
//! Losing many nodes at once is first suspected to be our own fault: past a threshold nothing is declared lost.

use std::collections::BTreeMap;

use ring_state::{Node, NodeChange, State};
use ring_types::{Epoch, Level, NodeId, NodeStatus, Span, Timestamp};

/// From this level on it is recorded since when a node is silent.
const SAYS_SINCE_WHEN: Level = Level(2);
/// Nodes lost within so many grace times count as lost together.
const TOGETHER: u64 = 10;

/// The last sign of life of a node's agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Under which registration.
    pub epoch: Epoch,
    /// When, by the leader's clock.
    pub last_heard: Timestamp,
}

impl Contact {
    /// The same, unless the node has registered since: that is a sign of life too, of about now.
    #[must_use]
    pub fn renewed(self, node: &Node, now: Timestamp) -> Self {
        let registered = node.status == NodeStatus::Ready && node.epoch > self.epoch;
        if registered { Self { epoch: node.epoch, last_heard: now } } else { self }
    }
}

/// How long silence is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseOptions {
    /// After this a node counts as out of contact.
    pub suspect_after: Span,
    /// After this its work is treated as lost.
    pub lost_after: Span,
    /// At most this share of the nodes, in percent, is declared lost together.
    pub max_lost_percent: u32,
}

impl Default for LeaseOptions {
    fn default() -> Self {
        Self { suspect_after: Span::seconds(5), lost_after: Span::seconds(60), max_lost_percent: 50 }
    }
}

/// What the leases say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What changes.
    pub changes: Vec<NodeChange>,
    /// When a lease runs out next.
    pub wake_at: Option<Timestamp>,
    /// Nodes that would count as lost, if they were not so many that the fault is more likely ours.
    pub held_back: u32,
}

/// Judges every node. Leases start afresh at `leader_since`: what a leader before this one heard is not known.
pub fn judge_nodes(
    state: &State,
    contacts: &BTreeMap<NodeId, Contact>,
    leader_since: Timestamp,
    now: Timestamp,
    options: &LeaseOptions,
) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut silent, mut suspects) = (Vec::new(), 0);
    let watched = |status| matches!(status, NodeStatus::Ready | NodeStatus::Unreachable);
    for node in state.nodes().filter(|node| watched(node.status)) {
        let contact = contacts.get(&node.id).filter(|contact| contact.epoch == node.epoch);
        // A lease is as young as the registration it belongs to.
        let since = match node.status {
            NodeStatus::Ready => node.status_since,
            _ => node.silent_since.unwrap_or(leader_since).min(now),
        };
        let fresh = leader_since.max(since);
        let heard = contact.map_or(fresh, |contact| contact.last_heard.max(fresh));
        let noted = Some(heard).filter(|_| state.level() >= SAYS_SINCE_WHEN);
        let (suspect, lost) = (heard + options.suspect_after, heard + options.lost_after);
        if now >= lost {
            silent.push((&**node, noted));
        }
        if now >= suspect {
            suspects += 1;
            judgement.expect(node, NodeStatus::Unreachable, noted);
            judgement.wake(lost, now);
        } else {
            if contact.is_some_and(|contact| contact.last_heard >= leader_since) {
                judgement.expect(node, NodeStatus::Ready, None);
            }
            judgement.wake(suspect, now);
        }
    }
    judgement.lose(state, &silent, suspects, now, options);
    judgement
}

impl Judgement {
    fn expect(&mut self, node: &Node, status: NodeStatus, heard: Option<Timestamp>) {
        if node.status != status || node.held {
            let silent_since = heard.filter(|_| status == NodeStatus::Unreachable);
            self.changes.push(NodeChange { node: node.id, epoch: node.epoch, status, held: false, silent_since });
        }
    }

    fn wake(&mut self, at: Timestamp, now: Timestamp) {
        if at > now {
            self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    /// Loses those whose time is over, or holds all of them back. Those that are out of contact, and whose time is not over yet, count as
    /// well: they may be of the same fault, and only have been heard of a moment later.
    fn lose(
        &mut self,
        state: &State,
        silent: &[(&Node, Option<Timestamp>)],
        suspects: usize,
        now: Timestamp,
        options: &LeaseOptions,
    ) {
        let recently = now - Span(options.lost_after.0.saturating_mul(TOGETHER));
        let lost = state.nodes().filter(|node| node.status == NodeStatus::Lost && node.status_since >= recently).count();
        let alive = state.nodes().filter(|node| matches!(node.status, NodeStatus::Ready | NodeStatus::Unreachable)).count();
        let total = alive + lost;
        let share = total * options.max_lost_percent as usize / 100;
        let allowed = if total <= 2 { share.max(1) } else { share };
        if lost + suspects > allowed {
            self.held_back = silent.len() as u32;
        }
        let (status, held) = if self.held_back > 0 { (NodeStatus::Unreachable, true) } else { (NodeStatus::Lost, false) };
        for &(node, silent_since) in silent {
            self.changes.retain(|change| change.node != node.id);
            if (node.status, node.held) != (status, held) {
                self.changes.push(NodeChange { node: node.id, epoch: node.epoch, status, held, silent_since });
            }
        }
    }
}
