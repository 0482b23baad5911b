//! One entry changes the state. A refused command changes nothing but the clock and the memory of the request.

// Every command answers in the same shape, those that cannot be refused too.
#![allow(clippy::unnecessary_wraps)]

mod access;
mod audit;
mod authority;
mod cluster;
mod deployments;
mod generation;
mod instances;
mod keys;
mod moves;
mod plan;
mod records;
mod rollouts;
mod told;
mod volumes;
mod webhooks;

use std::collections::BTreeSet;
use std::sync::Arc;

use ring_types::{DeploymentId, InstanceId, NodeId, RequestId, Revision, Timestamp};

use crate::{
    Applied, ApplyConfig, Clock, Command, Entry, Event, EventKind, EventLevel, HookCommand, Instance, PastRequest, Refusal,
    Reply, Row, RowChange, RowKey, State, limits,
};

use deployments::Manner;

type Done = Result<Reply, Refusal>;

impl State {
    /// Applies the entry at `index`. The same request again changes nothing and gets the answer of the first time.
    pub fn apply(&mut self, index: Revision, entry: &Entry) -> Applied {
        if entry.request != RequestId::NONE
            && let Some(past) = self.past_request(entry.request).cloned()
        {
            self.revision = index;
            return Applied { revision: past.revision, reply: past.reply.clone(), rows: Vec::new() };
        }
        let command = entry.command.bare();
        let before = (!decides_first(command)).then(|| self.clone());
        let mut tx = Tx::begin(self, index, entry.at);
        let reply = match tx.run(command) {
            Ok(reply) => {
                tx.trim_events();
                reply
            }
            Err(refusal) => {
                debug_assert!(before.is_some() || tx.changed.iter().all(|key| *key == RowKey::Clock), "refused too late");
                if let Some(before) = &before {
                    *tx.state = before.clone();
                }
                tx.changed.clear();
                tx.tick();
                Reply::Refused(refusal)
            }
        };
        if let Command::Audited(audited) = &entry.command {
            tx.audit_command(&audited.note, command, before.as_ref(), &reply);
        }
        tx.remember(entry.request, &reply);
        let rows = tx.rows();
        self.revision = index;
        Applied { revision: index, reply, rows }
    }
}

/// Whether a command is refused before it changes anything, if at all, and says by itself what it is about. For the others a copy
/// is kept to go back to and to name what was there, and while there is one each change copies what it touches: the frequent
/// commands do without.
fn decides_first(command: &Command) -> bool {
    matches!(
        command,
        Command::PutConfig { .. }
            | Command::PutSecret { .. }
            | Command::Claim { .. }
            | Command::Report { .. }
            | Command::NoteTokenUse { .. }
            | Command::Hook(HookCommand::Settle { .. } | HookCommand::NoteLeader { .. })
    )
}

/// One entry under way: what it has changed so far.
struct Tx<'a> {
    state: &'a mut State,
    revision: Revision,
    at: Timestamp,
    changed: BTreeSet<RowKey>,
}

impl<'a> Tx<'a> {
    fn begin(state: &'a mut State, revision: Revision, at: Timestamp) -> Self {
        let at = at.max(state.clock.now);
        let mut tx = Self { state, revision, at, changed: BTreeSet::new() };
        tx.tick();
        tx
    }

    fn tick(&mut self) {
        let clock = Clock { now: self.at, ..self.state.clock };
        self.put(Row::Clock(clock));
    }

