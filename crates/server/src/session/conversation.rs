//! One session, from hello to goodbye.

use std::sync::Arc;
use std::time::Duration;

use ring_proto::Wire;
use ring_proto::agent::v1::control_message::Message;
use ring_proto::agent::v1::{
    AgentMessage, Authorities, ControlMessage, ControlNodes, Heartbeat, HeartbeatReply, Hello, Welcome, agent_message,
};
use ring_state::{Command, RefusalCode, Reply, RowKey, State};
use ring_store::Update;
use ring_types::{Epoch, Level, NodeId, NodeInfo, RequestId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::Streaming;

use super::assignments::Told;
use super::claims;
use super::hub::{Item, Outgoing, Seat};
use super::leave;
use super::service::SessionContext;
use crate::services::{control_addresses, decides_trust, trusted};

const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// An agent that takes nothing for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Claims or reports of one agent that wait to be committed.
const WAITING: usize = 64;

/// How a session ends.
pub(super) enum End {
    /// The agent hung up, or cannot be reached.
    Closed,
    /// We end it.
    Goodbye {
        /// Why.
        reason: String,
        /// The agent is not wanted any more.
        fatal: bool,
    },
}

impl End {
    fn because(reason: impl Into<String>) -> Self {
        Self::Goodbye { reason: reason.into(), fatal: false }
    }

    fn removed() -> Self {
        Self::Goodbye { reason: "this node was removed from the cluster".to_owned(), fatal: true }
    }
}

/// One session.
pub(super) struct Conversation {
    context: Arc<SessionContext>,
    node: NodeId,
    out: Outgoing,
}

/// A session after its hello.
struct Registered {
    epoch: Epoch,
    boot: RequestId,
    /// What the agent understands.
    level: Level,
    seat: Seat,
    claims: mpsc::Sender<ring_proto::agent::v1::ClaimRequest>,
    reports: mpsc::Sender<ring_proto::agent::v1::ReportRequest>,
    infos: mpsc::Sender<NodeInfo>,
    leaves: mpsc::Sender<ring_proto::agent::v1::LeaveRequest>,
}

impl Conversation {
    pub(super) fn new(context: Arc<SessionContext>, node: NodeId, out: Outgoing) -> Self {
        Self { context, node, out }
    }

    pub(super) async fn run(self, incoming: Streaming<AgentMessage>) -> End {
        self.converse(incoming).await.unwrap_or_else(|end| end)
    }

    async fn converse(&self, mut incoming: Streaming<AgentMessage>) -> Result<End, End> {
        let hello = self.hello(&mut incoming).await?;
        let boot: RequestId = hello.boot_id.parse().map_err(|_| End::because("the hello has no usable boot id"))?;
        let info = read_info(hello.info)?;
        let level = info.level;
        let (epoch, revision) = self.register(boot, info).await?;
        let stopping = || End::because("this control node is stopping");
        claims::state_at(&self.context.store, revision).await.ok_or_else(stopping)?;
        self.context.pulse.heard(self.node, epoch, Vec::new());
        let watch = self.context.store.watch();
        let mut told = Told::new(self.node);
        self.still_wanted(&watch.state, epoch)?;
        self.send(Message::Welcome(self.welcome(&watch.state, epoch))).await?;
        self.send(Message::Assignments(told.complete(&watch.state))).await?;
        let mut trusted = Authorities::default();
        self.authorities(&watch.state, &mut trusted).await?;
        tracing::info!(node = %self.node, epoch = epoch.0, "the agent's session is open");
        let mut workers = JoinSet::new();
        let registered = self.employ((epoch, boot, level), &mut workers);
        self.talk(incoming, watch.changes, (told, trusted), registered).await
    }

    async fn hello(&self, incoming: &mut Streaming<AgentMessage>) -> Result<Hello, End> {
        let first = tokio::time::timeout(HELLO_TIMEOUT, incoming.message()).await;
        let message = first.map_err(|_| End::because("no hello"))?.map_err(|_| End::Closed)?.ok_or(End::Closed)?;
        let Some(agent_message::Message::Hello(hello)) = message.message else {
            return Err(End::because("the first message has to be a hello"));
        };
        if hello.node_id == self.node.to_string() {
            Ok(hello)
        } else {
            Err(End::because(format!("the certificate belongs to node {}, the hello to {}", self.node, hello.node_id)))
        }
    }

    async fn register(&self, boot: RequestId, info: NodeInfo) -> Result<(Epoch, ring_types::Revision), End> {
        let info = sayable(&self.context.store, info);
        let command = Command::RegisterNode { node: self.node, boot, info };
        let done = self.context.store.propose(RequestId::NONE, command).await.map_err(|e| End::because(e.to_string()))?;
        match done.reply {
            Reply::Epoch(epoch) => Ok((epoch, done.revision)),
            Reply::Refused(refusal) if refusal.code == RefusalCode::NotFound => Err(End::removed()),
            Reply::Refused(refusal) => Err(End::because(refusal.message)),
            other => Err(End::because(format!("unexpected answer {other:?}"))),
        }
    }

    fn welcome(&self, state: &State, epoch: Epoch) -> Welcome {
        Welcome {
            epoch: epoch.0,
            heartbeat_interval_ms: HEARTBEAT.as_millis() as u64,
            control_addresses: control_addresses(state),
            generation: state.generation().0,
            node_name: state.node(self.node).map(|n| n.name.to_string()).unwrap_or_default(),
        }
    }

    /// Starts what commits claims, reports and changes of the host, each in the order asked. All stop with the session.
    fn employ(&self, (epoch, boot, level): (Epoch, RequestId, Level), workers: &mut JoinSet<()>) -> Registered {
        let claims = self.answer(workers, |context, node, request| async move {
            Message::Claim(claims::claim(&context, node, &request).await)
        });
        let reports = self.answer(workers, move |context, node, request| async move {
            Message::Report(claims::report(&context, (node, epoch), request).await)
        });
        let leaves =
            self.answer(
                workers,
                |context, node, request| async move { Message::Leave(leave::leave(&context, node, &request).await) },
            );
        let (infos, mut info_queue) = mpsc::channel(WAITING);
        let (store, node) = (self.context.store.clone(), self.node);
        workers.spawn(async move {
            while let Some(info) = info_queue.recv().await {
                let command = Command::RegisterNode { node, boot, info: sayable(&store, info) };
                if let Err(error) = store.propose(RequestId::NONE, command).await {
                    tracing::warn!(%node, "a change of the host was not recorded: {error}");
                }
            }
        });
        let seat = self.context.hub.enter(node, self.out.clone());
        Registered { epoch, boot, level, seat, claims, reports, infos, leaves }
    }

    /// Starts what answers requests of one kind, one after another in the order asked.
    fn answer<T, A>(
        &self,
        workers: &mut JoinSet<()>,
        reply: impl Fn(Arc<SessionContext>, NodeId, T) -> A + Send + 'static,
    ) -> mpsc::Sender<T>
    where
        T: Send + 'static,
        A: Future<Output = Message> + Send,
    {
        let (requests, mut queue) = mpsc::channel(WAITING);
        let (context, node, out) = (self.context.clone(), self.node, self.out.clone());
        workers.spawn(async move {
            while let Some(request) = queue.recv().await {
                if out.send(Ok(message(reply(context.clone(), node, request).await))).await.is_err() {
                    return;
                }
            }
        });
        requests
    }

    async fn talk(
        &self,
        mut incoming: Streaming<AgentMessage>,
        mut changes: ring_store::Changes,
        mut told: (Told, Authorities),
        registered: Registered,
    ) -> Result<End, End> {
        let context = &self.context;
        let isolated = context.pulse.until_isolated();
        tokio::pin!(isolated);
        tracing::debug!(node = %self.node, boot = %registered.boot, "registered");
        loop {
            tokio::select! {
                message = incoming.message() => match message {
                    Ok(Some(message)) => self.receive(message, &registered).await?,
                    Ok(None) | Err(_) => return Ok(End::Closed),
                },
                update = changes.next() => {
                    let Some(update) = update else { return Ok(End::because("this control node is stopping")) };
                    self.changed(update, &mut told, &registered).await?;
                }
                () = registered.seat.line.replaced() => return Ok(End::because("the agent opened another session")),
                () = context.stop.cancelled() => return Ok(End::because("this control node is stopping")),
                () = &mut isolated => return Ok(End::because("this control node has no contact with a leader")),
            }
        }
    }

    async fn changed(
        &self,
        update: Update,
        (told, trusted): &mut (Told, Authorities),
        registered: &Registered,
    ) -> Result<(), End> {
        let epoch = registered.epoch;
        let news = match update {
            Update::Change(change) => {
                if change.keys.contains(&RowKey::Node(self.node)) {
                    self.still_wanted(&change.state, epoch)?;
                }
                if change.keys.iter().any(|key| matches!(key, RowKey::Member(_))) {
                    self.control_nodes(&change.state).await?;
                }
                if change.keys.contains(&RowKey::Level) {
                    self.say_level(&change.state, registered)?;
                }
                if change.keys.iter().any(decides_trust) {
                    self.authorities(&change.state, trusted).await?;
                }
                told.change(&change.state, &change.keys)
            }
            Update::Lagged { state } => {
                self.still_wanted(&state, epoch)?;
                self.control_nodes(&state).await?;
                self.say_level(&state, registered)?;
                self.authorities(&state, trusted).await?;
                Some(told.complete(&state))
            }
        };
        match news {
            Some(news) => self.send(Message::Assignments(news)).await,
            None => Ok(()),
        }
    }

    /// The cluster can record by now what the agent understands.
    fn say_level(&self, state: &State, registered: &Registered) -> Result<(), End> {
        let Some(node) = state.node(self.node) else { return Ok(()) };
        if state.level() == Level::FIRST || node.info.level >= registered.level {
            return Ok(());
        }
        hand_over(&registered.infos, NodeInfo { level: registered.level, ..node.info.clone() })
    }

    /// Whom to dial when this control node is gone.
    async fn control_nodes(&self, state: &State) -> Result<(), End> {
        self.send(Message::ControlNodes(ControlNodes { addresses: control_addresses(state) })).await
    }

    /// Whom to trust, when it is not what was said last. Each phase of a rotation says something else.
    async fn authorities(&self, state: &State, said: &mut Authorities) -> Result<(), End> {
        let trusted = trusted(state).map_err(|e| End::because(e.to_string()))?;
        let fingerprints = trusted.fingerprints().iter().map(ToString::to_string).collect();
        let now = Authorities { fingerprints, confirm: state.ca_rotation().is_some() };
        if now == *said {
            return Ok(());
        }
        *said = now.clone();
        self.send(Message::Authorities(now)).await
    }

    /// A node that was removed, or declared lost, has to hear it: what it is told here does not count any more.
    fn still_wanted(&self, state: &State, epoch: Epoch) -> Result<(), End> {
        match state.node(self.node) {
            None => Err(End::removed()),
            Some(node) if node.epoch != epoch => Err(End::because("this node was declared lost, or registered elsewhere")),
            Some(_) => Ok(()),
        }
    }

    async fn receive(&self, message: AgentMessage, registered: &Registered) -> Result<(), End> {
        use agent_message::Message as Incoming;
        match message.message {
            Some(Incoming::Heartbeat(Heartbeat { sequence, usage })) => {
                self.context.pulse.heard(self.node, registered.epoch, usage);
                self.send(Message::Heartbeat(HeartbeatReply { sequence })).await
            }
            Some(Incoming::Claim(request)) => hand_over(&registered.claims, request),
            Some(Incoming::Report(request)) => hand_over(&registered.reports, request),
            Some(Incoming::Leave(request)) => hand_over(&registered.leaves, request),
            Some(Incoming::Info(update)) => hand_over(&registered.infos, read_info(update.info)?),
            Some(Incoming::LogOutput(output)) => {
                registered.seat.line.output(output.stream, Item::Lines(output.lines));
                Ok(())
            }
            Some(Incoming::ExecOutput(output)) => {
                // One without an event is of a later release.
                output.event.into_iter().for_each(|event| registered.seat.line.output(output.stream, Item::Exec(event)));
                Ok(())
            }
            Some(Incoming::StreamEnd(end)) => {
                registered.seat.line.end(end);
                Ok(())
            }
            Some(Incoming::Answer(answer)) => {
                registered.seat.line.open.answer(answer);
                Ok(())
            }
            Some(Incoming::Hello(_)) => Err(End::because("a second hello on one session")),
            // A message of a later release: what it asks for is not for us.
            None => Ok(()),
        }
    }

    async fn send(&self, content: Message) -> Result<(), End> {
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.out.send(Ok(message(content)))).await;
        sent.map_err(|_| End::Closed)?.map_err(|_| End::Closed)
    }
}

/// What of an agent's words the cluster can record: its level only when the members speak the one that knows of it.
fn sayable(store: &ring_store::Store, info: NodeInfo) -> NodeInfo {
    let level = if store.local().level() > Level::FIRST { info.level } else { Level::FIRST };
    NodeInfo { level, ..info }
}

fn message(content: Message) -> ControlMessage {
    ControlMessage { message: Some(content) }
}

/// An agent keeps few requests open; one that floods its session is cut off and begins again.
fn hand_over<T>(queue: &mpsc::Sender<T>, request: T) -> Result<(), End> {
    queue.try_send(request).map_err(|_| End::because("too many requests wait to be committed"))
}

fn read_info(info: Option<ring_proto::state::v1::NodeInfo>) -> Result<NodeInfo, End> {
    let info = info.ok_or_else(|| End::because("the hello does not describe the host"))?;
    NodeInfo::from_wire(info).map_err(|e| End::because(e.to_string()))
}
