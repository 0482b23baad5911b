//! What is asked of nodes, and what the leader says of their contact.

use std::collections::BTreeMap;

use ring_types::{Epoch, NodeId, NodeStatus, Span};

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
}

/// An operator's change of a node; None leaves a field as it is.
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
}
