//! Rows and the indexes derived from them change together.

use imbl::OrdMap;
use ring_types::{InstanceId, Level, NodeId, WebhookId};

use crate::state::Usage;
use crate::{Backlog, Delivery, Instance, Row, RowKey, State};

impl State {
    /// Writes a row and its indexes; true when a row of that key was there.
    pub(crate) fn put(&mut self, row: Row) -> bool {
        match row {
            Row::Meta(o) => self.meta.replace(o).is_some(),
            Row::Clock(o) => {
                self.clock = o;
                false
            }
            Row::Namespace(o) => self.namespaces.insert(o.name.clone(), o).is_some(),
            Row::Deployment(o) => {
                self.deployment_names.insert((o.spec.namespace.clone(), o.spec.name.clone(), o.id));
                if let Some(old) = o.replaces {
                    self.replacements.insert((old, o.id));
                }
                for dependency in &o.spec.depends_on {
                    self.dependents.insert((o.spec.namespace.clone(), dependency.deployment.clone(), o.id));
                }
                self.deployments.insert(o.id, o).is_some()
            }
            Row::Instance(o) => self.put_instance(o),
            Row::Node(o) => self.nodes.insert(o.id, o).is_some(),
            Row::Secret(o) => {
                self.secret_names.insert((o.namespace.clone(), o.name.clone()), o.id);
                self.secrets.insert(o.id, o).is_some()
            }
            Row::Config(o) => {
                self.config_names.insert((o.namespace.clone(), o.name.clone()), o.id);
                self.configs.insert(o.id, o).is_some()
            }
            Row::Audit(o) => self.audit.insert((o.revision, o.part), o).is_some(),
            Row::CaRotation(o) => self.ca_rotation.replace(o).is_some(),
            Row::Level(o) => std::mem::replace(&mut self.level, o.level) != Level::FIRST,
            Row::DataKey(o) => self.data_keys.insert(o.id, o).is_some(),
            Row::Volume(o) => {
                self.volume_names.insert((o.namespace.clone(), o.name.clone()), o.id);
                self.volumes.insert(o.id, o).is_some()
            }
            Row::User(o) => {
                if let Some(old) = self.users.get(&o.id)
                    && old.username != o.username
                {
                    let old = old.username.clone();
                    self.user_names.remove(&old);
                }
                self.user_names.insert(o.username.clone(), o.id);
                self.users.insert(o.id, o).is_some()
            }
            Row::Token(o) => {
                if let Some(old) = self.tokens.get(&o.id)
                    && old.hash != o.hash
                {
                    let old = old.hash;
                    self.token_hashes.remove(&old);
                }
                self.token_hashes.insert(o.hash, o.id);
                self.user_tokens.insert((o.user, o.id));
                self.tokens.insert(o.id, o).is_some()
            }
            Row::JoinToken(o) => self.join_tokens.insert(o.id, o).is_some(),
            Row::Member(o) => self.members.insert(o.id, o).is_some(),
            Row::Webhook(o) => self.webhooks.insert(o.id, o).is_some(),
            Row::Delivery(o) => self.put_delivery(o),
            Row::Leader(o) => self.leader.replace(o).is_some(),
            Row::Event(o) => self.events.insert((o.deployment, o.id), o).is_some(),
            Row::Request(o) => {
                self.request_ids.insert(o.id, o.revision);
                self.requests.insert(o.revision, o).is_some()
            }
        }
    }

