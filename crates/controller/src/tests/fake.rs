//! One control node in memory: applies at once what is proposed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ring_state::{ApplyDeployment, Command, EnrolNode, Entry, InstanceReport, Reply, RowKey, State};
use ring_store::{Change, Committed, Leadership, MemberError, MemberLevel, ProposeError, StoreStatus, Update};
use ring_types::{
    Cpu, DeploymentId, DeploymentSpec, ExitStatus, InstanceId, InstanceState, Kind, MemberId, Memory, Name, NodeCapacity, NodeId,
    NodeInfo, Outcome, RequestId, RuntimeKind, RuntimeReport, Timestamp,
};
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::clock;
use crate::cluster::{Cluster, Stream};

/// A test waits no longer for anything.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Fake(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    changes: broadcast::Sender<Update>,
    leadership: watch::Sender<Leadership>,
    proposals: watch::Sender<u32>,
    failures: Mutex<u32>,
    panics: Mutex<bool>,
    members: Mutex<StoreStatus>,
    levels: Mutex<Vec<MemberLevel>>,
}

pub(crate) struct Receiver(broadcast::Receiver<Update>);

#[async_trait]
impl Stream for Receiver {
    async fn next(&mut self) -> Option<Update> {
        self.0.recv().await.ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Cluster for Fake {
    type Changes = Receiver;

    async fn propose(&self, command: Command) -> Result<Committed, ProposeError> {
        assert!(!std::mem::take(&mut *lock(&self.0.panics)), "told to");
        self.0.proposals.send_modify(|count| *count += 1);
        if *lock(&self.0.failures) > 0 {
            *lock(&self.0.failures) -= 1;
            return Err(ProposeError::NoQuorum { missing: Vec::new() });
        }
        let reply = self.apply(command);
        Ok(Committed { revision: self.state().revision(), reply })
    }

    fn now(&self) -> Timestamp {
        clock::wall().max(self.state().clock())
    }

    fn local(&self) -> State {
        self.state()
    }

    fn watch(&self) -> (State, Receiver) {
        let state = lock(&self.0.state);
        (state.clone(), Receiver(self.0.changes.subscribe()))
    }

    fn members(&self) -> StoreStatus {
        lock(&self.0.members).clone()
    }

    async fn levels(&self) -> Vec<MemberLevel> {
        lock(&self.0.levels).clone()
    }

    async fn remove_member(&self, id: MemberId) -> Result<(), MemberError> {
        let mut members = lock(&self.0.members);
        if members.peers.len() < 3 {
            return Err(MemberError::LosesQuorum("told to".to_owned()));
        }
        members.peers.retain(|peer| peer.id != id);
        Ok(())
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.0.leadership.subscribe()
    }
}

/// A member without any other.
fn alone() -> StoreStatus {
    let id = MemberId(1);
    StoreStatus {
        id,
        term: 1,
        leader: Some(id),
        voters: vec![id],
        learners: Vec::new(),
        last_log: 0,
        committed: 0,
        applied: 0,
        snapshot: 0,
        peers: Vec::new(),
        quorum_ack_age: None,
    }
}

impl Fake {
    pub(crate) fn with_nodes(count: u32) -> Self {
        let fake = Self(Arc::new(Inner {
            state: Mutex::default(),
            changes: broadcast::Sender::new(1024),
            leadership: watch::Sender::default(),
            proposals: watch::Sender::default(),
            failures: Mutex::default(),
            panics: Mutex::default(),
            members: Mutex::new(alone()),
            levels: Mutex::default(),
        }));
        for n in 0..count {
            let node = NodeId(Uuid::now_v7());
            let name = Name::new(&format!("n{n}")).unwrap();
            let enrol = EnrolNode { token: None, node, name, member: None, labels: std::collections::BTreeMap::new() };
            fake.apply(Command::EnrolNode(enrol));
            let runtimes = vec![RuntimeReport { kind: RuntimeKind::Docker, version: String::new(), problem: None }];
            let capacity = NodeCapacity { cpu: Cpu(4000), memory: Memory(1 << 30) };
            let info = NodeInfo { capacity, runtimes, ..NodeInfo::default() };
            fake.apply(Command::RegisterNode { node, boot: RequestId(Uuid::now_v7()), info });
        }
        fake
    }

    /// What its members understand.
    pub(crate) fn set_levels(&self, levels: Vec<MemberLevel>) {
        *lock(&self.0.levels) = levels;
    }

    pub(crate) fn state(&self) -> State {
        lock(&self.0.state).clone()
    }

    /// Changes are told in the order in which they are made.
    pub(crate) fn apply(&self, command: Command) -> Reply {
        let mut now = lock(&self.0.state);
        let (reply, keys, state) = Self::write(&mut now, command);
        let change = Change { revision: state.revision(), keys: keys.into(), state };
        let _nobody_listens = self.0.changes.send(Update::Change(change));
        drop(now);
        reply
    }

    fn write(state: &mut State, command: Command) -> (Reply, Vec<RowKey>, State) {
        let index = state.revision().next();
        let applied = state.apply(index, &Entry { at: clock::wall(), request: RequestId::NONE, command });
        (applied.reply, applied.rows.into_iter().map(|row| row.key).collect(), state.clone())
    }

    pub(crate) fn lead(&self, is_me: bool) {
        self.0.leadership.send_modify(|leadership| {
            let term = leadership.term + 1;
            *leadership = Leadership { leader: is_me.then_some(MemberId(1)), term, is_me };
        });
    }

    pub(crate) fn set_members(&self, status: StoreStatus) {
        *lock(&self.0.members) = status;
    }

    pub(crate) fn fail_next(&self, count: u32) {
        *lock(&self.0.failures) = count;
    }

    pub(crate) fn panic_next(&self) {
        *lock(&self.0.panics) = true;
    }

    pub(crate) fn proposals(&self) -> u32 {
        *self.0.proposals.borrow()
    }

    pub(crate) fn create(&self, spec: DeploymentSpec) -> DeploymentId {
        let id = DeploymentId(Uuid::now_v7());
        self.apply(Command::Apply {
            namespaces: Vec::new(),
            configs: Vec::new(),
            deployments: vec![ApplyDeployment::new(id, Arc::new(spec))],
            force: false,
            rollout_deadline: None,
        });
        id
    }

    /// Creates a deployment and tells nobody of the change.
    pub(crate) fn create_silently(&self, spec: DeploymentSpec) -> DeploymentId {
        let id = DeploymentId(Uuid::now_v7());
        Self::write(
            &mut lock(&self.0.state),
            Command::Apply {
                namespaces: Vec::new(),
                configs: Vec::new(),
                deployments: vec![ApplyDeployment::new(id, Arc::new(spec))],
                force: false,
                rollout_deadline: None,
            },
        );
        id
    }

    /// Tells watchers that they have missed something.
    pub(crate) fn lag(&self) {
        let _nobody_listens = self.0.changes.send(Update::Lagged { state: self.state() });
    }

    /// Claims and runs the live instance of a deployment.
    pub(crate) fn run(&self, id: DeploymentId) -> InstanceId {
        let state = self.state();
        let instance = state.instances_of(id).find(|i| i.state.is_live()).unwrap();
        let epoch = state.node(instance.node).unwrap().epoch;
        self.apply(Command::Claim { node: instance.node, epoch, instances: vec![instance.id] });
        self.report(instance.id, InstanceState::Running, None);
        instance.id
    }

    pub(crate) fn end(&self, instance: InstanceId, outcome: Outcome) {
        let node = self.state().instance(instance).unwrap().node;
        let now = clock::wall();
        let exit = ExitStatus { outcome, started_at: Some(now), finished_at: now, node };
        self.report(instance, InstanceState::Exited, Some(exit));
    }

    fn report(&self, instance: InstanceId, state: InstanceState, exit: Option<ExitStatus>) {
        let node = self.state().instance(instance).unwrap().node;
        let started_at = Some(clock::wall());
        let report = InstanceReport { started_at, exit, ..InstanceReport::of(instance, state) };
        self.apply(Command::Report { node, epoch: None, reports: vec![report] });
    }

    /// Waits until a change makes the state so.
    pub(crate) async fn reaches(&self, wanted: impl Fn(&State) -> bool) {
        let mut changes = self.0.changes.subscribe();
        let reached = async {
            while !wanted(&self.state()) {
                let _missed_some = changes.recv().await.is_err();
            }
        };
        assert!(tokio::time::timeout(DEADLINE, reached).await.is_ok(), "not reached");
    }

    /// Returns when nothing has been proposed for a while.
    pub(crate) async fn quiet(&self) {
        let mut proposals = self.0.proposals.subscribe();
        while tokio::time::timeout(Duration::from_millis(100), proposals.changed()).await.is_ok() {}
    }
}

fn spec(name: &str, kind: Kind) -> DeploymentSpec {
    DeploymentSpec::new(Name::new("ns").unwrap(), Name::new(name).unwrap(), kind, RuntimeKind::Docker, "img")
}

pub(crate) fn job(name: &str) -> DeploymentSpec {
    spec(name, Kind::Job)
}

pub(crate) fn worker(name: &str, replicas: u32) -> DeploymentSpec {
    DeploymentSpec { replicas, ..spec(name, Kind::Worker) }
}
