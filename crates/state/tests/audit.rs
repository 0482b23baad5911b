//! The audit record: lines that come with changes, lines alone, and their end.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{World, deployment_id, job, name, worker};
use ring_state::{
    ApplyDeployment, AuditEntry, AuditNote, AuditObject, AuditRecord, AuditedCommand, Command, Reply, RowKey, State, limits,
};
use ring_types::{RequestId, Revision, SecretId};
use uuid::Uuid;

fn note(action: &str) -> AuditNote {
    AuditNote {
        user: "alice".into(),
        user_id: None,
        token: None,
        token_name: "ci".into(),
        address: "10.1.2.3".into(),
        served_by: "c1".into(),
        action: action.into(),
    }
}

fn by_alice(action: &str, command: Command) -> Command {
    Command::Audited(Box::new(AuditedCommand { note: note(action), command: Box::new(command) }))
}

fn apply(deployments: Vec<ApplyDeployment>) -> Command {
    Command::Apply { namespaces: Vec::new(), configs: Vec::new(), deployments, force: false, rollout_deadline: None }
}

fn lines(state: &State) -> Vec<&AuditEntry> {
    state.audit().map(AsRef::as_ref).collect()
}

fn told(object: &AuditObject) -> (&str, &str, &str) {
    (&object.kind, &object.name, &object.outcome)
}

#[test]
fn a_change_brings_its_line_one_for_each_namespace() {
    let mut world = World::new();
    world.apply(1, worker("web", 1));
    let mut elsewhere = job("migrate");
    elsewhere.namespace = name("other");
    let wanted = vec![
        ApplyDeployment::new(deployment_id(2), Arc::new(worker("web", 3))),
        ApplyDeployment::new(deployment_id(3), Arc::new(elsewhere)),
    ];
    let reply = world.run(by_alice("deployment.apply", apply(wanted)));
    assert!(matches!(reply, Reply::Deployments(_)), "the answer is that of the command: {reply:?}");
    let [ns, other] = lines(&world.state)[..] else { panic!("{:?}", lines(&world.state)) };
    assert_eq!((ns.record.namespace.clone(), other.record.namespace.clone()), (Some(name("ns")), Some(name("other"))));
    assert_eq!(ns.record.objects.iter().map(told).collect::<Vec<_>>(), [("deployment", "web", "scaled")]);
    assert_eq!(ns.record.objects[0].id, deployment_id(1).to_string());
    assert_eq!(other.record.objects.iter().map(told).collect::<Vec<_>>(), [("deployment", "migrate", "created")]);
    assert_eq!((ns.record.note.clone(), ns.record.refused.clone(), ns.record.count), (note("deployment.apply"), None, 1));
    let changed: Vec<_> = world.last.as_ref().unwrap().rows.iter().map(|row| row.key.clone()).collect();
    assert!(changed.contains(&RowKey::Audit(Revision(world.index), 0)), "it is written with the change: {changed:?}");
}

#[test]
fn a_refused_command_leaves_a_line_and_nothing_else() {
    let mut world = World::new();
    let id = SecretId(Uuid::from_u128(5));
    let refused = world.run(by_alice("secret.delete", Command::DeleteSecret { id, force: false }));
    let Reply::Refused(refusal) = refused else { panic!("{refused:?}") };
    let [line] = lines(&world.state)[..] else { panic!() };
    let told = line.record.refused.clone().unwrap();
    assert_eq!((told.code.as_str(), told.message), ("object.not_found", refusal.message));
    assert_eq!((line.record.namespace.clone(), line.record.objects[0].id.clone()), (None, id.to_string()));
}

#[test]
fn the_same_request_again_leaves_no_second_line() {
    let mut world = World::new();
    let request = RequestId(Uuid::from_u128(77));
    let command = by_alice("namespace.create", Command::CreateNamespace { name: name("shop") });
    assert_eq!(world.run_as(request, command.clone()), Reply::Done);
    assert_eq!(world.run_as(request, command), Reply::Done);
    assert_eq!(lines(&world.state).len(), 1);
}

#[test]
fn what_is_deleted_is_named() {
    let mut world = World::new();
    world.apply(1, worker("web", 1));
    world.run(by_alice("deployment.delete", Command::DeleteDeployments { ids: vec![deployment_id(1)] }));
    world.run(by_alice("namespace.prune", Command::Prune { namespace: name("ns"), all: true }));
    let [deleted, pruned] = lines(&world.state)[..] else { panic!() };
    assert_eq!(deleted.record.objects.iter().map(told).collect::<Vec<_>>(), [("deployment", "web", "deleting")]);
    assert_eq!(told(&pruned.record.objects[0]), ("namespace", "ns", ""));
}

#[test]
fn a_long_list_is_cut_and_counted() {
    let mut world = World::new();
    let count = limits::OBJECTS_PER_AUDIT_LINE + 20;
    let one = |i| ApplyDeployment::new(deployment_id(i as u128 + 1), Arc::new(job(&format!("j{i}"))));
    world.run(by_alice("deployment.apply", apply((0..count).map(one).collect())));
    let [line] = lines(&world.state)[..] else { panic!() };
    assert_eq!((line.record.objects.len(), line.record.more), (limits::OBJECTS_PER_AUDIT_LINE, 20));
}

fn alone(count: usize) -> Command {
    let one = |i| AuditRecord {
        note: note(&format!("deployment.logs{i}")),
        namespace: Some(name("ns")),
        objects: Vec::new(),
        more: 0,
        refused: None,
        count: 1,
    };
    Command::RecordAudit { records: (0..count).map(one).collect() }
}

#[test]
fn the_oldest_lines_go_first_by_number_and_by_age() {
    let mut world = World::new();
    world.run(alone(limits::AUDIT_LINES));
    let first = lines(&world.state)[0].clone();
    world.run(alone(2));
    assert_eq!(world.state.audit().count(), limits::AUDIT_LINES);
    assert_eq!(lines(&world.state)[0].part, first.part + 2);
    world.now += i64::try_from(limits::AUDIT_AGE.0).unwrap() - 1;
    world.run(alone(1));
    let kept: Vec<_> = lines(&world.state).iter().map(|line| line.revision.0).collect();
    assert_eq!(kept, [world.index - 1, world.index - 1, world.index], "what came with the first entry is too old now");
}
