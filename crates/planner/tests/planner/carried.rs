//! What deployments carry: secrets, configs and volumes that are there or not, and volumes that tie them to a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use ring_planner::{Waiting, affected};
use ring_state::{ApplyDeployment, Command, CreateVolume, RowKey, UnplacedReason};
use ring_types::{
    Condition, ConfigId, DeploymentId, DeploymentSpec, DeploymentStatus, Goal, KeyId, NodeId, NodeStatus, Permission, SecretId,
    Volume, VolumeDriver, VolumeId, VolumeKind,
};

use crate::world::{World, job, name, needs, worker};

fn mount(kind: VolumeKind, source: &str, key: Option<&str>) -> Volume {
    Volume {
        kind,
        source: source.to_owned(),
        destination: format!("/{source}"),
        key: key.map(str::to_owned),
        driver: VolumeDriver::Local,
        permission: Permission::ReadOnly,
    }
}

fn mounting(spec: DeploymentSpec, volumes: Vec<Volume>) -> DeploymentSpec {
    DeploymentSpec { volumes, ..spec }
}

fn volume(source: &str) -> Volume {
    mount(VolumeKind::Volume, source, None)
}

fn shared(source: &str) -> Volume {
    Volume { driver: VolumeDriver::Nfs, ..volume(source) }
}

impl World {
    fn put_secret(&mut self, label: &str) {
        let id = SecretId(self.fresh());
        self.apply(Command::PutSecret {
            id,
            namespace: name("ns"),
            name: name(label),
            sealed: vec![1],
            key: KeyId(0),
            create: true,
        });
    }

    fn put_config(&mut self, label: &str, keys: &[&str]) {
        let id = ConfigId(self.fresh());
        let data: BTreeMap<_, _> = keys.iter().map(|key| ((*key).to_owned(), String::new())).collect();
        let (namespace, name) = (name("ns"), name(label));
        self.apply(Command::PutConfig { id, namespace, name, data, labels: BTreeMap::new(), create: false });
    }

    pub(crate) fn put_volume(&mut self, label: &str, source: Option<&str>, node: Option<NodeId>) -> VolumeId {
        let id = VolumeId(self.fresh());
        let driver = if source.is_some() { VolumeDriver::Nfs } else { VolumeDriver::Local };
        let (source, labels) = (source.map(str::to_owned), BTreeMap::new());
        self.apply(Command::CreateVolume(CreateVolume {
            id,
            namespace: name("ns"),
            name: name(label),
            driver,
            source,
            labels,
            node,
        }));
        id
    }

    /// Applies it as a server does, with ids for the volumes it names.
    pub(crate) fn carry(&mut self, spec: DeploymentSpec) -> DeploymentId {
        let id = DeploymentId(self.fresh());
        let names: Vec<_> = spec.named_volumes().map(|(_, name)| name.to_string()).collect();
        let volumes = names.into_iter().map(|name| (name, VolumeId(self.fresh()))).collect();
        let one = ApplyDeployment { volumes, ..ApplyDeployment::new(id, Arc::new(spec)) };
        self.apply(Command::Apply {
            namespaces: Vec::new(),
            configs: Vec::new(),
            deployments: vec![one],
            force: false,
            rollout_deadline: None,
        });
        id
    }

    fn nodes_of(&self, id: DeploymentId) -> Vec<String> {
        self.live(id).iter().map(|i| self.state.node(i.node).unwrap().name.to_string()).collect()
    }
}

