//! Nodes, control nodes and join tokens.

use ring_api::model;
use ring_state::{Drain, JoinRole, JoinToken, Member, Node, State};
use ring_store::{PeerStatus, StoreStatus};
use ring_types::{Kind, NodeCapacity, NodeStatus};

/// A member that has not answered its leader for so long counts as out of reach.
const REACH: std::time::Duration = std::time::Duration::from_secs(3);

pub(in crate::rest) fn node(state: &State, node: &Node) -> model::Node {
    let usage = state.usage(node.id);
    model::Node {
        id: node.id,
        name: node.name.to_string(),
        status: node.status,
        held: node.held,
        message: contact(node),
        schedulable: node.schedulable,
        drain: node.drain.map(|drain| drain_of(state, node, drain)),
        labels: node.all_labels(),
        capacity: node.info.capacity,
        reserved: NodeCapacity { cpu: usage.cpu, memory: usage.memory },
        instances: usage.instances,
        runtimes: node.info.runtimes.clone(),
        address: node.info.address.clone(),
        hostname: node.info.hostname.clone(),
        platform: node.info.platform.clone(),
        agent_version: node.info.agent_version.clone(),
        created_at: Some(node.joined_at),
        status_since: Some(node.status_since),
        version: node.version.0,
    }
}

/// What to do about a node that is out of contact.
fn contact(node: &Node) -> Option<String> {
    let said = match (node.status, node.held) {
        (NodeStatus::Unreachable, true) => format!(
            "nothing was heard of it for so long that it would count as lost, but many nodes are silent at once: look at the network \
             between the control nodes and it; if it is gone, `ring node lost {}` moves its work elsewhere",
            node.name
        ),
        (NodeStatus::Unreachable, false) => "nothing is heard of it; its work goes on there, and counts as lost later".to_owned(),
        (NodeStatus::Lost, _) => "its work counts as lost; it is taken up again when it comes back".to_owned(),
        (NodeStatus::Joining | NodeStatus::Ready, _) => return None,
    };
    Some(said)
}

fn drain_of(state: &State, node: &Node, Drain { since, deadline, until_return }: Drain) -> model::Drain {
    let left = state.instances_on(node.id).filter(|i| i.state.is_live()).filter_map(|i| state.deployment(i.deployment));
    let (jobs, workers): (Vec<_>, Vec<_>) = left.partition(|d| d.spec.kind == Kind::Job);
    model::Drain { since, deadline, until_return, workers: workers.len() as u32, jobs: jobs.len() as u32 }
}

pub(in crate::rest) fn member(member: &Member, status: &StoreStatus) -> model::Member {
    let peer = status.peers.iter().find(|p| p.id == member.id);
    let voter = status.voters.contains(&member.id);
    let last_log = if member.id == status.id { Some(status.last_log) } else { peer.and_then(|p| p.matched) };
    let leads_here = status.leader == Some(status.id);
    model::Member {
        id: member.id,
        name: member.name.to_string(),
        address: member.address.clone(),
        api_address: member.api_address.clone(),
        role: if voter { model::MemberRole::Voter } else { model::MemberRole::Learner },
        leader: status.leader == Some(member.id),
        reachable: reachable(member, status, peer),
        last_log,
        lag: last_log.filter(|_| leads_here).map(|last| status.last_log.saturating_sub(last)),
    }
}

/// Only the leader knows of others; every member knows of itself.
fn reachable(member: &Member, status: &StoreStatus, peer: Option<&PeerStatus>) -> Option<bool> {
    if member.id == status.id {
        return Some(true);
    }
    let leads_here = status.leader == Some(status.id);
    leads_here.then(|| peer.and_then(|p| p.last_ack).is_some_and(|ago| ago < REACH))
}

pub(in crate::rest) const fn join_role(role: JoinRole) -> model::JoinRole {
    match role {
        JoinRole::Agent => model::JoinRole::Agent,
        JoinRole::Control => model::JoinRole::Control,
    }
}

pub(in crate::rest) const fn join_role_of(role: model::JoinRole) -> JoinRole {
    match role {
        model::JoinRole::Agent => JoinRole::Agent,
        model::JoinRole::Control => JoinRole::Control,
    }
}

pub(in crate::rest) fn join_token(token: &JoinToken) -> model::JoinToken {
    model::JoinToken {
        id: token.id,
        role: join_role(token.role),
        token: None,
        join_command: None,
        expires_at: Some(token.expires_at),
        uses_left: (token.uses_left != u32::MAX).then_some(token.uses_left),
        created_at: Some(token.created_at),
        version: token.version.0,
    }
}