    fn run(&mut self, command: &Command) -> Done {
        match command {
            Command::Bootstrap(bootstrap) => self.bootstrap(bootstrap),
            Command::Apply { namespaces, configs, deployments, force, rollout_deadline } => {
                let manner = Manner::new(*force, *rollout_deadline);
                self.apply_manifest(namespaces, configs, deployments, manner)
            }
            Command::RestartDeployment(succession) => self.restart_deployment(succession),
            Command::RollbackDeployment(succession) => self.rollback_deployment(succession),
            Command::DeleteDeployments { ids } => self.delete_deployments(ids),
            Command::Prune { namespace, all } => self.prune(namespace, *all),
            Command::CreateNamespace { name } => self.create_namespace(name),
            Command::DeleteNamespace { name } => self.delete_namespace(name),
            Command::PutSecret { id, namespace, name, sealed, key, create } => {
                self.put_secret(*id, (namespace, name), (sealed, *key), *create)
            }
            Command::DeleteSecret { id, force } => self.delete_secret(*id, *force),
            Command::PutConfig { id, namespace, name, data, labels, create } => {
                let (namespace, name) = (namespace.clone(), name.clone());
                let config = ApplyConfig { id: *id, namespace, name, data: data.clone(), labels: labels.clone() };
                self.put_config(&config, *create)
            }
            Command::DeleteConfig { id, force } => self.delete_config(*id, *force),
            Command::CreateVolume(wanted) => self.create_volume(wanted),
            Command::DeleteVolume { id, force } => self.delete_volume(*id, *force),
            Command::CreateUser { id, username, password_hash, role } => self.create_user(*id, username, password_hash, *role),
            Command::UpdateUser(update) => self.update_user(update),
            Command::DeleteUser { id } => self.delete_user(*id),
            Command::CreateToken(token) => self.create_token(token),
            Command::RevokeTokens { ids } => self.revoke_tokens(ids),
            Command::RotateToken(rotation) => self.rotate_token(*rotation),
            Command::NoteTokenUse { uses } => self.note_token_use(uses),
            Command::CreateJoinToken(token) => self.create_join_token(token),
            Command::RevokeJoinToken { id } => self.revoke_join_token(*id),
            Command::EnrolNode(enrol) => self.enrol_node(enrol),
            Command::EnrolMember(enrol) => self.enrol_member(enrol),
            Command::UpdateMember { id, address, api_address } => self.update_member(*id, address, api_address),
            Command::ActivateMember { id } => self.activate_member(*id),
            Command::RemoveMember { id } => self.remove_member(*id),
            Command::RegisterNode { node, boot, info } => self.register_node(*node, *boot, info),
            Command::SetNodeStatus { changes } => self.set_node_status(changes),
            Command::UpdateNode(update) => self.update_node(update),
            Command::Rebalance(wanted) => self.rebalance(wanted),
            Command::RaiseLevel { level } => self.raise_level(*level),
            Command::RemoveNode { node } => self.remove_node(*node),
            Command::Claim { node, epoch, instances } => self.claim(*node, *epoch, instances),
            Command::Report { node, epoch, reports } => self.report(*node, *epoch, reports),
            Command::Audited(audited) => self.run(&audited.command),
            Command::RecordAudit { records } => {
                self.audit(records.clone());
                Ok(Reply::Done)
            }
            Command::RotateDataKey(wanted) => self.rotate_data_key(wanted),
            Command::Reseal(wanted) => self.reseal(wanted),
            Command::SettleDataKey { key } => self.settle_data_key(*key),
            Command::RotateCa(wanted) => self.rotate_ca(wanted),
            Command::ConfirmCa(wanted) => self.confirm_ca(wanted),
            Command::StepCa(wanted) => self.step_ca(wanted),
            Command::BeginGeneration(wanted) => self.begin_generation(wanted),
            Command::Hook(command) => self.hook(command),
            Command::Plan { actions } => self.plan(actions),
        }
    }

    fn put(&mut self, row: Row) {
        self.changed.insert(row.key());
        self.state.put(row);
    }

    fn delete(&mut self, key: RowKey) {
        self.state.delete(&key);
        self.changed.insert(key);
    }

    fn put_instance(&mut self, mut instance: Instance) {
        instance.version = self.revision;
        self.put(Row::Instance(Arc::new(instance)));
    }

    /// Records an event.
    fn event(&mut self, deployment: DeploymentId, level: EventLevel, kind: EventKind, at: EventAt, message: String) {
        let id = self.state.clock.next_event;
        self.put(Row::Clock(Clock { next_event: id + 1, ..self.state.clock }));
        let event = Event { id, deployment, at: self.at, level, kind, message, instance: at.0, node: at.1 };
        self.put(Row::Event(Arc::new(event)));
    }

    /// Of each deployment that got events the oldest ones go when there are too many: once for the entry, not for each event.
    fn trim_events(&mut self) {
        let of = |key: &RowKey| if let RowKey::Event(deployment, _) = key { Some(*deployment) } else { None };
        let noted: BTreeSet<DeploymentId> = self.changed.iter().filter_map(of).collect();
        for deployment in noted {
            let newest_first = self.state.events(deployment).rev();
            let surplus: Vec<u64> = newest_first.skip(limits::EVENTS_PER_DEPLOYMENT).map(|e| e.id).collect();
            for id in surplus {
                self.delete(RowKey::Event(deployment, id));
            }
        }
    }

    fn remember(&mut self, request: RequestId, reply: &Reply) {
        if request == RequestId::NONE {
            return;
        }
        let past = PastRequest { id: request, revision: self.revision, reply: reply.clone() };
        self.put(Row::Request(Arc::new(past)));
        while self.state.requests.len() > limits::PAST_REQUESTS {
            let Some((oldest, _)) = self.state.requests.get_min().cloned() else { break };
            self.delete(RowKey::Request(oldest));
        }
    }

    /// The rows as they are after the entry, in key order.
    fn rows(&self) -> Vec<RowChange> {
        self.changed.iter().map(|key| RowChange { key: key.clone(), row: self.state.row(key) }).collect()
    }
}

/// Which instance and node an event is about.
struct EventAt(Option<InstanceId>, Option<NodeId>);

impl EventAt {
    const NOTHING: Self = Self(None, None);

    fn instance(instance: &Instance) -> Self {
        Self(Some(instance.id), Some(instance.node))
    }
}