#[test]
fn each_thing_that_is_missing_is_named_with_its_field_and_heals() {
    let mut pull = job("pull");
    pull.config.image_pull_secret = Some("robot".to_owned());
    let mut variable = job("variable");
    variable.environment.insert("DB".to_owned(), ring_types::EnvValue::Secret("db".to_owned()));
    let config = |label, key| mounting(job(label), vec![mount(VolumeKind::Config, "settings", Some(key))]);
    type Heal = fn(&mut World);
    let cases: Vec<(DeploymentSpec, &str, Heal)> = vec![
        (
            variable,
            "secret 'db' does not exist in namespace 'ns', named in environment.DB: create it with `ring secret create db -n ns`",
            |world| world.put_secret("db"),
        ),
        (
            mounting(worker("file", 2), vec![volume("x"), mount(VolumeKind::Secret, "tls", None)]),
            "secret 'tls' does not exist in namespace 'ns', named in volumes[1].source",
            |world| world.put_secret("tls"),
        ),
        (pull, "secret 'robot' does not exist in namespace 'ns', named in config.image_pull_secret", |world| {
            world.put_secret("robot");
        }),
        (config("config", "a"), "config 'settings' does not exist in namespace 'ns', named in volumes[0].source", |world| {
            world.put_config("settings", &["a"]);
        }),
        (config("key", "b"), "config 'settings' has no key 'b' in namespace 'ns', named in volumes[0].key", |world| {
            world.put_config("settings", &["a", "b"]);
        }),
        (
            mounting(job("share"), vec![shared("films")]),
            "volume 'films' does not exist in namespace 'ns', named in volumes[0].source: create it with `ring volume create \
             films -n ns --driver nfs --source SERVER:/PATH`",
            |world| {
                world.put_volume("films", Some("files:/films"), None);
            },
        ),
    ];
    let mut world = World::with_nodes(2);
    for (spec, said, heal) in cases {
        let wanted = spec.wanted() as usize;
        let id = world.carry(spec);
        world.settle();
        let shown = world.deployment(id);
        assert_eq!((shown.status, shown.reason.as_str()), (DeploymentStatus::ConfigError, "config"), "{}", shown.message);
        assert!(shown.message.starts_with(said), "{}\n{said}", shown.message);
        heal(&mut world);
        world.settle();
        assert_eq!(world.deployment(id).status, DeploymentStatus::Creating, "{said}");
        assert_eq!(world.live(id).len(), wanted);
    }
}

#[test]
fn a_change_of_what_it_names_wakes_a_deployment() {
    let mut world = World::with_nodes(1);
    let mut spec = mounting(job("j"), vec![mount(VolumeKind::Secret, "tls", None), shared("films")]);
    spec.config.image_pull_secret = Some("robot".to_owned());
    let id = world.carry(spec);
    let other = world.carry(job("other"));
    let wakes = |world: &mut World, act: fn(&mut World)| {
        let before = world.state.clone();
        act(world);
        let changed = |state: &ring_state::State| -> Vec<RowKey> {
            let secrets = state.secrets().map(|s| RowKey::Secret(s.id));
            secrets.chain(state.volumes().map(|v| RowKey::Volume(v.id))).collect()
        };
        let (old, new) = (changed(&before), changed(&world.state));
        let keys: Vec<_> =
            new.iter().filter(|key| !old.contains(key)).chain(old.iter().filter(|key| !new.contains(key))).collect();
        let keys: Vec<_> = keys.into_iter().cloned().collect();
        assert_eq!(keys.len(), 1);
        let found = affected(&before, &keys, &world.state, &mut Waiting::default());
        found.contains(&id) && !found.contains(&other)
    };
    assert!(wakes(&mut world, |world| world.put_secret("tls")));
    assert!(wakes(&mut world, |world| world.put_secret("robot")));
    assert!(wakes(&mut world, |world| {
        world.put_volume("films", Some("files:/films"), None);
    }));
    assert!(wakes(&mut world, |world| {
        let id = world.state.volumes().next().unwrap().id;
        world.apply(Command::DeleteVolume { id, force: true });
    }));
}

#[test]
fn what_is_missing_never_blocks_a_delete() {
    let mut world = World::with_nodes(1);
    world.put_secret("tls");
    let id = world.carry(mounting(worker("w", 1), vec![mount(VolumeKind::Secret, "tls", None), volume("data")]));
    world.settle();
    world.run_all(id);
    let waiting = world.carry(mounting(worker("waiting", 1), vec![mount(VolumeKind::Config, "gone", Some("k"))]));
    world.settle();
    let (secret, data) = (world.state.secrets().next().unwrap().id, world.state.volumes().next().unwrap().id);
    world.apply(Command::DeleteSecret { id: secret, force: true });
    world.apply(Command::DeleteVolume { id: data, force: true });
    world.settle();
    assert_eq!(world.deployment(id).status, DeploymentStatus::Running, "what runs goes on");
    world.delete(id);
    world.delete(waiting);
    for _ in 0..6 {
        world.settle();
        world.obey();
    }
    world.settle();
    assert_eq!(world.state.deployments().count(), 0);
}

#[test]
fn a_local_volume_ties_every_instance_to_the_node_of_the_first() {
    let mut world = World::with_nodes(3);
    let id = world.carry(mounting(worker("w", 3), vec![volume("data")]));
    let other = world.carry(mounting(worker("other", 1), vec![volume("data")]));
    world.settle();
    let nodes = world.nodes_of(id);
    assert_eq!(nodes.len(), 3);
    assert!(nodes.iter().chain(&world.nodes_of(other)).all(|node| *node == nodes[0]), "{nodes:?}");
    let holder = world.state.volumes().next().unwrap().node;
    assert_eq!(holder, Some(world.live(id)[0].node));
    let free = world.carry(mounting(worker("free", 3), vec![volume("")]));
    world.settle();
    let mut nodes = world.nodes_of(free);
    nodes.sort();
    assert_eq!(nodes, ["n0", "n1", "n2"], "an anonymous volume ties nothing");
}