    /// Deletes a row and its indexes.
    pub(crate) fn delete(&mut self, key: &RowKey) {
        match key {
            RowKey::Meta => self.meta = None,
            RowKey::Clock => self.clock = crate::Clock::default(),
            RowKey::Namespace(name) => drop(self.namespaces.remove(name)),
            RowKey::Deployment(id) => {
                if let Some(o) = self.deployments.remove(id) {
                    self.deployment_names.remove(&(o.spec.namespace.clone(), o.spec.name.clone(), o.id));
                    if let Some(old) = o.replaces {
                        self.replacements.remove(&(old, o.id));
                    }
                    for dependency in &o.spec.depends_on {
                        self.dependents.remove(&(o.spec.namespace.clone(), dependency.deployment.clone(), o.id));
                    }
                }
            }
            RowKey::Instance(id) => self.delete_instance(*id),
            RowKey::Node(id) => drop(self.nodes.remove(id)),
            RowKey::Secret(id) => {
                if let Some(o) = self.secrets.remove(id) {
                    self.secret_names.remove(&(o.namespace.clone(), o.name.clone()));
                }
            }
            RowKey::Config(id) => {
                if let Some(o) = self.configs.remove(id) {
                    self.config_names.remove(&(o.namespace.clone(), o.name.clone()));
                }
            }
            RowKey::Audit(revision, part) => {
                self.audit.remove(&(*revision, *part));
            }
            RowKey::CaRotation => self.ca_rotation = None,
            RowKey::Level => self.level = Level::FIRST,
            RowKey::DataKey(id) => drop(self.data_keys.remove(id)),
            RowKey::Volume(id) => {
                if let Some(o) = self.volumes.remove(id) {
                    self.volume_names.remove(&(o.namespace.clone(), o.name.clone()));
                }
            }
            RowKey::User(id) => {
                if let Some(o) = self.users.remove(id) {
                    self.user_names.remove(&o.username);
                }
            }
            RowKey::Token(id) => {
                if let Some(o) = self.tokens.remove(id) {
                    self.token_hashes.remove(&o.hash);
                    self.user_tokens.remove(&(o.user, o.id));
                }
            }
            RowKey::JoinToken(id) => drop(self.join_tokens.remove(id)),
            RowKey::Member(id) => drop(self.members.remove(id)),
            RowKey::Webhook(id) => drop(self.webhooks.remove(id)),
            RowKey::Delivery(webhook, number) => self.delete_delivery(*webhook, *number),
            RowKey::Leader => self.leader = None,
            RowKey::Event(deployment, id) => drop(self.events.remove(&(*deployment, *id))),
            RowKey::Request(revision) => {
                if let Some(o) = self.requests.remove(revision) {
                    self.request_ids.remove(&o.id);
                }
            }
        }
    }

    fn put_instance(&mut self, new: std::sync::Arc<Instance>) -> bool {
        let old = self.instances.insert(new.id, new.clone());
        if old.is_none() {
            self.deployment_instances.insert((new.deployment, new.id));
            self.node_instances.insert((new.node, new.id));
        }
        // What it holds is the same all its life, so that only the change between holding it and not is a change.
        let (existed, held) = (old.is_some(), old.as_ref().is_some_and(|old| old.holds()));
        if held != new.holds() {
            self.account(&new, !held);
        }
        if new.moving.is_some() && new.state.is_live() {
            self.moving.insert(new.id);
        } else if old.is_some_and(|old| old.moving.is_some()) {
            self.moving.remove(&new.id);
        }
        existed
    }

    fn delete_instance(&mut self, id: InstanceId) {
        let Some(o) = self.instances.remove(&id) else { return };
        self.deployment_instances.remove(&(o.deployment, o.id));
        self.node_instances.remove(&(o.node, o.id));
        if o.moving.is_some() {
            self.moving.remove(&o.id);
        }
        if o.holds() {
            self.account(&o, false);
        }
    }

    fn put_delivery(&mut self, new: std::sync::Arc<Delivery>) -> bool {
        let old = self.deliveries.insert((new.webhook, new.number), new.clone());
        if let Some(old) = &old {
            self.index_delivery(old, false);
        }
        self.index_delivery(&new, true);
        old.is_some()
    }

    fn delete_delivery(&mut self, webhook: WebhookId, number: u64) {
        if let Some(old) = self.deliveries.remove(&(webhook, number)) {
            self.index_delivery(&old, false);
        }
    }

    /// Adds a delivery to those that wait or to the dead letters, or takes it off.
    fn index_delivery(&mut self, delivery: &Delivery, add: bool) {
        let tables = &mut **self;
        let key = (delivery.webhook, delivery.number);
        match (delivery.due, add) {
            (Some(at), true) => {
                tables.pending.insert(key);
                tables.due.insert((key.0, at, key.1));
            }
            (Some(at), false) => {
                tables.pending.remove(&key);
                tables.due.remove(&(key.0, at, key.1));
            }
            (None, true) => drop(tables.dead.insert(key)),
            (None, false) => drop(tables.dead.remove(&key)),
        }
        count(&mut tables.backlogs, delivery, add);
    }

