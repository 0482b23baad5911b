//! The lines of the audit record that an entry brings.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use ring_types::{DeploymentId, Name, TokenId, UserId};

use super::Tx;
use crate::{
    AuditEntry, AuditNote, AuditObject, AuditRecord, AuditRefusal, Command, HookCommand, Outcome, Relocation, Reply, Row, RowKey,
    State, limits,
};

/// Objects by namespace; None: they are in none.
type Objects = BTreeMap<Option<Name>, Vec<AuditObject>>;

impl Tx<'_> {
    /// Records a command of somebody and what became of it. `before` is the state it met; None when nothing has to be looked up there.
    pub(super) fn audit_command(&mut self, note: &AuditNote, command: &Command, before: Option<&State>, reply: &Reply) {
        let after: &State = self.state;
        let before = before.unwrap_or(after);
        let told = matches!(reply, Reply::Deployments(_) | Reply::Deleted(_));
        let mut objects = named(before, command, told);
        answered(&mut objects, (before, after), reply);
        if objects.is_empty() {
            objects.insert(None, Vec::new());
        }
        let refused = if let Reply::Refused(refusal) = reply {
            Some(AuditRefusal { code: refusal.code.as_str().to_owned(), message: refusal.message.clone() })
        } else {
            None
        };
        let of = |(namespace, objects)| record(note.clone(), namespace, objects, refused.clone());
        self.audit(objects.into_iter().map(of).collect());
    }

    /// Keeps these lines; the oldest go when there are too many, and those that are too old.
    pub(super) fn audit(&mut self, records: Vec<AuditRecord>) {
        for (part, record) in (0_u32..).zip(records) {
            let entry = AuditEntry { revision: self.revision, part, at: self.at, record };
            self.put(Row::Audit(Arc::new(entry)));
        }
        while let Some(oldest) = self.state.audit.values().next() {
            let old = oldest.at.0.saturating_add(i64::try_from(limits::AUDIT_AGE.0).unwrap_or(i64::MAX)) < self.at.0;
            if !old && self.state.audit.len() <= limits::AUDIT_LINES {
                break;
            }
            let key = RowKey::Audit(oldest.revision, oldest.part);
            self.delete(key);
        }
    }
}

fn record(note: AuditNote, namespace: Option<Name>, mut objects: Vec<AuditObject>, refused: Option<AuditRefusal>) -> AuditRecord {
    let more = u32::try_from(objects.len().saturating_sub(limits::OBJECTS_PER_AUDIT_LINE)).unwrap_or(u32::MAX);
    objects.truncate(limits::OBJECTS_PER_AUDIT_LINE);
    AuditRecord { note, namespace, objects, more, refused, count: 1 }
}

fn object(kind: &str, name: impl Display, id: impl Display, outcome: &str) -> AuditObject {
    AuditObject { kind: kind.to_owned(), name: name.to_string(), id: id.to_string(), outcome: outcome.to_owned() }
}

const fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Created => "created",
        Outcome::Scaled => "scaled",
        Outcome::Replaced(_) => "replaced",
        Outcome::Updated(_) => "updated",
        Outcome::Restored(_) => "restored",
        Outcome::Unchanged => "unchanged",
    }
}

/// What the answer tells of the objects: new ids, and what became of each.
fn answered(objects: &mut Objects, (before, after): (&State, &State), reply: &Reply) {
    let mut deployment = |id: DeploymentId, outcome: &str| {
        if let Some(found) = after.deployment(id).or_else(|| before.deployment(id)) {
            let listed = objects.entry(Some(found.spec.namespace.clone())).or_default();
            listed.push(object("deployment", &found.spec.name, id, outcome));
        }
    };
    match reply {
        Reply::Deployments(outcomes) => outcomes.iter().for_each(|one| deployment(one.id, word(&one.outcome))),
        Reply::Deleted(ids) => ids.iter().for_each(|id| deployment(*id, "deleting")),
        Reply::Member(id, name) => objects.entry(None).or_default().push(object("member", name, id, "admitted")),
        Reply::Node(id, name) => objects.entry(None).or_default().push(object("node", name, id, "admitted")),
        _ => {}
    }
}

/// The objects a command names, as far as they are there; without the deployments when the answer has told of them.
fn named(state: &State, command: &Command, told: bool) -> Objects {
    let mut objects = Objects::new();
    let mut add = |namespace: Option<&Name>, object| objects.entry(namespace.cloned()).or_default().push(object);
    match command {
        Command::Apply { namespaces, configs, deployments, .. } => {
            for name in namespaces {
                add(Some(name), object("namespace", name, "", ""));
            }
            for one in configs {
                add(Some(&one.namespace), object("config", &one.name, "", ""));
            }
            for one in deployments.iter().filter(|_| !told) {
                add(Some(&one.spec.namespace), object("deployment", &one.spec.name, "", ""));
            }
        }
        Command::Prune { namespace: name, .. } | Command::CreateNamespace { name } | Command::DeleteNamespace { name } => {
            add(Some(name), object("namespace", name, "", ""));
        }
        Command::PutSecret { id, namespace, name, .. } => add(Some(namespace), object("secret", name, id, "")),
        Command::PutConfig { id, namespace, name, .. } => add(Some(namespace), object("config", name, id, "")),
        Command::CreateVolume(one) => add(Some(&one.namespace), object("volume", &one.name, one.id, "")),
        _ => {
            for (namespace, object) in by_id(state, command, told) {
                add(namespace, object);
            }
        }
    }
    objects
}

