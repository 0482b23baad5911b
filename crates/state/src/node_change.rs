//! What is asked of nodes, and what the leader says of their contact.

use std::collections::BTreeMap;

use ring_types::{Epoch, NodeId, NodeStatus, Span, Timestamp};

/// Change of a node's contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeChange {
    /// Which node.
    pub node: NodeId,
    /// The registration the leader judged; a change about an older one is passed over.
    pub epoch: Epoch,
    /// What it is now. `Lost` ends the epoch.
    pub status: NodeStatus,
    /// It would be lost, were not so many nodes silent at once.
    pub held: bool,
    /// When it was heard of last, for one that is out of contact. Needs level 2.
    pub silent_since: Option<Timestamp>,
}

/// A change of a node that is asked for; None leaves a field as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUpdate {
    /// Which.
    pub node: NodeId,
    /// Labels set through the API, all of them.
    pub labels: Option<BTreeMap<String, String>>,
    /// New work may come; that also ends a drain.
    pub schedulable: Option<bool>,
    /// It is to be emptied; what is still there after so long is told to end.
    pub drain: Option<Span>,
    /// It is out of contact and does not come back: its work counts as lost now.
    pub lost: bool,
    /// The drain ends when the agent is there again. Needs level 2.
    pub until_return: bool,
}

impl NodeUpdate {
    /// One that changes nothing of a node.
    pub fn of(node: NodeId) -> Self {
        Self { node, labels: None, schedulable: None, drain: None, lost: false, until_return: false }
    }
}
