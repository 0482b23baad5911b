//! Volumes and registry passwords: made, bound, copied, deleted.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{World, deployment_id, instance_id, name, node_id, worker};
use ring_state::{
    Action, ApplyDeployment, Command, CreateVolume, Outcome, RefusalCode, RegistryPassword, Reply, RowKey, State, Volume,
};
use ring_types::{DeploymentId, DeploymentSpec, InstanceState, KeyId, NodeId, Permission, VolumeDriver, VolumeId, VolumeKind};
use uuid::Uuid;

fn volume_id(n: u128) -> VolumeId {
    VolumeId(Uuid::from_u128(n))
}

fn mount(source: &str, driver: VolumeDriver) -> ring_types::Volume {
    let (kind, destination) = (VolumeKind::Volume, format!("/{source}"));
    ring_types::Volume { kind, source: source.into(), destination, key: None, driver, permission: Permission::ReadWrite }
}

fn mounting(label: &str, sources: &[&str]) -> DeploymentSpec {
    let volumes = sources.iter().map(|source| mount(source, VolumeDriver::Local)).collect();
    DeploymentSpec { volumes, ..worker(label, 1) }
}

/// Applies it with ids for the volumes it names: 100 and on.
fn apply(world: &mut World, n: u128, spec: DeploymentSpec) -> (DeploymentId, Outcome) {
    let ids = spec.named_volumes().zip(100..).map(|((_, name), id)| (name.to_string(), volume_id(id)));
    let volumes: BTreeMap<_, _> = ids.collect();
    send(world, ApplyDeployment { volumes, ..ApplyDeployment::new(deployment_id(n), Arc::new(spec)) })
}

fn send(world: &mut World, one: ApplyDeployment) -> (DeploymentId, Outcome) {
    match world.run(Command::Apply {
        namespaces: Vec::new(),
        configs: Vec::new(),
        deployments: vec![one],
        force: false,
        rollout_deadline: None,
    }) {
        Reply::Deployments(outcomes) => (outcomes[0].id, outcomes[0].outcome),
        other => panic!("{other:?}"),
    }
}

fn create(n: u128, label: &str) -> CreateVolume {
    let (driver, labels) = (VolumeDriver::Local, BTreeMap::new());
    CreateVolume { id: volume_id(n), namespace: name("ns"), name: name(label), driver, source: None, labels, node: None }
}

fn nfs(n: u128, label: &str) -> CreateVolume {
    CreateVolume { driver: VolumeDriver::Nfs, source: Some("files:/srv".into()), ..create(n, label) }
}

fn volume(world: &World, label: &str) -> Volume {
    Volume::clone(world.state.volume_named(&name("ns"), &name(label)).unwrap())
}

fn refusal(reply: Reply) -> (RefusalCode, String) {
    match reply {
        Reply::Refused(refusal) => (refusal.code, refusal.message),
        other => panic!("{other:?}"),
    }
}

fn place(world: &mut World, instance: u128, deployment: DeploymentId, node: NodeId) -> u32 {
    let id = instance_id(instance);
    world.plan(vec![Action::CreateInstance { id, deployment, slot: 0, attempt: 1, node, restart: false }])
}

#[test]
fn a_volume_that_is_named_is_made_once_and_bound_with_the_first_instance() {
    let mut world = World::new();
    let (n1, n2) = (world.node(1), world.node(2));
    let (db, _) = apply(&mut world, 1, mounting("db", &["data"]));
    assert_eq!((volume(&world, "data").id, volume(&world, "data").node), (volume_id(100), None));
    assert_eq!(place(&mut world, 1, db, n2), 0);
    let keys: Vec<_> = world.last.as_ref().unwrap().rows.iter().map(|change| change.key.clone()).collect();
    assert!(keys.contains(&RowKey::Volume(volume_id(100))) && keys.contains(&RowKey::Instance(instance_id(1))), "{keys:?}");
    assert_eq!(volume(&world, "data").node, Some(n2));

    let (other, _) = apply(&mut world, 2, mounting("other", &["data"]));
    assert_eq!(world.state.volumes().count(), 1, "the same volume");
    assert_eq!(place(&mut world, 2, other, n1), 1, "its data is elsewhere");
    assert_eq!(place(&mut world, 2, other, n2), 0);
}