/// The objects a command names by their ids alone, each with its namespace as far as it is there.
fn by_id<'s>(state: &'s State, command: &Command, told: bool) -> Vec<(Option<&'s Name>, AuditObject)> {
    let one = |kind: &str, found: Option<(&'s Name, &'s Name)>, id: &dyn Display| {
        (found.map(|(namespace, _)| namespace), object(kind, found.map_or("", |(_, name)| name.as_str()), id, ""))
    };
    let deployment = |id: &DeploymentId| {
        let found = state.deployment(*id).map(|d| (&d.spec.namespace, &d.spec.name));
        one("deployment", found, id)
    };
    match command {
        Command::RestartDeployment(_) | Command::RollbackDeployment(_) | Command::DeleteDeployments { .. } if told => Vec::new(),
        Command::RestartDeployment(which) | Command::RollbackDeployment(which) => vec![deployment(&which.id)],
        Command::DeleteDeployments { ids } => ids.iter().map(deployment).collect(),
        Command::DeleteSecret { id, .. } => vec![one("secret", state.secret(*id).map(|o| (&o.namespace, &o.name)), id)],
        Command::DeleteConfig { id, .. } => vec![one("config", state.config(*id).map(|o| (&o.namespace, &o.name)), id)],
        Command::DeleteVolume { id, .. } => vec![one("volume", state.volume(*id).map(|o| (&o.namespace, &o.name)), id)],
        _ => of_the_cluster(state, command).into_iter().map(|object| (None, object)).collect(),
    }
}

/// The objects a command names that are in no namespace.
fn of_the_cluster(state: &State, command: &Command) -> Vec<AuditObject> {
    let user = |id: &UserId| state.user(*id).map_or("", |o| o.username.as_str());
    let token = |id: &TokenId| object("token", state.token(*id).map_or("", |o| o.name.as_str()), id, "");
    match command {
        Command::CreateUser { id, username, .. } => vec![object("user", username, id, "")],
        Command::UpdateUser(update) => vec![object("user", user(&update.id), update.id, "")],
        Command::DeleteUser { id } => vec![object("user", user(id), id, "")],
        Command::CreateToken(one) => vec![object("token", &one.name, one.id, "")],
        Command::RotateToken(rotation) => vec![token(&rotation.id)],
        Command::RevokeTokens { ids } => ids.iter().map(token).collect(),
        Command::CreateJoinToken(one) => vec![object("join-token", "", one.id, "")],
        Command::RevokeJoinToken { id } => vec![object("join-token", "", id, "")],
        Command::BeginGeneration(wanted) => vec![object("generation", "", wanted.generation, "")],
        Command::RotateCa(_) => vec![object("authority", "", "", "new")],
        Command::StepCa(step) if step.force => vec![object("authority", "", "", "forced")],
        Command::RotateDataKey(wanted) => vec![object("data-key", "", wanted.id, "")],
        Command::Hook(HookCommand::Create(one)) => vec![object("webhook", origin(&one.url), one.id, "")],
        Command::Hook(
            HookCommand::Delete { webhook } | HookCommand::Test { webhook } | HookCommand::Redeliver { webhook, .. },
        ) => {
            let url = state.webhook(*webhook).map_or("", |o| o.url.as_str());
            vec![object("webhook", origin(url), webhook, "")]
        }
        Command::UpdateNode(update) => vec![node(state, update.node)],
        Command::RemoveNode { node: id } => vec![node(state, *id)],
        Command::Rebalance(wanted) => wanted.moves.iter().map(|one| instance(state, one)).collect(),
        Command::ActivateMember { id } | Command::RemoveMember { id } | Command::UpdateMember { id, .. } => {
            vec![object("member", state.member(*id).map_or("", |o| o.name.as_str()), id, "")]
        }
        _ => Vec::new(),
    }
}

/// The scheme, host and port of an address: what comes after them may be a secret of the receiver.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

fn node(state: &State, id: ring_types::NodeId) -> AuditObject {
    object("node", state.node(id).map_or("", |o| o.name.as_str()), id, "")
}

/// An instance that is to move, by the name of its deployment, and the node it is to go to.
fn instance(state: &State, wanted: &Relocation) -> AuditObject {
    let deployment = state.instance(wanted.instance).and_then(|instance| state.deployment(instance.deployment));
    let name = deployment.map(|d| format!("{}/{}", d.spec.namespace, d.spec.name)).unwrap_or_default();
    let to = state.node(wanted.to).map(|to| format!("to {}", to.name)).unwrap_or_default();
    object("instance", name, wanted.instance, &to)
}
