//! A small state that what is fuzzed is done to.

use std::collections::BTreeMap;
use std::sync::Arc;

use ring_planner::{IdSource, Moment, plan};
use ring_state::{Action, ApplyDeployment, Command, EnrolNode, Entry, InstanceReport, State};
use ring_types::{
    Cpu, DeploymentId, DeploymentSpec, Epoch, InstanceId, Kind, Memory, Name, NodeCapacity, NodeId, NodeInfo, RequestId,
    Revision, RuntimeKind, RuntimeReport, Timestamp,
};
use uuid::Uuid;

/// The one instance that runs.
pub const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(3));
const NODE: NodeId = NodeId(Uuid::from_u128(1));
const DEPLOYMENT: DeploymentId = DeploymentId(Uuid::from_u128(2));

/// One node with one instance of a worker.
pub struct World {
    /// Where it stands.
    pub state: State,
}

impl World {
    /// As described.
    pub fn new() -> Self {
        let mut world = Self { state: State::default() };
        let (Ok(node), Ok(namespace), Ok(web)) = (Name::new("n"), Name::new("ns"), Name::new("web")) else { return world };
        world.apply(Command::EnrolNode(EnrolNode { token: None, node: NODE, name: node, member: None, labels: BTreeMap::new() }));
        let runtimes = vec![RuntimeReport { kind: RuntimeKind::Docker, version: String::new(), problem: None }];
        let capacity = NodeCapacity { cpu: Cpu(4000), memory: Memory(1 << 30) };
        world.register(Some(NodeInfo { capacity, runtimes, ..NodeInfo::default() }));
        let spec = DeploymentSpec::new(namespace, web, Kind::Worker, RuntimeKind::Docker, "img");
        let deployments = vec![ApplyDeployment::new(DEPLOYMENT, Arc::new(spec))];
        let (namespaces, configs, rollout_deadline) = (Vec::new(), Vec::new(), None);
        world.apply(Command::Apply { namespaces, configs, deployments, force: false, rollout_deadline });
        let (id, deployment, node) = (INSTANCE, DEPLOYMENT, NODE);
        let create = Action::CreateInstance { id, deployment, slot: 0, attempt: 1, node, restart: false };
        world.apply(Command::Plan { actions: vec![create] });
        world.claim(1, vec![INSTANCE]);
        world
    }

    /// One more entry.
    pub fn apply(&mut self, command: Command) {
        let index = Revision(self.state.revision().0 + 1);
        let at = Timestamp(1_000_000 + index.0 as i64);
        self.state.apply(index, &Entry { at, request: RequestId::NONE, command });
    }

    /// The node's agent is there.
    pub fn register(&mut self, info: Option<NodeInfo>) {
        if let Some(info) = info {
            self.apply(Command::RegisterNode { node: NODE, boot: RequestId(Uuid::from_u128(9)), info });
        }
    }

    /// It asks for the right to execute instances.
    pub fn claim(&mut self, epoch: u64, instances: Vec<InstanceId>) {
        self.apply(Command::Claim { node: NODE, epoch: Epoch(epoch), instances });
    }

    /// It says what became of them.
    pub fn report(&mut self, reports: Vec<InstanceReport>) {
        self.apply(Command::Report { node: NODE, epoch: None, reports });
    }

    /// The leader can plan with it, and what it plans can be applied.
    pub fn check(&mut self) {
        struct Ids(u128);
        impl IdSource for Ids {
            fn instance(&mut self) -> InstanceId {
                self.0 += 1;
                InstanceId(Uuid::from_u128(self.0))
            }
        }
        let all = self.state.deployments().map(|deployment| deployment.id).collect();
        let when = Moment { now: Timestamp(2_000_000), leading_since: Timestamp(0) };
        let planned = plan(&self.state, &all, when, &mut Ids(1 << 64));
        self.apply(Command::Plan { actions: planned.actions });
    }
}
