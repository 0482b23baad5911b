//! The cluster's own hosts: join tokens, control nodes, nodes.

use std::sync::Arc;

use ring_types::{
    ClusterGeneration, Epoch, JoinTokenId, Level, MemberId, Name, NodeId, NodeInfo, NodeStatus, RequestId, Timestamp,
};

use super::{Done, Tx};
use crate::level::REMEMBERS_CONTACT;
use crate::{
    Bootstrap, ClusterLevel, ClusterMeta, Drain, EnrolMember, EnrolNode, JoinRole, JoinToken, Member, MemberState, Node,
    NodeChange, NodeUpdate, Refusal, RefusalCode, Reply, Role, Row, RowKey,
};

impl Tx<'_> {
    pub(super) fn bootstrap(&mut self, wanted: &Bootstrap) -> Done {
        if self.state.meta().is_some() {
            return Err(Refusal::conflict("this cluster has been initialised already"));
        }
        let meta = ClusterMeta {
            cluster: wanted.cluster,
            created_at: self.at,
            next_member: MemberId(2),
            ca_certificate: wanted.ca_certificate.clone(),
            ca_key_sealed: wanted.ca_key_sealed.clone(),
            generation: ClusterGeneration::FIRST,
            first_member: MemberId(0),
        };
        self.put(Row::Meta(Arc::new(meta)));
        if !wanted.data_key_sealed.is_empty() {
            self.first_data_key(&wanted.data_key_sealed);
        }
        let member = Member {
            id: MemberId(1),
            name: wanted.member_name.clone(),
            address: wanted.address.clone(),
            api_address: wanted.api_address.clone(),
            state: MemberState::Active,
            joined_at: self.at,
            version: self.revision,
        };
        self.put(Row::Member(Arc::new(member)));
        self.raise_level(wanted.level)?;
        if let Ok(name) = Name::new("admin") {
            self.create_user(wanted.admin, &name, &wanted.admin_password_hash, Role::Admin)?;
        }
        Ok(Reply::Done)
    }

    pub(super) fn raise_level(&mut self, level: Level) -> Done {
        if level > self.state.level() {
            self.put(Row::Level(ClusterLevel { level }));
        }
        Ok(Reply::Done)
    }

    pub(super) fn create_join_token(&mut self, token: &JoinToken) -> Done {
        let over = |t: &&Arc<JoinToken>| t.expires_at + ring_types::Span::seconds(7 * 86_400) < self.at;
        let old: Vec<_> = self.state.join_tokens().filter(over).map(|t| t.id).collect();
        for id in old {
            self.delete(RowKey::JoinToken(id));
        }
        let token = JoinToken { created_at: self.at, revoked: false, version: self.revision, ..token.clone() };
        self.put(Row::JoinToken(Arc::new(token)));
        Ok(Reply::Done)
    }

    pub(super) fn revoke_join_token(&mut self, id: JoinTokenId) -> Done {
        let token = self.state.join_token(id).ok_or_else(|| Refusal::not_found(format!("join token '{id}'")))?;
        let token = JoinToken { revoked: true, version: self.revision, ..JoinToken::clone(token) };
        self.put(Row::JoinToken(Arc::new(token)));
        Ok(Reply::Done)
    }

    /// Uses up one admission.
    fn spend(&mut self, id: JoinTokenId, role: JoinRole) -> Result<(), Refusal> {
        let refuse = |message: String| Refusal::new(RefusalCode::Forbidden, message);
        let Some(token) = self.state.join_token(id) else {
            return Err(refuse("the join token is not known to this cluster; make one with `ring cluster token create`".into()));
        };
        let fault = match () {
            () if token.revoked => Some("has been revoked".to_owned()),
            () if token.expires_at <= self.at => Some(format!("expired at {}", token.expires_at)),
            () if token.uses_left == 0 => Some("has been used up".to_owned()),
            () if token.role != role => Some(match token.role {
                JoinRole::Agent => "admits agents only, not control nodes".to_owned(),
                JoinRole::Control => "admits control nodes only, not agents".to_owned(),
            }),
            () => None,
        };
        if let Some(fault) = fault {
            return Err(refuse(format!("the join token {fault}; make one with `ring cluster token create`")));
        }
        let spent = JoinToken { uses_left: token.uses_left - 1, version: self.revision, ..JoinToken::clone(token) };
        self.put(Row::JoinToken(Arc::new(spent)));
        Ok(())
    }

    pub(super) fn enrol_node(&mut self, wanted: &EnrolNode) -> Done {
        if let Some(known) = self.state.node(wanted.node) {
            // Only the local agent of a control node enrols twice: its process started again.
            return match wanted.token {
                None => Ok(Reply::Node(known.id, known.name.clone())),
                Some(_) => Err(Refusal::conflict(format!("node id {} is taken", wanted.node))),
            };
        }
        if let Some(token) = wanted.token {
            self.spend(token, JoinRole::Agent)?;
        }
        let name = free_name(&wanted.name, |name| self.state.nodes().any(|n| n.name == *name));
        let node = Node {
            id: wanted.node,
            name: name.clone(),
            info: NodeInfo::default(),
            labels: wanted.labels.clone(),
            status: NodeStatus::Joining,
            schedulable: true,
            drain: None,
            held: false,
            epoch: Epoch(0),
            boot: RequestId::NONE,
            member: wanted.member,
            joined_at: self.at,
            status_since: self.at,
            silent_since: None,
            version: self.revision,
        };
        self.tell_node(&node, None, Some(node.status));
        self.put(Row::Node(Arc::new(node)));
        Ok(Reply::Node(wanted.node, name))
    }

    pub(super) fn enrol_member(&mut self, wanted: &EnrolMember) -> Done {
        self.spend(wanted.token, JoinRole::Control)?;
        let meta = self.meta()?;
        let id = meta.next_member;
        self.put(Row::Meta(Arc::new(ClusterMeta { next_member: id.next(), ..ClusterMeta::clone(&meta) })));
        let alive = |name: &Name| self.state.members().any(|m| m.name == *name && m.state != MemberState::Removed);
        let name = free_name(&wanted.name, alive);
        let member = Member {
            id,
            name: name.clone(),
            address: wanted.address.clone(),
            api_address: wanted.api_address.clone(),
            state: MemberState::Joining,
            joined_at: self.at,
            version: self.revision,
        };
        self.put(Row::Member(Arc::new(member)));
        Ok(Reply::Member(id, name))
    }

    pub(super) fn meta(&self) -> Result<Arc<ClusterMeta>, Refusal> {
        self.state.meta().cloned().ok_or_else(|| Refusal::new(RefusalCode::Invalid, "this cluster has not been initialised"))
    }

    pub(super) fn update_member(&mut self, id: MemberId, address: &str, api_address: &str) -> Done {
        self.edit_member(id, |m| {
            address.clone_into(&mut m.address);
            api_address.clone_into(&mut m.api_address);
        })
    }

    pub(super) fn activate_member(&mut self, id: MemberId) -> Done {
        self.edit_member(id, |m| m.state = m.state.max(MemberState::Active))
    }

    pub(super) fn remove_member(&mut self, id: MemberId) -> Done {
        self.edit_member(id, |m| m.state = MemberState::Removed)
    }

    fn edit_member(&mut self, id: MemberId, edit: impl FnOnce(&mut Member)) -> Done {
        let current = self.state.member(id).ok_or_else(|| Refusal::not_found(format!("control node {id}")))?;
        let mut changed = Member::clone(current);
        edit(&mut changed);
        changed.version = self.revision;
        self.put(Row::Member(Arc::new(changed)));
        Ok(Reply::Done)
    }

    pub(super) fn register_node(&mut self, id: NodeId, boot: RequestId, info: &NodeInfo) -> Done {
        let node = self.node(id)?;
        let same_run = node.boot == boot && !matches!(node.status, NodeStatus::Lost | NodeStatus::Joining);
        let epoch = if same_run { node.epoch } else { node.epoch.next() };
        let silent_since = (self.state.level() >= REMEMBERS_CONTACT).then_some(self.at);
        let mut changed = Node { info: info.clone(), boot, epoch, held: false, silent_since, ..Node::clone(&node) };
        if changed.drain.is_some_and(|drain| drain.until_return) && node.boot != boot {
            (changed.drain, changed.schedulable) = (None, true);
        }
        self.put_node(changed, NodeStatus::Ready);
        Ok(Reply::Epoch(epoch))
    }

    pub(super) fn set_node_status(&mut self, changes: &[NodeChange]) -> Done {
        for change in changes {
            let Some(node) = self.state.node(change.node).cloned() else { continue };
            let same = (node.status, node.held) == (change.status, change.held);
            // Only registering brings a lost node back, and only the registration that was judged is changed.
            if node.epoch != change.epoch || node.status == NodeStatus::Lost || same {
                continue;
            }
            let epoch = if change.status == NodeStatus::Lost { node.epoch.next() } else { node.epoch };
            let silent_since = self.silent_since(&node, change);
            self.put_node(Node { epoch, held: change.held, silent_since, ..Node::clone(&node) }, change.status);
        }
        Ok(Reply::Done)
    }

    /// Since when it is silent. A change may be old when it is applied, of a leader that was deposed for instance: a silence does not
    /// begin before the latest entry that shows the node in contact.
    fn silent_since(&self, node: &Node, change: &NodeChange) -> Option<Timestamp> {
        if self.state.level() < REMEMBERS_CONTACT {
            return change.silent_since;
        }
        if change.status == NodeStatus::Ready { Some(self.at) } else { change.silent_since.max(node.silent_since) }
    }

    fn put_node(&mut self, mut node: Node, status: NodeStatus) {
        if node.status != status {
            self.tell_node(&node, Some(node.status), Some(status));
            node.status = status;
            node.status_since = self.at;
        }
        node.version = self.revision;
        self.put(Row::Node(Arc::new(node)));
    }

    pub(super) fn update_node(&mut self, update: &NodeUpdate) -> Done {
        let mut node = Node::clone(&*self.node(update.node)?);
        if update.drain.is_some() && update.schedulable == Some(true) {
            let message = format!("node '{}' cannot be drained and take new work at once", node.name);
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        node.labels = update.labels.clone().unwrap_or(node.labels);
        node.schedulable = update.schedulable.unwrap_or(node.schedulable);
        if let Some(within) = update.drain {
            let since = node.drain.map_or(self.at, |drain| drain.since);
            // What an operator wants of a node outlasts its agent.
            let by_agent = node.drain.map_or(node.schedulable, |drain| drain.until_return);
            node.schedulable = false;
            let until_return = update.until_return && by_agent;
            node.drain = Some(Drain { since, deadline: self.at + within, until_return });
        } else if node.schedulable {
            node.drain = None;
        }
        let mut status = node.status;
        if update.lost && status != NodeStatus::Lost {
            if status != NodeStatus::Unreachable {
                return Err(Refusal::conflict(format!("node '{}' is not out of contact", node.name)));
            }
            status = NodeStatus::Lost;
            (node.epoch, node.held) = (node.epoch.next(), false);
        }
        self.put_node(node, status);
        Ok(Reply::Done)
    }

    pub(super) fn remove_node(&mut self, id: NodeId) -> Done {
        let node = self.node(id)?;
        let live: Vec<_> = self.state.instances_on(id).filter(|i| i.state.is_live()).cloned().collect();
        for instance in live {
            self.lose(&instance, ring_types::UnknownExit::NodeRemoved);
        }
        self.tell_node(&node, Some(node.status), None);
        self.delete(RowKey::Node(id));
        Ok(Reply::Done)
    }

    fn node(&self, id: NodeId) -> Result<Arc<Node>, Refusal> {
        self.state.node(id).cloned().ok_or_else(|| Refusal::not_found(format!("node '{id}'")))
    }
}

/// `wanted`, or `wanted-2`, `wanted-3` and so on, whichever is free first.
fn free_name(wanted: &Name, taken: impl Fn(&Name) -> bool) -> Name {
    let numbered = (2..).filter_map(|n: u32| {
        let text = format!("{wanted}-{n}");
        Name::new(&text).or_else(|_| Name::new(&format!("node-{n}"))).ok()
    });
    std::iter::once(wanted.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or_else(|| wanted.clone())
}
