//! A control plane in memory, as one control node: follows the rules of claims and reports, and misbehaves when told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use ring_proto::Wire as _;
use ring_proto::agent::v1::agent_message::Message as Theirs;
use ring_proto::agent::v1::agent_service_server::{AgentService, AgentServiceServer};
use ring_proto::agent::v1::control_message::Message as Ours;
use ring_proto::agent::v1::question::About;
use ring_proto::agent::v1::{
    AgentMessage, Answer, Assignment, Assignments, ClaimReply, ClaimRequest, ClaimResult, ControlMessage, HeartbeatReply,
    LeaveReply, LogLine, Question, ReportReply, ReportRequest, StreamEnd, Welcome, exec_output,
};
use ring_state::InstanceReport;
use ring_types::{DeploymentSpec, Goal, Health, InstanceId, InstanceState, NodeInfo, Outcome};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

/// What the cluster knows of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) goal: Goal,
    pub(crate) generation: u64,
    pub(crate) state: InstanceState,
    pub(crate) claimed_in: Option<u64>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) since: u64,
}

/// What goes wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Claims are committed, their answer is not sent and the session breaks.
    pub(crate) lose_claim_replies: u32,
    /// The same for reports.
    pub(crate) lose_report_replies: u32,
    /// Claims are answered with an error and nothing is decided.
    pub(crate) undecided_claims: u32,
    /// Nobody is let in.
    pub(crate) closed: bool,
    /// Heartbeats are not answered.
    pub(crate) silent: bool,
    /// Of the next complete set.
    pub(crate) stale_complete_set: bool,
    /// Claims are granted, and this secret is missing.
    pub(crate) config_error: String,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) instances: BTreeMap<InstanceId, Known>,
    pub(crate) reports: Vec<InstanceReport>,
    pub(crate) infos: Vec<NodeInfo>,
    pub(crate) faults: Faults,
    pub(crate) sessions: u32,
    pub(crate) heartbeats: u64,
    /// How long the node was given each time it asked to be emptied, in milliseconds.
    pub(crate) leaves: Vec<u64>,
    pub(crate) epoch: u64,
    pub(crate) boot: String,
    pub(crate) revision: u64,
    pub(crate) claims_asked: u32,
    pub(crate) log_lines: BTreeMap<u64, Vec<LogLine>>,
    pub(crate) log_messages: BTreeMap<u64, u32>,
    pub(crate) log_ends: Vec<StreamEnd>,
    pub(crate) exec_events: BTreeMap<u64, Vec<exec_output::Event>>,
    pub(crate) answers: BTreeMap<u64, Answer>,
    push: Option<mpsc::Sender<Result<ControlMessage, Status>>>,
}

/// The control plane of a test.
#[derive(Clone)]
pub(crate) struct Plane {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
    pub(crate) spec: Arc<DeploymentSpec>,
    pub(crate) address: SocketAddr,
}

