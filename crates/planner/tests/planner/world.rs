//! A cluster in memory: the state, a clock, and nodes that do what they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ring_planner::{IdSource, Moment, Plan, plan};
use ring_state::{
    Action, ApplyDeployment, Command, Deployment, DeploymentOutcome, EnrolNode, Entry, Instance, InstanceReport, NodeChange,
    Refusal, Reply, State, Succession,
};
use ring_types::{
    CheckAction, CheckKind, Cpu, DeploymentId, DeploymentSpec, ExitStatus, FailingCheck, Goal, Health, HealthCheck, InstanceId,
    InstanceState, Kind, Memory, Name, NodeCapacity, NodeId, NodeInfo, NodeStatus, Outcome, RequestId, Revision, RuntimeKind,
    RuntimeReport, Span, StartFailure, StopCause, Timestamp,
};
use uuid::Uuid;

/// Of every rolling update here, beside the start period of its checks.
pub(crate) const DEADLINE: Span = Span::seconds(100);

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    pub(crate) leading_since: Timestamp,
    ids: Ids,
    next: u128,
}

#[derive(Default)]
pub(crate) struct Ids(u128);

impl IdSource for Ids {
    fn instance(&mut self) -> InstanceId {
        self.0 += 1;
        InstanceId(Uuid::from_u128(self.0))
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn worker(name: &str, replicas: u32) -> DeploymentSpec {
    let mut spec = DeploymentSpec::new(self::name("ns"), self::name(name), Kind::Worker, RuntimeKind::Docker, "img");
    spec.replicas = replicas;
    spec
}

/// A check that decides readiness, as one that only decides what happens on failure otherwise.
pub(crate) fn check(readiness: bool, on_failure: CheckAction) -> HealthCheck {
    HealthCheck {
        kind: CheckKind::Tcp { port: 80 },
        interval: Span::seconds(1),
        timeout: Span::seconds(1),
        threshold: 3,
        on_failure,
        readiness,
        min_healthy_time: Span::seconds(5),
        start_period: Span::seconds(20),
    }
}

/// A worker with a readiness check.
pub(crate) fn gated(name: &str, replicas: u32, image: &str) -> DeploymentSpec {
    let health_checks = vec![check(true, CheckAction::Restart)];
    DeploymentSpec { health_checks, image: image.to_owned(), ..worker(name, replicas) }
}

pub(crate) fn job(name: &str) -> DeploymentSpec {
    DeploymentSpec::new(self::name("ns"), self::name(name), Kind::Job, RuntimeKind::Docker, "img")
}

pub(crate) fn needs(mut spec: DeploymentSpec, cpu: u64, memory: u64) -> DeploymentSpec {
    spec.resources.requests.cpu = Some(Cpu(cpu));
    spec.resources.requests.memory = Some(Memory(memory));
    spec
}

impl World {
    pub(crate) fn new() -> Self {
        Self { state: State::default(), now: Timestamp(1_000_000), leading_since: Timestamp(0), ids: Ids::default(), next: 1000 }
    }

    /// A world with so many nodes `n0`, `n1` of 4 processors and 8000 bytes, with Docker.
    pub(crate) fn with_nodes(count: u32) -> Self {
        let mut world = Self::new();
        for n in 0..count {
            world.node(&format!("n{n}"), 4000, 8000, &[]);
        }
        world
    }

    pub(crate) fn apply(&mut self, command: Command) -> Reply {
        let index = self.state.revision().next();
        let entry = Entry { at: self.now, request: RequestId::NONE, command };
        self.state.apply(Revision(index.0), &entry).reply
    }

    pub(crate) fn fresh(&mut self) -> Uuid {
        self.next += 1;
        Uuid::from_u128(self.next)
    }

    pub(crate) fn node(&mut self, name: &str, cpu: u64, memory: u64, labels: &[(&str, &str)]) -> NodeId {
        let node = NodeId(self.fresh());
        let labels: BTreeMap<_, _> = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.apply(Command::EnrolNode(EnrolNode { token: None, node, name: self::name(name), member: None, labels }));
        self.register(node, cpu, memory);
        node
    }

    pub(crate) fn register(&mut self, node: NodeId, cpu: u64, memory: u64) {
        let runtimes = vec![RuntimeReport { kind: RuntimeKind::Docker, version: String::new(), problem: None }];
        let capacity = NodeCapacity { cpu: Cpu(cpu), memory: Memory(memory) };
        let boot = RequestId(self.fresh());
        let info = NodeInfo { capacity, runtimes, ..NodeInfo::default() };
        self.apply(Command::RegisterNode { node, boot, info });
    }

    pub(crate) fn set_node(&mut self, node: NodeId, status: NodeStatus) {
        let epoch = self.state.node(node).unwrap().epoch;
        self.apply(Command::SetNodeStatus { changes: vec![NodeChange { node, epoch, status, held: false, silent_since: None }] });
    }

    pub(crate) fn create(&mut self, spec: DeploymentSpec) -> DeploymentId {
        self.change(spec, false).id
    }

    /// Applies one deployment.
    pub(crate) fn change(&mut self, spec: DeploymentSpec, force: bool) -> DeploymentOutcome {
        let id = DeploymentId(self.fresh());
        let deployments = vec![ApplyDeployment::new(id, Arc::new(spec))];
        let (namespaces, configs) = (Vec::new(), Vec::new());
        let apply = Command::Apply { namespaces, configs, deployments, force, rollout_deadline: Some(DEADLINE) };
        let Reply::Deployments(outcomes) = self.apply(apply) else { panic!("not applied") };
        outcomes[0].clone()
    }

    /// Restart or rollback, as `command` says.
    pub(crate) fn follow(&mut self, id: DeploymentId, command: fn(Succession) -> Command) -> Result<DeploymentOutcome, Refusal> {
        let successor = DeploymentId(self.fresh());
        match self.apply(command(Succession { id, successor, rollout_deadline: Some(DEADLINE) })) {
            Reply::Deployments(outcomes) => Ok(outcomes[0].clone()),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn delete(&mut self, id: DeploymentId) {
        self.apply(Command::DeleteDeployments { ids: vec![id] });
    }

    /// What the planner says about everything.
    pub(crate) fn look(&mut self) -> Plan {
        let all: BTreeSet<_> = self.state.deployments().map(|d| d.id).collect();
        self.look_at(&all)
    }

    /// What the planner says about some.
    pub(crate) fn look_at(&mut self, dirty: &BTreeSet<DeploymentId>) -> Plan {
        plan(&self.state, dirty, Moment { now: self.now, leading_since: self.leading_since }, &mut self.ids)
    }

    /// Plans and applies once; nothing may be passed over but what the plan itself overtakes.
    pub(crate) fn step(&mut self) -> Plan {
        let plan = self.look();
        if !plan.actions.is_empty() {
            let Reply::Planned { skipped } = self.apply(Command::Plan { actions: plan.actions.clone() }) else { panic!() };
            assert!(skipped as usize <= may_be_passed_over(&plan), "{skipped} passed over: {:#?}", plan.actions);
        }
        plan
    }

    /// Every node does what it is told: runs what is wanted, ends jobs well, takes away what is to go.
    pub(crate) fn obey(&mut self) {
        let there = |i: &&Arc<Instance>| self.state.node(i.node).is_some();
        let all: Vec<_> = self.state.instances().filter(there).cloned().collect();
        for instance in all {
            let is_job = self.state.deployment(instance.deployment).is_none_or(|d| d.spec.kind == Kind::Job);
            match (instance.goal, instance.state) {
                (Goal::Run, state) if state < InstanceState::Running => self.run(instance.id),
                (Goal::Run, InstanceState::Running | InstanceState::Lost) if is_job => self.end(instance.id, Outcome::Code(0)),
                (Goal::Run, _) | (_, InstanceState::Removed) | (Goal::Stop, InstanceState::Exited) => {}
                (_, InstanceState::Exited) => self.removed(instance.id),
                (_, InstanceState::Assigned) => {
                    let cause = StartFailure::Cancelled;
                    self.end(instance.id, Outcome::NotStarted { cause, message: String::new() });
                }
                (_, _) => self.end(instance.id, Outcome::Signal { signal: 15, oom_killed: false }),
            }
        }
    }

    /// Every instance that runs and is wanted is ready, and no check of it fails.
    pub(crate) fn get_well(&mut self) {
        let wanted = |i: &&Arc<Instance>| i.state == InstanceState::Running && i.goal == Goal::Run;
        let all: Vec<_> = self.state.instances().filter(wanted).map(|i| i.id).collect();
        all.into_iter().for_each(|id| self.health(id, true, &[]));
    }

    /// Plans until there is nothing more to do; gives the last plan, which says when to look again.
    pub(crate) fn settle(&mut self) -> Plan {
        for _ in 0..10 {
            let plan = self.step();
            if plan.actions.is_empty() && plan.remaining.is_empty() {
                return plan;
            }
        }
        panic!("does not settle: {:#?}", self.look());
    }

    pub(crate) fn pass(&mut self, span: Span) {
        self.now = self.now + span;
    }

    pub(crate) fn deployment(&self, id: DeploymentId) -> Arc<Deployment> {
        self.state.deployment(id).unwrap().clone()
    }

    pub(crate) fn instances(&self, id: DeploymentId) -> Vec<Arc<Instance>> {
        self.state.instances_of(id).cloned().collect()
    }

    pub(crate) fn live(&self, id: DeploymentId) -> Vec<Arc<Instance>> {
        self.state.instances_of(id).filter(|i| i.state.is_live()).cloned().collect()
    }

    pub(crate) fn claim(&mut self, id: InstanceId) {
        let node = self.state.instance(id).unwrap().node;
        let epoch = self.state.node(node).unwrap().epoch;
        self.apply(Command::Claim { node, epoch, instances: vec![id] });
    }

    /// Claims and runs.
    pub(crate) fn run(&mut self, id: InstanceId) {
        self.claim(id);
        let started_at = Some(self.now);
        self.report(id, InstanceState::Running, started_at, None);
    }

    pub(crate) fn run_all(&mut self, id: DeploymentId) {
        for instance in self.live(id) {
            self.run(instance.id);
        }
        self.settle();
    }

    /// Runs, and its node's clock says since when.
    pub(crate) fn report_running(&mut self, id: InstanceId, started_at: Timestamp) {
        self.report(id, InstanceState::Running, Some(started_at), None);
    }

    pub(crate) fn end(&mut self, id: InstanceId, outcome: Outcome) {
        self.end_at(id, outcome, self.now);
    }

    /// Heard of now, and ended at this time.
    pub(crate) fn end_at(&mut self, id: InstanceId, outcome: Outcome, finished_at: Timestamp) {
        let instance = self.state.instance(id).unwrap();
        let exit = ExitStatus { outcome, started_at: instance.started_at, finished_at, node: instance.node };
        self.report(id, InstanceState::Exited, exit.started_at, Some(exit));
    }

    /// Its agent stopped it since it was cut off.
    pub(crate) fn end_cut_off(&mut self, id: InstanceId, outcome: Outcome) {
        let instance = self.state.instance(id).unwrap().clone();
        let exit = Some(ExitStatus { outcome, started_at: instance.started_at, finished_at: self.now, node: instance.node });
        let of = InstanceReport::of(id, InstanceState::Exited);
        self.tell(InstanceReport { started_at: instance.started_at, exit, cut_off: true, ..of });
    }

    /// Everything that is bound comes to run.
    pub(crate) fn run_all_of_all(&mut self) {
        let all: Vec<_> = self.state.deployments().map(|d| d.id).collect();
        all.into_iter().for_each(|id| self.run_all(id));
    }

    /// Passes its readiness checks.
    pub(crate) fn ready(&mut self, id: InstanceId) {
        self.health(id, true, &[]);
    }

    pub(crate) fn fail_start(&mut self, id: InstanceId, cause: StartFailure) {
        self.claim(id);
        self.end(id, Outcome::NotStarted { cause, message: "said so".to_owned() });
    }

    pub(crate) fn removed(&mut self, id: InstanceId) {
        self.report(id, InstanceState::Removed, None, None);
    }

    /// What the checks of an instance that runs say.
    pub(crate) fn health(&mut self, id: InstanceId, ready: bool, failing: &[u32]) {
        let failing = failing.iter().map(|check| FailingCheck { check: *check, message: "refused".to_owned() }).collect();
        let health = Some(Health { ready, failing });
        self.tell(InstanceReport { health, ..InstanceReport::of(id, InstanceState::Running) });
    }

    fn report(&mut self, id: InstanceId, state: InstanceState, started_at: Option<Timestamp>, exit: Option<ExitStatus>) {
        self.tell(InstanceReport { started_at, exit, ..InstanceReport::of(id, state) });
    }

    fn tell(&mut self, report: InstanceReport) {
        let node = self.state.instance(report.instance).unwrap().node;
        self.apply(Command::Report { node, epoch: None, reports: vec![report] });
    }
}

/// What serves is kept by the state when an earlier action of the same plan took away what was to serve in its place: a check that
/// fails, a node that is lost.
fn may_be_passed_over(plan: &Plan) -> usize {
    let moves = [StopCause::Superseded, StopCause::MakesRoom];
    let gives_way = |action: &Action| matches!(action, Action::SetGoal { cause: Some(cause), .. } if moves.contains(cause));
    // That a place was found for what could not be placed before holds back what gave way for want of one.
    let placed = |action: &Action| matches!(action, Action::NotePlacement(note) if note.failure.is_none());
    let changes = |action: &Action| matches!(action, Action::LoseInstance { .. } | Action::SetGoal { .. }) || placed(action);
    let takes = |action: &&Action| changes(action) && !gives_way(action);
    plan.actions.iter().skip_while(|action| !takes(action)).filter(|action| gives_way(action)).count()
}

pub(crate) fn creates(plan: &Plan) -> usize {
    plan.actions.iter().filter(|action| matches!(action, Action::CreateInstance { .. })).count()
}
