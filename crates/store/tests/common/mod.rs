//! Stores on the loopback interface, as control nodes have them, without TLS.
#![allow(dead_code)] // Each test binary uses its part.
#![allow(clippy::unwrap_used)] // It is test code, but not in test functions.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ring_state::{Bootstrap, Command, State};
use ring_store::{Compaction, ConnectError, Leadership, PeerConnector, Store, StoreConfig, StoreError, StoreStatus, Timing};
use ring_types::{ClusterId, MemberId, RequestId, UserId};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use uuid::Uuid;

/// Nothing in these tests takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(0xC1));

pub(crate) struct Plain;

#[async_trait]
impl PeerConnector for Plain {
    async fn connect(&self, peer: MemberId, address: &str) -> Result<Channel, ConnectError> {
        let fail = |e: &dyn ToString| ConnectError { peer, address: address.to_owned(), cause: e.to_string() };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|e| fail(&e))?;
        let endpoint = endpoint.connect_timeout(Duration::from_secs(1)).tcp_nodelay(true);
        endpoint.connect().await.map_err(|e| fail(&e))
    }
}

/// A control node's store and its port. What is stopped keeps its directory.
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) address: SocketAddr,
    pub(crate) dir: PathBuf,
    pub(crate) config: StoreConfig,
    pub(crate) store: Store,
    server: JoinHandle<()>,
}

fn serve(store: &Store, listener: TcpListener) -> JoinHandle<()> {
    let service = store.raft_service();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(async move {
        Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
    })
}

pub(crate) fn config(id: u64, dir: PathBuf, address: SocketAddr) -> StoreConfig {
    StoreConfig {
        generation: ring_types::ClusterGeneration::FIRST,
        timing: Timing {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(500),
            election_max: Duration::from_secs(1),
        },
        ..StoreConfig::new(dir, CLUSTER, MemberId(id), &format!("c{id}"), &address.to_string())
    }
}

pub(crate) fn bootstrap(address: SocketAddr) -> Command {
    Command::Bootstrap(Bootstrap {
        cluster: CLUSTER,
        ca_certificate: "ca".to_owned(),
        ca_key_sealed: vec![1],
        data_key_sealed: Vec::new(),
        member_name: "c1".parse().unwrap(),
        address: address.to_string(),
        api_address: "127.0.0.1:2".to_owned(),
        admin: UserId(Uuid::from_u128(9)),
        admin_password_hash: "hash".to_owned(),
        level: ring_state::LEVEL,
    })
}

impl Member {
    pub(crate) async fn start(id: u64, dir: PathBuf, change: impl FnOnce(&mut StoreConfig)) -> Self {
        Self::start_at(id, dir, SocketAddr::from(([127, 0, 0, 1], 0)), change).await
    }

    pub(crate) async fn start_at(id: u64, dir: PathBuf, address: SocketAddr, change: impl FnOnce(&mut StoreConfig)) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = config(id, dir.clone(), address);
        change(&mut config);
        let store = match id {
            1 => Store::create(config.clone(), Arc::new(Plain), bootstrap(address)).await.unwrap(),
            _ => Store::open(config.clone(), Arc::new(Plain)).await.unwrap(),
        };
        let server = serve(&store, listener);
        Self { id: MemberId(id), address, dir, config, store, server }
    }

    pub(crate) async fn stop(&self) {
        self.server.abort();
        self.store.shutdown().await;
    }

    pub(crate) async fn restart(&mut self) -> Result<(), StoreError> {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.store = Store::open(self.config.clone(), Arc::new(Plain)).await?;
        self.server = serve(&self.store, listener);
        Ok(())
    }

    pub(crate) async fn leads(&self) {
        self.leadership(|l| l.is_me).await;
    }

    pub(crate) async fn leadership(&self, wanted: impl FnMut(&Leadership) -> bool) -> Leadership {
        let mut leadership = self.store.leadership();
        *timeout(DEADLINE, leadership.wait_for(wanted)).await.expect("in time").unwrap()
    }

    /// Waits until what this member says of itself is as wanted: it is said a little after it is so.
    pub(crate) async fn says(&self, what: &str, wanted: impl Fn(&StoreStatus) -> bool) {
        let said = async {
            while !wanted(&self.store.status()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(DEADLINE, said).await.unwrap_or_else(|_| panic!("{what}: {:?}", self.store.status()));
    }

    /// Waits until this member's own state is as wanted.
    pub(crate) async fn sees(&self, mut wanted: impl FnMut(&State) -> bool) -> State {
        let mut watch = self.store.watch();
        let seen = async {
            let mut state = watch.state;
            while !wanted(&state) {
                state = watch.changes.next().await.expect("the store runs").state().clone();
            }
            state
        };
        timeout(DEADLINE, seen).await.expect("in time")
    }
}

pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    dirs: TempDir,
}

impl Cluster {
    pub(crate) async fn of(count: u64) -> Self {
        Self::with(count, |_| {}).await
    }

    pub(crate) async fn with(count: u64, change: impl Fn(&mut StoreConfig)) -> Self {
        let dirs = tempfile::tempdir().unwrap();
        let mut members = vec![Member::start(1, dirs.path().join("1"), &change).await];
        for id in 2..=count {
            let member = Member::start(id, dirs.path().join(id.to_string()), &change).await;
            members[0].store.add_learner(member.id, &member.config.name, &member.config.address).await.unwrap();
            let revision = members[0].store.local().revision();
            member.sees(|state| state.revision() >= revision).await;
            members[0].store.promote(member.id).await.unwrap();
            members.push(member);
        }
        Self { members, dirs }
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.dirs.path().join(name)
    }

    /// Index of the member that leads, as `member` sees it.
    pub(crate) async fn leader_seen_by(&self, member: usize) -> usize {
        let leadership = self.members[member].leadership(|l| l.leader.is_some()).await;
        self.members.iter().position(|m| Some(m.id) == leadership.leader).unwrap()
    }

    pub(crate) async fn stop(self) {
        for member in &self.members {
            member.stop().await;
        }
    }
}

pub(crate) fn namespace(name: &str) -> Command {
    Command::CreateNamespace { name: name.parse().unwrap() }
}

pub(crate) fn request(n: u128) -> RequestId {
    RequestId(Uuid::from_u128(n))
}

pub(crate) fn has(state: &State, name: &str) -> bool {
    state.namespace(&name.parse().unwrap()).is_some()
}

pub(crate) fn compaction(every: u64, keep: u64) -> impl Fn(&mut StoreConfig) {
    move |config| config.compaction = Compaction { every, keep }
}

pub(crate) fn digest(state: &State) -> [u8; 32] {
    ring_proto::rows::digest(state)
}
