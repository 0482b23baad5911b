//! A control node as it runs: its parts, and what happens when one of them ends.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ring_controller::{Contacts, Controllers};
use ring_proto::agent::v1::agent_service_server::AgentServiceServer;
use ring_proto::cluster::v1::cluster_service_server::ClusterServiceServer;
use ring_proto::cluster::v1::control_service_server::ControlServiceServer;
use ring_proto::cluster::v1::join_service_server::JoinServiceServer;
use ring_state::RowKey;
use ring_store::{PeerConnector, Store, Update};
use ring_types::{Cpu, Epoch, InstanceId, MemberId, NodeId, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

use super::api::{ApiFront, ApiWords};
use super::host::Settings;
use super::renewal::Own;
use super::rotation::OwnRotation;
use super::{AgentHost, NodeError};
use super::{find, promote};
use crate::door::Door;
use crate::keys::Resealer;
use crate::pki::{HostFiles, HostRecord, MemberRecord, PkiError, SecretKey};
use crate::refusals::Refusals;
use crate::rest::{Api, App, AppParts, Recorder, Uses};
use crate::services::{
    Admission, ClusterApi, ContactSink, ControlApi, Dismissal, Guard, JoinApi, Peers, Pulse, control_addresses,
};
use crate::session::{AgentApi, Agents, Execs, Hub, Logs, SessionContext};
use crate::tls::{Dialer, HostTls, Signer, accept, renew_forever};
use crate::webhooks::HttpDeliverer;

/// Longest wait for requests under way when the node stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Longest wait for another member to take the lead when the node stops.
const HAND_OVER: Duration = Duration::from_secs(1);
/// Both ends of a connection see within this when the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Room for what is under way from one peer: a snapshot chunk, a batch of log entries.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

impl ContactSink for Contacts {
    fn heard(&self, node: NodeId, epoch: Epoch, via: MemberId, at: Timestamp) {
        Self::heard(self, node, epoch, via, at);
    }

    fn measured(&self, node: NodeId, instance: InstanceId, cpu: Cpu, at: Timestamp) {
        Self::measured(self, node, instance, cpu, at);
    }
}

/// The ports of a control node, taken before anything else is done.
pub(super) struct Ports {
    cluster: TcpListener,
    api: TcpListener,
}

impl Ports {
    pub(super) async fn bind(cluster: SocketAddr, api: SocketAddr) -> Result<Self, NodeError> {
        let bind = async |address| TcpListener::bind(address).await.map_err(|source| NodeError::Listen { address, source });
        Ok(Self { cluster: bind(cluster).await?, api: bind(api).await? })
    }
}

/// What a control node is put together from.
pub(super) struct Wiring {
    record: HostRecord,
    files: HostFiles,
    secret: SecretKey,
    tls: Arc<HostTls>,
    dialer: Dialer,
    settings: Settings,
}

impl Wiring {
    pub(super) fn new(record: HostRecord, files: HostFiles, secret: SecretKey, tls: HostTls, settings: Settings) -> Self {
        let tls = Arc::new(tls);
        Self { record, files, secret, dialer: Dialer::new(tls.clone()), tls, settings }
    }

    pub(super) fn connector(&self) -> Arc<dyn PeerConnector> {
        Arc::new(self.dialer.clone())
    }

    pub(super) fn admission(&self, store: &Store) -> Admission {
        let name = self.record.member.as_ref().map(|member| member.name.clone()).unwrap_or_default();
        Admission::new(store.clone(), self.secret.clone(), self.settings.certificate_lifetime, name)
    }

    /// Starts everything over an open store.
    pub(super) fn start(self, store: Store, ports: Ports) -> Result<ControlNode, NodeError> {
        let member = self.record.member.clone().ok_or_else(|| NodeError::Answer("no member".to_owned()))?;
        self.check_secret(&store)?;
        let stop = CancellationToken::new();
        let contacts = Contacts::new();
        let peers = Peers::new(store.clone(), self.dialer.clone());
        let pulse = Pulse::new(store.clone(), peers.clone(), Arc::new(contacts.clone()));
        let (hub, refusals) = (Hub::default(), Arc::default());
        let parts = Parts { store: store.clone(), member: member.clone(), peers, pulse, hub, stop: stop.clone(), refusals };
        let mut tasks = JoinSet::new();
        self.serve_cluster(&parts, ports.cluster, &mut tasks);
        let api = ports.api.local_addr().map_err(|source| NodeError::Listen { address: member.api_listen, source })?;
        let front = ApiFront::open(&self.settings.api, &member, api, &self.tls)?;
        self.serve_api(&parts, ports.api, &front, &mut tasks);
        self.keep_up(&parts, &mut tasks)?;
        let removed = self.await_removal(&parts, &mut tasks);
        let sealer = Arc::new(Resealer(self.secret.clone()));
        let deliverer = Arc::new(HttpDeliverer::new(self.secret.clone(), self.settings.webhooks.clone()));
        let controllers = Controllers::start(store.clone(), contacts, sealer, deliverer, self.settings.controllers.clone());
        let words = front.words(&member);
        tracing::info!(
            member = %member.id, cluster = %self.record.cluster, address = %member.address, %api, scheme = words.scheme,
            "control node started"
        );
        if words.exposed {
            tracing::warn!(%api, "{}", ApiWords::EXPOSED);
        }
        let agent = AgentHost::of(
            &self.record,
            &self.files,
            self.dialer.clone(),
            self.agent_addresses(&member),
            watch::Sender::default(),
        );
        let data_dir = self.files.data_dir().to_owned();
        Ok(ControlNode { store, member, removed, controllers, tasks, stop, agent, api, words, data_dir })
    }

    /// A key of another cluster would only show when a secret is needed, or a host joins.
    fn check_secret(&self, store: &Store) -> Result<(), NodeError> {
        let state = store.local();
        if state.meta().is_none() {
            return Ok(());
        }
        match self.admission(store).authority(&state) {
            Err(crate::services::EnrolError::Pki(PkiError::Seal(_))) => {
                Err(NodeError::WrongSecretKey(self.files.secret_key_path()))
            }
            other => other.map(drop).map_err(NodeError::from),
        }
    }

    /// The agent beside this control node dials it first, and any other when this one has no leader.
    fn agent_addresses(&self, member: &MemberRecord) -> Vec<String> {
        let others = self.record.control_addresses.iter().filter(|a| **a != member.address).cloned();
        std::iter::once(member.address.clone()).chain(others).collect()
    }

    fn serve_cluster(&self, parts: &Parts, listener: TcpListener, tasks: &mut JoinSet<&'static str>) {
        let guard = Guard::new(self.record.cluster, parts.store.clone());
        let admission = self.admission(&parts.store);
        let session = Arc::new(SessionContext {
            store: parts.store.clone(),
            secret: self.secret.clone(),
            pulse: parts.pulse.clone(),
            hub: parts.hub.clone(),
            guard: guard.clone(),
            stop: parts.stop.clone(),
            refusals: parts.refusals.clone(),
        });
        let control = ControlApi::new(guard.clone(), parts.store.clone(), parts.pulse.clone(), parts.hub.clone());
        let server = Server::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .add_service(JoinServiceServer::new(JoinApi::new(admission.clone(), self.record.cluster)))
            .add_service(ClusterServiceServer::new(ClusterApi::new(guard.clone(), admission, parts.store.clone())))
            .add_service(ControlServiceServer::new(control))
            .add_service(AgentServiceServer::new(AgentApi::new(session)))
            .add_service(InterceptedService::new(parts.store.raft_service(), guard.members_only()));
        let (incoming, stop) = (accept(listener, self.tls.clone()), parts.stop.clone());
        tasks.spawn(async move {
            // Peers hold their connections open for ever: what is under way has a moment, then they are cut.
            let serving = server.serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
            tokio::select! {
                result = serving => if let Err(error) = result {
                    tracing::error!("the cluster port failed: {error}");
                },
                () = after(&stop, DRAIN) => {}
            }
            "the cluster port"
        });
    }

    fn serve_api(&self, parts: &Parts, listener: TcpListener, front: &ApiFront, tasks: &mut JoinSet<&'static str>) {
        let audit = Arc::new(Recorder::new());
        let uses = Arc::new(Uses::new(self.settings.note_uses_every));
        let app = App::new(AppParts {
            cluster: self.record.cluster,
            member: parts.member.id,
            name: parts.member.name.clone(),
            node: self.record.node,
            store: parts.store.clone(),
            secret: self.secret.clone(),
            rollout_deadline: self.settings.rollout_deadline,
            webhooks: self.settings.webhooks.clone(),
            admission: self.admission(&parts.store),
            pulse: parts.pulse.clone(),
            hub: parts.hub.clone(),
            logs: Logs::new(parts.hub.clone(), parts.peers.clone()),
            agents: Agents::new(parts.hub.clone(), parts.peers.clone()),
            execs: Execs::new(parts.hub.clone(), parts.peers.clone()),
            audit: audit.clone(),
            uses: uses.clone(),
            stop: parts.stop.clone(),
            limits: self.settings.api.callers,
            refusals: parts.refusals.clone(),
        });
        let served = write_down(parts, audit, uses, tasks);
        let door = Door::new(listener, Api::new(app), front.tls(), self.settings.api.door, parts.refusals.clone());
        let stop = parts.stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = door.run(stop.clone()) => {}
                () = after(&stop, DRAIN) => {}
            }
            served.cancel();
            "the REST API"
        });
        let signer = Signer {
            store: parts.store.clone(),
            admission: self.admission(&parts.store),
            name: parts.member.name.clone(),
            names: self.settings.api.names.clone(),
            address: front.address(),
        };
        if let Some(keeping) = front.keep(self.tls.clone(), signer, parts.stop.clone()) {
            tasks.spawn(beside(keeping, parts.stop.clone(), "the certificate of the REST API"));
        }
    }

    /// Contact with the leader, a good certificate, and a vote.
    fn keep_up(&self, parts: &Parts, tasks: &mut JoinSet<&'static str>) -> Result<(), NodeError> {
        let (pulse, stop) = (parts.pulse.clone(), parts.stop.clone());
        tasks.spawn(async move {
            pulse.run(stop).await;
            "the contact with the leader"
        });
        let address: SocketAddr = parts.member.address.parse().map_err(|_| NodeError::Advertise(parts.member.address.clone()))?;
        let source = Arc::new(Own {
            store: parts.store.clone(),
            admission: self.admission(&parts.store),
            identity: self.tls.identity()?,
            address: address.ip(),
        });
        let (store, files) = (parts.store.clone(), self.files.clone());
        let remembering = async move { remember_members(&store, &files).await };
        tasks.spawn(beside(remembering, parts.stop.clone(), "the record of members"));
        let (store, source_too, member) = (parts.store.clone(), source.clone(), parts.member.id);
        let rotation = OwnRotation { store, tls: self.tls.clone(), files: self.files.clone(), source: source_too, member };
        tasks.spawn(beside(async move { rotation.follow().await }, parts.stop.clone(), "the rotation of the authority"));
        let (tls, files, stop) = (self.tls.clone(), self.files.clone(), parts.stop.clone());
        tasks.spawn(async move {
            renew_forever(tls, files, source, stop).await;
            "the renewal of certificates"
        });
        let (store, dialer, record) = (parts.store.clone(), self.dialer.clone(), self.record.clone());
        let finding = find::while_leaderless(store.clone(), dialer.clone(), record.control_addresses.clone());
        tasks.spawn(beside(finding, parts.stop.clone(), "the search for control nodes"));
        // Being a voter is no end.
        tasks.spawn(beside(promote::until_voter(store, dialer, record), parts.stop.clone(), "the promotion"));
        Ok(())
    }

    /// Yields who says that this control node was removed, when somebody does.
    fn await_removal(&self, parts: &Parts, tasks: &mut JoinSet<&'static str>) -> oneshot::Receiver<String> {
        let dismissal = Dismissal {
            member: parts.member.clone(),
            store: parts.store.clone(),
            pulse: parts.pulse.clone(),
            dialer: self.dialer.clone(),
            addresses: self.record.control_addresses.clone(),
        };
        let (sender, removed) = oneshot::channel();
        let watching = async move {
            // Nobody waits for it in a node that stops anyway.
            let _ = sender.send(dismissal.known().await);
        };
        tasks.spawn(beside(watching, parts.stop.clone(), "the watch over its membership"));
        removed
    }
}