#[test]
fn volumes_on_two_nodes_keep_a_deployment_from_both() {
    let mut world = World::new();
    let nodes = [world.node(1), world.node(2)];
    for (n, node) in nodes.into_iter().enumerate() {
        let wanted = CreateVolume { node: Some(node), ..create(n as u128, &format!("v{n}")) };
        assert_eq!(world.run(Command::CreateVolume(wanted)), Reply::Done);
    }
    let (both, _) = apply(&mut world, 1, mounting("both", &["v0", "v1"]));
    assert_eq!(nodes.map(|node| place(&mut world, 1, both, node)), [1, 1]);
    assert_eq!(world.state.instances().count(), 0);
}

#[test]
fn a_file_server_ties_nothing_and_is_never_made_by_a_deployment() {
    let mut world = World::new();
    let (n1, n2) = (world.node(1), world.node(2));
    let spec = |label| DeploymentSpec { volumes: vec![mount("share", VolumeDriver::Nfs)], ..worker(label, 1) };
    let (a, _) = apply(&mut world, 1, spec("a"));
    let (b, _) = apply(&mut world, 2, spec("b"));
    assert_eq!(world.state.volumes().count(), 0);
    assert_eq!(place(&mut world, 1, a, n1), 1, "there is no such volume");
    assert_eq!(world.run(Command::CreateVolume(nfs(7, "share"))), Reply::Done);
    assert_eq!((place(&mut world, 1, a, n1), place(&mut world, 2, b, n2)), (0, 0));
    assert_eq!(volume(&world, "share").node, None);
}

#[test]
fn what_is_mounted_is_not_deleted_without_force() {
    let mut world = World::new();
    let node = world.node(1);
    let (db, _) = apply(&mut world, 1, mounting("db", &["data"]));
    place(&mut world, 1, db, node);
    let id = volume(&world, "data").id;
    let delete = |force| Command::DeleteVolume { id, force };
    let (code, message) = refusal(world.run(delete(false)));
    assert_eq!(
        (code, message.as_str()),
        (RefusalCode::Conflict, "volume 'ns/data' is used by deployment 'db'; use force to delete it")
    );
    world.run(Command::DeleteDeployments { ids: vec![db] });
    assert!(refusal(world.run(delete(false))).1.contains("which has not stopped yet"));
    world.claim(node, 1, 1);
    world.report(node, 1, InstanceState::Exited, Some(ring_types::Outcome::Code(0)));
    assert_eq!(world.run(delete(false)), Reply::Done);
    assert_eq!(refusal(world.run(delete(false))).0, RefusalCode::NotFound);

    let (db, _) = apply(&mut world, 2, mounting("db", &["data"]));
    assert_eq!(place(&mut world, 2, db, node), 0);
    assert_eq!(world.run(Command::DeleteVolume { id: volume(&world, "data").id, force: true }), Reply::Done);
    assert_eq!(place(&mut world, 3, db, node), 1, "without its volume nothing of it starts");
    assert_eq!(apply(&mut world, 3, mounting("db", &["data"])).1, Outcome::Unchanged);
    assert_eq!(volume(&world, "data").node, None, "applying again makes it anew");
}

#[test]
fn a_volume_is_made_once_and_on_a_node_that_is_there() {
    let mut world = World::new();
    let node = world.node(1);
    let mine = CreateVolume { node: Some(node), ..create(1, "mine") };
    assert_eq!(world.run(Command::CreateVolume(mine)), Reply::Done);
    assert_eq!(volume(&world, "mine").node, Some(node));
    assert_eq!(refusal(world.run(Command::CreateVolume(create(2, "mine")))).0, RefusalCode::Conflict);
    let lost = CreateVolume { node: Some(node_id(9)), ..create(3, "lost") };
    assert_eq!(refusal(world.run(Command::CreateVolume(lost))).0, RefusalCode::NotFound);
    for wrong in [
        CreateVolume { source: None, ..nfs(4, "x") },
        CreateVolume { node: Some(node), ..nfs(4, "x") },
        CreateVolume { source: Some("files:/srv".into()), ..create(4, "x") },
    ] {
        assert_eq!(refusal(world.run(Command::CreateVolume(wrong))).0, RefusalCode::Invalid);
    }
    assert_eq!(world.state.volumes().count(), 1);
}