    /// Adds an instance to its node's usage and ports, or takes it off.
    fn account(&mut self, instance: &Instance, add: bool) {
        let tables = &mut **self;
        let Some(deployment) = tables.deployments.get(&instance.deployment) else { return };
        for port in &deployment.spec.ports {
            let held = (instance.node, port.published, instance.id);
            if add {
                tables.published.insert(held);
            } else {
                tables.published.remove(&held);
            }
        }
        let (cpu, memory) = deployment.spec.resources.reserved();
        change(&mut tables.usage, instance.node, |usage| {
            if add {
                usage.cpu.0 += cpu.0;
                usage.memory.0 += memory.0;
                usage.instances += 1;
            } else {
                usage.cpu.0 = usage.cpu.0.saturating_sub(cpu.0);
                usage.memory.0 = usage.memory.0.saturating_sub(memory.0);
                usage.instances = usage.instances.saturating_sub(1);
            }
        });
    }
}

fn count(backlogs: &mut OrdMap<WebhookId, Backlog>, delivery: &Delivery, add: bool) {
    let mut backlog = backlogs.get(&delivery.webhook).copied().unwrap_or_default();
    let counter = if delivery.due.is_some() { &mut backlog.pending } else { &mut backlog.dead };
    *counter = if add { *counter + 1 } else { counter.saturating_sub(1) };
    if backlog == Backlog::default() {
        backlogs.remove(&delivery.webhook);
    } else {
        backlogs.insert(delivery.webhook, backlog);
    }
}

fn change(usage: &mut OrdMap<NodeId, Usage>, node: NodeId, edit: impl FnOnce(&mut Usage)) {
    let mut value = usage.get(&node).copied().unwrap_or_default();
    edit(&mut value);
    if value == Usage::default() {
        usage.remove(&node);
    } else {
        usage.insert(node, value);
    }
}

impl State {
    /// The row of a key as it is now.
    pub fn row(&self, key: &RowKey) -> Option<Row> {
        match key {
            RowKey::Meta => self.meta.clone().map(Row::Meta),
            RowKey::Clock => Some(Row::Clock(self.clock)),
            RowKey::Namespace(k) => self.namespaces.get(k).cloned().map(Row::Namespace),
            RowKey::Deployment(k) => self.deployments.get(k).cloned().map(Row::Deployment),
            RowKey::Instance(k) => self.instances.get(k).cloned().map(Row::Instance),
            RowKey::Node(k) => self.nodes.get(k).cloned().map(Row::Node),
            RowKey::Secret(k) => self.secrets.get(k).cloned().map(Row::Secret),
            RowKey::Config(k) => self.configs.get(k).cloned().map(Row::Config),
            RowKey::User(k) => self.users.get(k).cloned().map(Row::User),
            RowKey::Token(k) => self.tokens.get(k).cloned().map(Row::Token),
            RowKey::JoinToken(k) => self.join_tokens.get(k).cloned().map(Row::JoinToken),
            RowKey::Member(k) => self.members.get(k).cloned().map(Row::Member),
            RowKey::Event(deployment, id) => self.events.get(&(*deployment, *id)).cloned().map(Row::Event),
            RowKey::CaRotation => self.ca_rotation.clone().map(Row::CaRotation),
            RowKey::Level => self.level_row(),
            RowKey::DataKey(id) => self.data_keys.get(id).cloned().map(Row::DataKey),
            RowKey::Audit(revision, part) => self.audit.get(&(*revision, *part)).cloned().map(Row::Audit),
            RowKey::Volume(k) => self.volumes.get(k).cloned().map(Row::Volume),
            RowKey::Request(k) => self.requests.get(k).cloned().map(Row::Request),
            RowKey::Webhook(k) => self.webhooks.get(k).cloned().map(Row::Webhook),
            RowKey::Delivery(webhook, number) => self.deliveries.get(&(*webhook, *number)).cloned().map(Row::Delivery),
            RowKey::Leader => self.leader.clone().map(Row::Leader),
        }
    }
}