/// Commits what the API gathers, and tells the audit record to the log, until the token that is returned says that the last request
/// was served.
fn write_down(parts: &Parts, audit: Arc<Recorder>, uses: Arc<Uses>, tasks: &mut JoinSet<&'static str>) -> CancellationToken {
    let (store, name, served) = (parts.store.clone(), parts.member.name.clone(), CancellationToken::new());
    let (shared, until) = (store.clone(), served.clone());
    tasks.spawn(async move {
        uses.run(&shared, until).await;
        "the last uses of tokens"
    });
    let until = served.clone();
    tasks.spawn(async move {
        audit.keep(&store, &name, until).await;
        "the audit record"
    });
    served
}

/// Keeps the addresses of the control nodes on disk, for a start at which none of those it joined with is left.
async fn remember_members(store: &Store, files: &HostFiles) {
    let mut watch = store.watch();
    let mut state = watch.state;
    loop {
        let addresses = control_addresses(&state);
        if !addresses.is_empty()
            && let Err(error) = files.write_addresses(&addresses)
        {
            tracing::warn!("the addresses of the control nodes were not kept: {error}");
        }
        state = loop {
            match watch.changes.next().await {
                None => return,
                Some(Update::Lagged { state }) => break state,
                Some(Update::Change(change)) if change.keys.iter().any(|key| matches!(key, RowKey::Member(_))) => {
                    break change.state;
                }
                Some(Update::Change(_)) => {}
            }
        };
    }
}

