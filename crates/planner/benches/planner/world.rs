//! A cluster in memory, made of the entries a real one is made of.

use std::collections::BTreeSet;
use std::sync::Arc;

use ring_planner::{IdSource, Moment, Plan, plan};
use ring_state::{ApplyDeployment, Command, EnrolNode, Entry, Reply, State};
use ring_types::{
    ConfigId, Cpu, DeploymentId, DeploymentSpec, EnvValue, InstanceId, KeyId, Kind, Memory, Name, NodeCapacity, NodeId, NodeInfo,
    RequestId, RuntimeKind, RuntimeReport, SecretId, Timestamp,
};
use uuid::Uuid;

/// Deployments of one manifest, as the largest one that is allowed.
const MANIFEST: u32 = 1_000;
/// Deployments of one plan: what it holds of ten instances each.
pub(crate) const BATCH: usize = 180;

/// State, clock and identities.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) ids: Ids,
    pub(crate) now: Timestamp,
}

/// Identities as a cluster gives them: those of instances by time, all others at random.
#[derive(Clone, Default)]
pub(crate) struct Ids(u64);

impl Ids {
    fn random(&mut self) -> Uuid {
        self.0 += 1;
        Uuid::from_u64_pair(scatter(self.0), scatter(!self.0))
    }

    fn by_time(&mut self) -> Uuid {
        self.0 += 1;
        Uuid::from_u64_pair((1_700_000_000_000 + self.0) << 16, scatter(self.0))
    }
}

impl IdSource for Ids {
    fn instance(&mut self) -> InstanceId {
        InstanceId(self.by_time())
    }
}

/// Numbers in no order, the same in each run (the finalizer of SplitMix64).
pub(crate) fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A worker as people write them.
pub(crate) fn worker(namespace: &str, label: &str, replicas: u32) -> DeploymentSpec {
    let image = "registry.example.com/team/service:1.4.2";
    let mut spec = DeploymentSpec::new(name(namespace), name(label), Kind::Worker, RuntimeKind::Docker, image);
    spec.replicas = replicas;
    spec.resources.requests.cpu = Some(Cpu(250));
    spec.resources.requests.memory = Some(Memory(512 << 20));
    for key in ["DATABASE_HOST", "LOG_LEVEL", "LISTEN_ADDRESS"] {
        spec.environment.insert(key.to_owned(), EnvValue::Plain(format!("value-of-{key}")));
    }
    spec.labels.insert("team".to_owned(), namespace.to_owned());
    spec
}

/// A manifest with nothing but deployments.
pub(crate) fn apply(deployments: Vec<ApplyDeployment>) -> Command {
    Command::Apply { namespaces: Vec::new(), configs: Vec::new(), deployments, force: false, rollout_deadline: None }
}

impl World {
    /// Nodes with an agent in contact, and nothing to do. Each has room for some more than a hundred workers.
    pub(crate) fn with_nodes(count: u32) -> Self {
        let mut world = Self { state: State::default(), ids: Ids::default(), now: Timestamp(1_700_000_000_000) };
        for n in 0..count {
            let node = NodeId(world.ids.random());
            let zone = format!("zone-{}", n % 100);
            let labels = [("zone".to_owned(), zone)].into();
            world.run(Command::EnrolNode(EnrolNode {
                token: None,
                node,
                name: name(&format!("host-{n}")),
                member: None,
                labels,
            }));
            let runtimes = vec![RuntimeReport { kind: RuntimeKind::Docker, version: "28.0".into(), problem: None }];
            let capacity = NodeCapacity { cpu: Cpu(32_000), memory: Memory(64 << 30) };
            let boot = RequestId(world.ids.random());
            let info = NodeInfo { capacity, runtimes, ..NodeInfo::default() };
            world.run(Command::RegisterNode { node, boot, info });
        }
        world
    }

    pub(crate) fn entry(&mut self, command: Command) -> Entry {
        self.now.0 += 1;
        Entry { at: self.now, request: RequestId::NONE, command }
    }

    pub(crate) fn run(&mut self, command: Command) -> Reply {
        let entry = self.entry(command);
        let index = self.state.revision().next();
        let reply = self.state.apply(index, &entry).reply;
        assert!(!matches!(reply, Reply::Refused(_)), "{reply:?}");
        reply
    }

    /// Workers in a hundred namespaces, none of them placed yet.
    pub(crate) fn deploy(&mut self, count: u32, replicas: u32) -> Vec<DeploymentId> {
        let mut all = Vec::new();
        for first in (0..count).step_by(MANIFEST as usize) {
            let numbers = first..count.min(first + MANIFEST);
            let specs = numbers.map(|n| worker(&format!("team-{}", n % 100), &format!("service-{n}"), replicas));
            all.extend(self.apply(specs.collect()));
        }
        all
    }

    pub(crate) fn apply(&mut self, specs: Vec<DeploymentSpec>) -> Vec<DeploymentId> {
        let one = |spec| ApplyDeployment::new(DeploymentId(self.ids.random()), Arc::new(spec));
        let deployments = specs.into_iter().map(one).collect();
        match self.run(apply(deployments)) {
            Reply::Deployments(outcomes) => outcomes.into_iter().map(|outcome| outcome.id).collect(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn plan(&mut self, dirty: &BTreeSet<DeploymentId>) -> Plan {
        plan(&self.state, dirty, Moment { now: self.now, leading_since: Timestamp(0) }, &mut self.ids)
    }

    /// As many secrets and configs as deployments, and one small namespace after all others.
    pub(crate) fn furnish(&mut self) {
        let deployments = self.state.deployments().count() as u32;
        for n in 0..deployments {
            self.record(&format!("team-{}", n % 100), &format!("record-{n}"));
        }
        self.record("zz-small", "record");
        let workers = (0..10).map(|n| worker("zz-small", &format!("service-{n}"), 1));
        let dirty = self.apply(workers.collect()).into_iter().collect();
        let actions = self.plan(&dirty).actions;
        self.run(Command::Plan { actions });
    }

    fn record(&mut self, namespace: &str, label: &str) {
        let (namespace, name) = (name(namespace), name(label));
        let id = SecretId(self.ids.random());
        let secret = (namespace.clone(), name.clone());
        self.run(Command::PutSecret {
            id,
            namespace: secret.0,
            name: secret.1,
            sealed: vec![0; 64],
            key: KeyId(0),
            create: true,
        });
        let id = ConfigId(self.ids.random());
        let data = [("key".to_owned(), "content".to_owned())].into();
        self.run(Command::PutConfig { id, namespace, name, data, labels: Default::default(), create: true });
    }
}