impl Plane {
    pub(crate) async fn start(spec: DeploymentSpec) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plane = Self { state: Arc::default(), changed: Arc::default(), spec: Arc::new(spec), address };
        plane.state().epoch = 1;
        let incoming = TcpListenerStream::new(listener).inspect(|stream| stream.as_ref().unwrap().set_nodelay(true).unwrap());
        let service = AgentServiceServer::new(plane.clone());
        let served = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming);
        tokio::spawn(served);
        plane
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn known(&self, instance: InstanceId) -> Known {
        self.state().instances[&instance].clone()
    }

    fn touch(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Returns when `ready` holds; fails the test when it takes longer than any machine needs.
    #[track_caller]
    pub(crate) fn wait(&self, what: &'static str, ready: impl Fn(&State) -> bool) -> impl Future<Output = ()> {
        let mut changes = self.changed.subscribe();
        async move {
            let waited = tokio::time::timeout(Duration::from_secs(30), async {
                while !ready(&self.state()) {
                    changes.changed().await.unwrap();
                }
            });
            assert!(waited.await.is_ok(), "waited in vain: {what}");
        }
    }

    pub(crate) async fn reaches(&self, instance: InstanceId, state: InstanceState) {
        self.wait("a state of an instance", |s| s.instances.get(&instance).is_some_and(|known| known.state >= state)).await;
    }

    /// Binds a new instance to the node.
    pub(crate) fn assign(&self, number: u128) -> InstanceId {
        let instance = InstanceId(Uuid::from_u128(number));
        let mut state = self.state();
        state.revision += 1;
        let (goal, since) = (Goal::Run, state.revision);
        let known = Known { goal, generation: 1, state: InstanceState::Assigned, claimed_in: None, outcome: None, since };
        state.instances.insert(instance, known);
        drop(state);
        self.tell(instance);
        instance
    }

    pub(crate) fn set_goal(&self, instance: InstanceId, goal: Goal) {
        let mut state = self.state();
        state.revision += 1;
        let known = state.instances.get_mut(&instance).unwrap();
        (known.goal, known.generation) = (goal, known.generation + 1);
        drop(state);
        self.tell(instance);
    }

    /// The cluster knows nothing of an instance any more.
    pub(crate) fn forget(&self, instance: InstanceId) {
        let mut state = self.state();
        state.revision += 1;
        state.instances.remove(&instance);
        let removed = vec![instance.to_string()];
        let message = Assignments { revision: state.revision, complete: false, assignments: Vec::new(), removed };
        drop(state);
        self.push(Ours::Assignments(message));
    }

    /// Tells the agent of one instance, as it is now.
    pub(crate) fn tell(&self, instance: InstanceId) {
        let assignment = self.assignment(instance, &self.known(instance));
        self.push_assignment(assignment);
    }

    pub(crate) fn push_assignment(&self, assignment: Assignment) {
        let revision = self.state().revision;
        let message = Assignments { revision, complete: false, assignments: vec![assignment], removed: Vec::new() };
        self.push(Ours::Assignments(message));
    }

    pub(crate) fn assignment(&self, instance: InstanceId, known: &Known) -> Assignment {
        Assignment {
            instance_id: instance.to_string(),
            generation: known.generation,
            deployment_id: Uuid::from_u128(77).to_string(),
            spec: Some(self.spec.to_wire()),
            goal: ring_proto::state::v1::Goal::from(known.goal) as i32,
            state: u32::from(known.state.number()),
            slot: 0,
            attempt: 1,
            linger_ms: 0,
        }
    }

    /// Asks about an instance, and returns the answer. Each `stream` is for one question.
    pub(crate) async fn ask(&self, stream: u64, instance: InstanceId, about: About) -> Answer {
        self.push(Ours::Question(Question { stream, instance_id: instance.to_string(), about: Some(about) }));
        self.wait("an answer", |state| state.answers.contains_key(&stream)).await;
        self.state().answers[&stream].clone()
    }

    /// What was reported of the health of an instance, in order.
    pub(crate) fn health(&self, instance: InstanceId) -> Vec<Health> {
        let state = self.state();
        state.reports.iter().filter(|report| report.instance == instance).filter_map(|report| report.health.clone()).collect()
    }

    /// Returns when the latest account of an instance's health is as wanted.
    pub(crate) async fn healthy(&self, instance: InstanceId, wanted: impl Fn(&Health) -> bool) {
        let of = move |report: &&InstanceReport| report.instance == instance && report.health.is_some();
        self.wait("its health", |state| {
            state.reports.iter().rev().find(of).and_then(|report| report.health.as_ref()).is_some_and(&wanted)
        })
        .await;
    }

    /// Sends a message into the session, if there is one.
    pub(crate) fn push(&self, message: Ours) {
        let mut state = self.state();
        if let Some(push) = &state.push
            && push.try_send(Ok(ControlMessage { message: Some(message) })).is_err()
        {
            state.push = None;
        }
        drop(state);
        self.touch();
    }

    /// Breaks the session; the agent may come again at once.
    pub(crate) fn cut(&self) {
        break_session(&mut self.state());
    }

    /// Breaks the session, and lets nobody in until [`Plane::open`].
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.faults.closed = true;
        break_session(&mut state);
        drop(state);
        self.touch();
    }

    pub(crate) fn open(&self) {
        self.state().faults.closed = false;
    }

    /// The node is declared lost: its epoch ends.
    pub(crate) fn lose_node(&self) {
        let mut state = self.state();
        state.epoch += 1;
        break_session(&mut state);
    }

    fn claim(&self, request: ClaimRequest) -> Option<ClaimReply> {
        let mut guard = self.state();
        let state = &mut *guard;
        state.claims_asked += 1;
        let sequence = request.sequence;
        if state.faults.undecided_claims > 0 {
            state.faults.undecided_claims -= 1;
            return Some(ClaimReply { sequence, results: Vec::new(), error: "no quorum".into() });
        }
        let results = request.instance_ids.iter().map(|id| {
            let known = state.instances.get_mut(&id.parse().unwrap());
            let granted = known.is_some_and(|known| {
                let may = known.goal == Goal::Run && known.state < InstanceState::Running && request.epoch == state.epoch;
                if may {
                    known.state = known.state.max(InstanceState::Claimed);
                    known.claimed_in = Some(request.epoch);
                }
                may
            });
            let secret_environment = [("PASSWORD".to_owned(), "open sesame".to_owned())].into();
            let config_error = state.faults.config_error.clone();
            ClaimResult { instance_id: id.clone(), granted, secret_environment, config_error, ..ClaimResult::default() }
        });
        let results = results.collect();
        if state.faults.lose_claim_replies > 0 {
            state.faults.lose_claim_replies -= 1;
            break_session(state);
            return None;
        }
        Some(ClaimReply { sequence, results, error: String::new() })
    }

    fn report(&self, request: ReportRequest) -> Option<ReportReply> {
        let mut guard = self.state();
        let state = &mut *guard;
        for report in request.reports {
            let report = InstanceReport::from_wire(report).unwrap();
            state.reports.push(report.clone());
            if let Some(known) = state.instances.get_mut(&report.instance)
                && report.state > known.state
            {
                known.state = report.state;
                known.outcome = report.exit.map(|exit| exit.outcome).or(known.outcome.take());
            }
        }
        if state.faults.lose_report_replies > 0 {
            state.faults.lose_report_replies -= 1;
            break_session(state);
            return None;
        }
        Some(ReportReply { sequence: request.sequence, ..ReportReply::default() })
    }

    fn welcome(&self, boot: String, push: mpsc::Sender<Result<ControlMessage, Status>>) {
        let mut state = self.state();
        if state.boot != boot {
            state.epoch += u64::from(!state.boot.is_empty());
            state.boot = boot;
        }
        state.sessions += 1;
        let stale = std::mem::take(&mut state.faults.stale_complete_set);
        let (epoch, revision) = (state.epoch, if stale { 0 } else { state.revision });
        let listed = state.instances.iter().filter(|(_, known)| !stale || known.since == 0);
        let assignments = listed.map(|(instance, known)| self.assignment(*instance, known)).collect();
        let control_addresses = vec![self.address.to_string()];
        let welcome = Welcome { epoch, heartbeat_interval_ms: 50, control_addresses, node_name: "node-1".into(), generation: 0 };
        let complete = Assignments { revision, complete: true, assignments, removed: Vec::new() };
        for message in [Ours::Welcome(welcome), Ours::Assignments(complete)] {
            push.try_send(Ok(ControlMessage { message: Some(message) })).unwrap();
        }
        state.push = Some(push);
        drop(state);
        self.touch();
    }

    fn hear(&self, message: Theirs) {
        let answer = match message {
            Theirs::Heartbeat(beat) => {
                let mut state = self.state();
                state.heartbeats += 1;
                (!state.faults.silent).then_some(Ours::Heartbeat(HeartbeatReply { sequence: beat.sequence }))
            }
            Theirs::Claim(request) => self.claim(request).map(Ours::Claim),
            Theirs::Report(request) => self.report(request).map(Ours::Report),
            Theirs::Info(update) => {
                self.state().infos.push(NodeInfo::from_wire(update.info.unwrap()).unwrap());
                None
            }
            Theirs::Leave(request) => {
                let mut state = self.state();
                state.leaves.push(request.within_ms);
                let left = state.instances.values().filter(|known| known.state.is_live()).count();
                Some(Ours::Leave(LeaveReply { left: u32::try_from(left).unwrap(), ..LeaveReply::default() }))
            }
            Theirs::Answer(answer) => {
                self.state().answers.insert(answer.stream, answer);
                None
            }
            Theirs::ExecOutput(output) => {
                self.state().exec_events.entry(output.stream).or_default().extend(output.event);
                None
            }
            Theirs::LogOutput(output) => {
                let mut state = self.state();
                *state.log_messages.entry(output.stream).or_default() += 1;
                state.log_lines.entry(output.stream).or_default().extend(output.lines);
                None
            }
            Theirs::StreamEnd(end) => {
                self.state().log_ends.push(end);
                None
            }
            Theirs::Hello(_) => panic!("a second hello"),
        };
        match answer {
            Some(answer) => self.push(answer),
            None => self.touch(),
        }
    }
}

fn break_session(state: &mut State) {
    if let Some(push) = state.push.take() {
        let _ = push.try_send(Err(Status::unavailable("broken by the test")));
    }
}

#[tonic::async_trait]
impl AgentService for Plane {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<ControlMessage, Status>> + Send>>;

    async fn session(&self, request: Request<Streaming<AgentMessage>>) -> Result<Response<Self::SessionStream>, Status> {
        if self.state().faults.closed {
            return Err(Status::unavailable("closed by the test"));
        }
        let mut inbound = request.into_inner();
        let Some(Ok(AgentMessage { message: Some(Theirs::Hello(hello)) })) = inbound.next().await else {
            return Err(Status::invalid_argument("no hello"));
        };
        let (push, messages) = mpsc::channel(1024);
        self.state().infos.push(NodeInfo::from_wire(hello.info.unwrap()).unwrap());
        self.welcome(hello.boot_id, push);
        let plane = self.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = inbound.next().await {
                plane.hear(message.message.unwrap());
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}