/// A part that may have done all it has to do: it ends when the node stops, not before, and goes by `name`.
async fn beside(part: impl Future<Output = ()> + Send, stop: CancellationToken, name: &'static str) -> &'static str {
    let _done = stop.run_until_cancelled(part).await;
    stop.cancelled().await;
    name
}

/// Resolves some time after the node was told to stop.
async fn after(stop: &CancellationToken, time: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(time).await;
}

/// What several parts need.
struct Parts {
    store: Store,
    member: MemberRecord,
    peers: Peers,
    pulse: Pulse,
    hub: Hub,
    stop: CancellationToken,
    refusals: Arc<Refusals>,
}

/// A control node that runs.
pub struct ControlNode {
    store: Store,
    member: MemberRecord,
    removed: oneshot::Receiver<String>,
    controllers: Controllers,
    tasks: JoinSet<&'static str>,
    stop: CancellationToken,
    agent: Option<AgentHost>,
    api: SocketAddr,
    words: ApiWords,
    data_dir: PathBuf,
}

impl ControlNode {
    /// What the agent beside it is told; None when this host runs no work.
    pub fn agent_host(&self) -> Option<&AgentHost> {
        self.agent.as_ref()
    }

    /// Where its REST API listens.
    pub fn api_address(&self) -> SocketAddr {
        self.api
    }

    /// How its REST API is spoken to.
    pub fn api_words(&self) -> &ApiWords {
        &self.words
    }

    /// Its store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where it keeps everything.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Runs until `shutdown` resolves, then stops in good order. Workloads go on running.
    ///
    /// # Errors
    /// [`NodeError`] when the cluster has removed it, its store failed or a part of it ended: the process has to exit with that
    /// message.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) -> Result<(), NodeError> {
        let ended = tokio::select! {
            () = shutdown => Ok(()),
            error = self.store.failed() => Err(NodeError::Store(error)),
            Ok(says) = &mut self.removed => {
                Err(NodeError::Removed { id: self.member.id, name: self.member.name.clone(), says })
            }
            ended = self.tasks.join_next() => Err(match ended {
                Some(Ok(part)) => NodeError::Ended(part),
                _ => NodeError::Ended("a part of the control node"),
            }),
        };
        self.stop_all().await;
        ended
    }

    async fn stop_all(mut self) {
        self.hand_over().await;
        self.stop.cancel();
        self.controllers.shutdown().await;
        let _ = tokio::time::timeout(DRAIN * 2, async { while self.tasks.join_next().await.is_some() {} }).await;
        self.store.shutdown().await;
    }

    /// A leader that stops hands the lead over first, so that nobody has to wait for an election.
    async fn hand_over(&self) {
        let status = self.store.status();
        if status.leader != Some(status.id) {
            return;
        }
        let others = status.peers.iter().filter(|p| p.voter && p.id != status.id && p.last_ack.is_some());
        if let Some(to) = others.max_by_key(|p| p.matched).map(|p| p.id) {
            if let Ok(Ok(())) = tokio::time::timeout(HAND_OVER, self.store.transfer_leader(to)).await {
                tracing::info!("handed the lead to control node {to}");
            } else {
                tracing::info!("control node {to} did not take the lead in time");
            }
        }
    }
}