#[test]
fn a_namespace_with_a_volume_is_not_empty() {
    let mut world = World::new();
    world.run(Command::CreateVolume(create(1, "data")));
    let (code, message) = refusal(world.run(Command::DeleteNamespace { name: name("ns") }));
    assert_eq!((code, message.as_str()), (RefusalCode::Conflict, "namespace 'ns' still has 1 volume; delete those first"));
    world.run(Command::DeleteVolume { id: volume_id(1), force: false });
    assert_eq!(world.run(Command::DeleteNamespace { name: name("ns") }), Reply::Done);
}

#[test]
fn rows_are_enough_to_know_every_volume_by_name() {
    let mut world = World::new();
    let node = world.node(1);
    let (db, _) = apply(&mut world, 1, mounting("db", &["data"]));
    place(&mut world, 1, db, node);
    world.run(Command::CreateVolume(nfs(7, "share")));
    let loaded = State::from_rows(world.state.revision(), world.state.rows()).unwrap();
    assert_eq!(loaded.rows().collect::<Vec<_>>(), world.state.rows().collect::<Vec<_>>());
    for label in ["data", "share"] {
        assert_eq!(loaded.volume_named(&name("ns"), &name(label)), world.state.volume_named(&name("ns"), &name(label)));
    }
}

fn password(digest: u8, sealed: u8) -> RegistryPassword {
    RegistryPassword { sealed: vec![sealed; 4], key: KeyId(0), digest: [digest; 32] }
}

#[test]
fn the_same_password_is_unchanged_however_it_was_sealed() {
    let mut world = World::new();
    let mut send = |n, registry_password, replicas| {
        let spec = Arc::new(worker("w", replicas));
        send(&mut world, ApplyDeployment { registry_password, ..ApplyDeployment::new(deployment_id(n), spec) })
    };
    assert_eq!(send(1, Some(password(1, 10)), 1), (deployment_id(1), Outcome::Created));
    assert_eq!(send(2, Some(password(1, 20)), 1), (deployment_id(1), Outcome::Unchanged));
    assert_eq!(send(3, Some(password(1, 30)), 4), (deployment_id(1), Outcome::Scaled));
    assert_eq!(send(4, Some(password(2, 40)), 4), (deployment_id(4), Outcome::Replaced(deployment_id(1))));
    assert_eq!(send(5, None, 4), (deployment_id(5), Outcome::Replaced(deployment_id(4))));
    let kept = |n| world.state.deployment(deployment_id(n)).unwrap().registry_password.clone();
    assert_eq!((kept(4), kept(5)), (Some(password(2, 40)), None));
    assert_eq!(format!("{:?}", kept(4)), "Some(RegistryPassword(..))");
}

#[test]
fn every_reference_of_a_deployment_keeps_its_object() {
    let mut world = World::new();
    let put = |n, label: &str| Command::PutSecret {
        id: ring_types::SecretId(Uuid::from_u128(n)),
        namespace: name("ns"),
        name: name(label),
        sealed: vec![1],
        key: KeyId(0),
        create: true,
    };
    for (n, label) in [(1, "variable"), (2, "file"), (3, "pull")] {
        assert_eq!(world.run(put(n, label)), Reply::Done);
    }
    let mut spec = worker("w", 1);
    spec.environment.insert("V".into(), ring_types::EnvValue::Secret("variable".into()));
    spec.volumes = vec![ring_types::Volume { kind: VolumeKind::Secret, ..mount("file", VolumeDriver::Local) }];
    spec.config.image_pull_secret = Some("pull".into());
    world.apply(1, spec);
    for n in 1..=3 {
        let id = ring_types::SecretId(Uuid::from_u128(n));
        assert!(refusal(world.run(Command::DeleteSecret { id, force: false })).1.contains("used by deployment 'w'"));
    }
    world.run(Command::DeleteDeployments { ids: vec![deployment_id(1)] });
    let id = ring_types::SecretId(Uuid::from_u128(2));
    assert_eq!(world.run(Command::DeleteSecret { id, force: false }), Reply::Done, "what goes keeps nothing");
}
