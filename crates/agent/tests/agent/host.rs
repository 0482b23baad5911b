//! A host of a test: what outlives its agent, and the agent, which can be killed and started again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ring_agent::{Agent, AgentConfig, AgentError, AgentTiming, ConnectError, ControlConnector, Ledger, LedgerError, Record};
use ring_runtime::{FakeCall, FakeRuntime, Runtime};
use ring_types::{DeploymentSpec, InstanceId, Kind, Name, NodeId, RuntimeKind};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use crate::plane::Plane;

pub(crate) const NODE: NodeId = NodeId(Uuid::from_u128(1234));

/// Channels without TLS: who is who is the server's business.
struct Plain;

#[async_trait]
impl ControlConnector for Plain {
    async fn connect(&self, address: &str) -> Result<Channel, ConnectError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|e| ConnectError(e.to_string()))?;
        endpoint.connect().await.map_err(|e| ConnectError(e.to_string()))
    }
}

/// A host.
pub(crate) struct Host {
    pub(crate) plane: Plane,
    pub(crate) runtime: FakeRuntime,
    pub(crate) dir: TempDir,
    pub(crate) addresses: Vec<String>,
    pub(crate) drain_on_stop: Option<Duration>,
    agent: Option<Running>,
}

struct Running {
    task: JoinHandle<Result<(), AgentError>>,
    stop: oneshot::Sender<()>,
}

pub(crate) fn job() -> DeploymentSpec {
    let name = |text| Name::new(text).unwrap();
    DeploymentSpec::new(name("ns"), name("job"), Kind::Job, RuntimeKind::Docker, "job:1")
}

impl Host {
    /// A host whose agent does not run yet.
    pub(crate) async fn new() -> Self {
        Self::of(job()).await
    }

    /// A host whose instances are of this specification.
    pub(crate) async fn of(spec: DeploymentSpec) -> Self {
        let plane = Plane::start(spec).await;
        let runtime = FakeRuntime::new(RuntimeKind::Docker);
        let addresses = vec![plane.address.to_string()];
        Self { plane, runtime, dir: tempfile::tempdir().unwrap(), addresses, drain_on_stop: None, agent: None }
    }

    /// A host whose agent has a session.
    pub(crate) async fn connected() -> Self {
        let mut host = Self::new().await;
        host.start();
        host.plane.wait("the first session", |state| state.sessions > 0).await;
        host
    }

    pub(crate) fn start(&mut self) {
        assert!(self.agent.is_none(), "it runs already");
        let config = AgentConfig {
            data_dir: self.dir.path().to_owned(),
            node: NODE,
            control_addresses: self.addresses.clone(),
            connector: Arc::new(Plain),
            runtimes: vec![Arc::new(self.runtime.clone()) as Arc<dyn Runtime>],
            labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
            address: String::new(),
            capacity: None,
            drain_on_stop: self.drain_on_stop,
            timing: AgentTiming {
                probe_interval: Duration::from_millis(50),
                retry: (Duration::from_millis(5), Duration::from_millis(50)),
                redial_max: Duration::from_millis(200),
                refused_pause: Duration::from_millis(50),
                ..AgentTiming::default()
            },
        };
        let (stop, mut stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            loop {
                let shutdown = async {
                    let _ = (&mut stopped).await;
                };
                // A killed process lets go of its ledger at once; an aborted task when its last part has noticed.
                match Agent::new(config.clone()).run(shutdown).await {
                    Err(AgentError::Ledger(LedgerError::InUse(_))) => tokio::task::yield_now().await,
                    other => return other,
                }
            }
        });
        self.agent = Some(Running { task, stop });
    }

    /// Ends the agent in the middle of whatever it does, as kill -9 would.
    pub(crate) async fn kill(&mut self) {
        let agent = self.agent.take().unwrap();
        agent.task.abort();
        let _ = agent.task.await;
    }

    /// Asks the agent to end.
    pub(crate) async fn stop(&mut self) {
        let agent = self.agent.take().unwrap();
        agent.stop.send(()).unwrap();
        agent.task.await.unwrap().unwrap();
    }

    /// The error the agent ends with by itself.
    pub(crate) async fn ends(&mut self) -> AgentError {
        let agent = self.agent.take().unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(30), agent.task).await;
        drop(agent.stop);
        ended.unwrap().unwrap().unwrap_err()
    }

    /// What the ledger has now.
    pub(crate) fn ledger(&self) -> BTreeMap<InstanceId, Record> {
        Ledger::peek(self.dir.path(), NODE).unwrap()
    }

    /// Returns when the agent has deleted the record of an instance.
    pub(crate) async fn forgets(&self, instance: InstanceId) {
        self.poll("its record to go", || !self.ledger().contains_key(&instance)).await;
    }

    /// Returns when the ledger has a record of an instance for which `wanted` holds.
    pub(crate) async fn records(&self, instance: InstanceId, wanted: impl Fn(&Record) -> bool) {
        self.poll("a record", || self.ledger().get(&instance).is_some_and(&wanted)).await;
    }

    /// Returns when a call for which `wanted` holds comes after the first `before` calls.
    pub(crate) async fn calls_after(&self, before: usize, wanted: impl Fn(&FakeCall) -> bool) {
        self.poll("a call of the runtime", || self.runtime.calls()[before..].iter().any(&wanted)).await;
    }

    /// For what tells nobody that it changed.
    async fn poll(&self, what: &str, ready: impl Fn() -> bool) {
        let mut looks = tokio::time::interval(Duration::from_millis(2));
        let waited = tokio::time::timeout(Duration::from_secs(30), async {
            while !ready() {
                looks.tick().await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain for {what}");
    }
}