#[test]
fn the_refusal_says_where_the_data_is() {
    let mut world = World::with_nodes(3);
    let holder = world.state.nodes().find(|node| node.name.as_str() == "n1").unwrap().id;
    world.put_volume("data", None, Some(holder));
    world.create(needs(mounting(worker("full", 1), Vec::new()), 4000, 10));
    let id = world.carry(needs(mounting(worker("w", 1), vec![volume("data")]), 4000, 10));
    world.set_node(holder, NodeStatus::Unreachable);
    world.settle();
    let shown = world.deployment(id);
    assert_eq!((shown.status, &shown.conditions[..]), (DeploymentStatus::Pending, &[Condition::NotPlaced][..]));
    let reasons: Vec<_> = shown.placement_failure.clone().unwrap().reasons.into_iter().map(|r| (r.reason, r.nodes)).collect();
    let elsewhere = UnplacedReason::Volume { volume: "data".to_owned(), node: Some("n1".to_owned()) };
    assert_eq!(reasons, [(elsewhere, 2), (UnplacedReason::NotReady, 1)]);
    assert!(shown.message.contains("volume data is on n1, which rules out 2 nodes"), "{}", shown.message);
    let epoch = |world: &World| world.state.node(holder).unwrap().epoch;
    let before = epoch(&world);
    world.register(holder, 4000, 8000);
    assert!(epoch(&world) > before);
    world.settle();
    assert_eq!(world.nodes_of(id), ["n1"]);
}

#[test]
fn two_volumes_on_two_nodes_are_both_named() {
    let mut world = World::with_nodes(2);
    let ids: Vec<_> = world.state.nodes().map(|node| (node.name.to_string(), node.id)).collect();
    for (node, id) in &ids {
        world.put_volume(&format!("of-{node}"), None, Some(*id));
    }
    let id = world.carry(mounting(job("j"), vec![volume("of-n0"), volume("of-n1")]));
    world.settle();
    let message = world.deployment(id).message.clone();
    for said in ["volume of-n0 is on n0, which rules out 1 node", "volume of-n1 is on n1, which rules out 1 node"] {
        assert!(message.contains(said), "{message}");
    }
    assert_eq!(world.live(id).len(), 0);
}

#[test]
fn a_volume_of_a_removed_node_says_what_to_do() {
    let mut world = World::with_nodes(2);
    let node = world.state.nodes().next().unwrap().id;
    let data = world.put_volume("data", None, Some(node));
    world.apply(Command::RemoveNode { node });
    let id = world.carry(mounting(job("j"), vec![volume("data")]));
    world.settle();
    let message = world.deployment(id).message.clone();
    assert!(
        message.contains("volume data is on a node that was removed") && message.contains("ring volume delete data"),
        "{message}"
    );
    world.apply(Command::DeleteVolume { id: data, force: true });
    world.settle();
    assert_eq!(world.deployment(id).status, DeploymentStatus::ConfigError);
    world.put_volume("data", None, None);
    world.settle();
    assert_eq!(world.deployment(id).status, DeploymentStatus::Creating);
}

#[test]
fn a_file_server_ties_nothing() {
    let mut world = World::with_nodes(3);
    world.put_volume("films", Some("files:/films"), None);
    let id = world.carry(mounting(worker("w", 3), vec![shared("films")]));
    let direct = world.carry(mounting(worker("direct", 3), vec![shared("files:/films")]));
    world.settle();
    for id in [id, direct] {
        let mut nodes = world.nodes_of(id);
        nodes.sort();
        assert_eq!(nodes, ["n0", "n1", "n2"]);
    }
    assert_eq!(world.state.volumes().count(), 1, "an export of its own is no object");
}

#[test]
fn a_lost_node_keeps_its_data_and_the_worker_waits_for_it() {
    let mut world = World::with_nodes(2);
    let id = world.carry(mounting(worker("db", 1), vec![volume("data")]));
    world.settle();
    world.run_all(id);
    let holder = world.live(id)[0].node;
    world.set_node(holder, NodeStatus::Lost);
    world.settle();
    assert_eq!(world.live(id).len(), 0);
    assert!(world.deployment(id).message.contains("volume data is on"), "{}", world.deployment(id).message);
    world.register(holder, 4000, 8000);
    world.settle();
    let wanted: Vec<_> = world.live(id).into_iter().filter(|i| i.goal == Goal::Run).collect();
    assert_eq!(wanted.iter().map(|i| i.node).collect::<Vec<_>>(), [holder]);
}
