//! A cluster in miniature: a state and the shortest way to give it entries.
// Each test binary uses a part of this; a failed unwrap fails the test.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;

use ring_state::{
    Action, Applied, ApplyDeployment, Bootstrap, Command, EnrolNode, Entry, InstanceReport, JoinRole, JoinToken, NodeChange,
    Outcome, Reply, State,
};
use ring_types::{
    ClusterId, Cpu, DeploymentId, DeploymentSpec, Epoch, ExitStatus, InstanceId, InstanceState, JoinTokenId, Kind, Memory, Name,
    NodeCapacity, NodeId, NodeInfo, NodeStatus, RequestId, Revision, RuntimeKind, RuntimeReport, Timestamp, UserId,
};
use uuid::Uuid;

pub struct World {
    pub state: State,
    pub now: i64,
    pub index: u64,
    pub last: Option<Applied>,
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn deployment_id(n: u128) -> DeploymentId {
    DeploymentId(Uuid::from_u128(n))
}

pub fn instance_id(n: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(n))
}

pub fn node_id(n: u128) -> NodeId {
    NodeId(Uuid::from_u128(n))
}

/// Admits control nodes.
pub fn join_token() -> JoinToken {
    JoinToken {
        id: JoinTokenId(Uuid::from_u128(4)),
        hash: [0; 32],
        role: JoinRole::Control,
        uses_left: 9,
        expires_at: Timestamp(1_000_000),
        revoked: false,
        created_at: Timestamp(0),
        version: Revision(0),
    }
}

pub fn job(label: &str) -> DeploymentSpec {
    DeploymentSpec::new(name("ns"), name(label), Kind::Job, RuntimeKind::Process, "")
}

pub fn worker(label: &str, replicas: u32) -> DeploymentSpec {
    DeploymentSpec { replicas, ..DeploymentSpec::new(name("ns"), name(label), Kind::Worker, RuntimeKind::Process, "") }
}

impl World {
    pub fn new() -> Self {
        let mut world = Self { state: State::default(), now: 1_000, index: 0, last: None };
        let reply = world.run(Command::Bootstrap(Bootstrap {
            cluster: ClusterId(Uuid::from_u128(9)),
            ca_certificate: "ca".into(),
            ca_key_sealed: vec![1],
            data_key_sealed: Vec::new(),
            member_name: name("c1"),
            address: "127.0.0.1:3031".into(),
            api_address: "127.0.0.1:3030".into(),
            admin: UserId(Uuid::from_u128(1)),
            admin_password_hash: "hash".into(),
            level: ring_state::LEVEL,
        }));
        assert_eq!(reply, Reply::Done);
        world
    }

    pub fn run(&mut self, command: Command) -> Reply {
        self.run_as(RequestId::NONE, command)
    }

    pub fn run_as(&mut self, request: RequestId, command: Command) -> Reply {
        self.index += 1;
        self.now += 1;
        let entry = Entry { at: Timestamp(self.now), request, command };
        let applied = self.state.apply(Revision(self.index), &entry);
        let reply = applied.reply.clone();
        self.last = Some(applied);
        reply
    }

    /// A node with an agent in contact; its epoch is 1.
    pub fn node(&mut self, n: u128) -> NodeId {
        let id = node_id(n);
        let enrol = EnrolNode { token: None, node: id, name: name(&format!("n{n}")), member: None, labels: Default::default() };
        self.run(Command::EnrolNode(enrol));
        assert_eq!(self.register(id, 1), Epoch(1));
        id
    }

    pub fn register(&mut self, node: NodeId, boot: u128) -> Epoch {
        let runtime = RuntimeReport { kind: RuntimeKind::Process, version: "1".into(), problem: None };
        let capacity = NodeCapacity { cpu: Cpu(4000), memory: Memory(8 << 30) };
        let info = NodeInfo { capacity, runtimes: vec![runtime], ..NodeInfo::default() };
        match self.run(Command::RegisterNode { node, boot: RequestId(Uuid::from_u128(boot)), info }) {
            Reply::Epoch(epoch) => epoch,
            other => panic!("{other:?}"),
        }
    }

    pub fn apply(&mut self, n: u128, spec: DeploymentSpec) -> (DeploymentId, Outcome) {
        let one = ApplyDeployment::new(deployment_id(n), Arc::new(spec));
        match self.run(Command::Apply {
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

    /// How many of the actions were passed over.
    pub fn plan(&mut self, actions: Vec<Action>) -> u32 {
        match self.run(Command::Plan { actions }) {
            Reply::Planned { skipped } => skipped,
            other => panic!("{other:?}"),
        }
    }

    pub fn create(&mut self, instance: u128, deployment: DeploymentId, node: NodeId) -> u32 {
        let id = instance_id(instance);
        self.plan(vec![Action::CreateInstance { id, deployment, slot: 0, attempt: 1, node, restart: false }])
    }

    pub fn claim(&mut self, node: NodeId, epoch: u64, instance: u128) -> bool {
        match self.run(Command::Claim { node, epoch: Epoch(epoch), instances: vec![instance_id(instance)] }) {
            Reply::Claims(outcomes) => outcomes[0].granted,
            other => panic!("{other:?}"),
        }
    }

    pub fn report(&mut self, node: NodeId, instance: u128, state: InstanceState, exit: Option<ring_types::Outcome>) {
        let at = Timestamp(self.now);
        let exit = exit.map(|outcome| ExitStatus { outcome, started_at: Some(at), finished_at: at, node });
        let report = InstanceReport {
            started_at: (state >= InstanceState::Running).then_some(at),
            exit,
            ..InstanceReport::of(instance_id(instance), state)
        };
        self.run(Command::Report { node, epoch: None, reports: vec![report] });
    }

    pub fn lose_node(&mut self, node: NodeId, epoch: u64) {
        let change = NodeChange { node, epoch: Epoch(epoch), status: NodeStatus::Lost, held: false, silent_since: None };
        self.run(Command::SetNodeStatus { changes: vec![change] });
    }

    pub fn instance(&self, n: u128) -> &ring_state::Instance {
        self.state.instance(instance_id(n)).unwrap()
    }
}
