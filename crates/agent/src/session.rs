//! Sessions with control nodes: dials one after another, for as long as the agent runs.

mod addresses;
mod exchange;
mod exec;
mod generation;
mod logs;
mod questions;
mod streams;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use ring_proto::Wire as _;
use ring_proto::agent::v1::agent_service_client::AgentServiceClient;
use ring_proto::agent::v1::{AgentMessage, ControlMessage, Hello, Welcome, agent_message, control_message};
use ring_types::{ClusterGeneration, Epoch, NodeInfo};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use uuid::Uuid;

use crate::config::{AgentConfig, ControlConnector};
use crate::contact::since_boot;
use crate::context::{Context, pause};
use crate::instances::Instances;
use addresses::Addresses;
use exchange::Exchange;
use generation::Followed;

/// Messages of ours that may wait for the connection, but for output.
const OUTGOING: usize = 32;
/// Messages of output, of instances and of commands in them, that may wait for the connection.
const OUTGOING_LOGS: usize = 8;
/// Largest message taken from a control node: a complete set of some ten thousand instances.
const LARGEST_MESSAGE: usize = 64 * 1024 * 1024;
/// First pause before another control node is dialled.
const REDIAL_FIRST: Duration = Duration::from_millis(100);

/// How the agent stands with the control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Address of the control node it has a session with.
    pub control_node: Option<String>,
    /// Name of this node, once a control node has said it.
    pub node_name: String,
    /// Epoch of the latest session.
    pub epoch: Option<Epoch>,
}

/// Why a session ended.
#[derive(Debug)]
enum End {
    /// Anything but what follows.
    Lost(String),
    /// The cluster does not want this node.
    Dismissed(String),
}

/// Dials control nodes and talks to them.
pub(crate) struct Sessions {
    config: AgentConfig,
    context: Arc<Context>,
    instances: Arc<Instances>,
    info: watch::Receiver<NodeInfo>,
    connection: watch::Sender<Connection>,
    addresses: Addresses,
    followed: Followed,
    boot: Uuid,
}

/// A session that was welcomed.
struct Open {
    inbound: Streaming<ControlMessage>,
    outgoing: mpsc::Sender<AgentMessage>,
    logs: mpsc::Sender<AgentMessage>,
    welcome: Welcome,
    connector: Arc<dyn ControlConnector>,
}

impl Sessions {
    /// Sessions of this run of the agent.
    pub(crate) fn new(
        config: AgentConfig,
        context: Arc<Context>,
        instances: Arc<Instances>,
        info: watch::Receiver<NodeInfo>,
        connection: watch::Sender<Connection>,
    ) -> Self {
        let addresses = Addresses::load(&config.data_dir, &config.control_addresses);
        let followed = Followed::load(&config.data_dir);
        Self { config, context, instances, info, connection, addresses, followed, boot: Uuid::new_v4() }
    }

    /// Holds sessions, one after another. Returns why the cluster does not want this node any more.
    pub(crate) async fn run(mut self) -> String {
        let mut failures = 0;
        loop {
            let address = self.addresses.next();
            let (welcomed, end) = match address {
                Some(address) => self.session(&address).await,
                None => (false, End::Lost("no control node is known".into())),
            };
            self.connection.send_modify(|connection| connection.control_node = None);
            let why = match end {
                End::Dismissed(why) => return why,
                End::Lost(why) => why,
            };
            failures = if welcomed { 1 } else { failures + 1 };
            let delay = pause(failures, (REDIAL_FIRST, self.config.timing.redial_max));
            if welcomed || failures % 20 == 1 {
                tracing::warn!(why, failures, "no session with a control node; what runs goes on");
            } else {
                tracing::debug!(why, failures, "no session with a control node");
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// One session with the control node at `address`. True when it was welcomed.
    async fn session(&mut self, address: &str) -> (bool, End) {
        let dialled = since_boot();
        let open = match self.open(address).await {
            Ok(open) => open,
            Err(end) => return (false, end),
        };
        let epoch = Epoch(open.welcome.epoch);
        self.context.contact.heard(dialled);
        tracing::info!(address, %epoch, instances = self.instances.count(), "session with a control node");
        self.addresses.learn(&open.welcome.control_addresses);
        self.instances.welcomed(epoch);
        self.connection.send_replace(Connection {
            control_node: Some(address.to_owned()),
            node_name: open.welcome.node_name.clone(),
            epoch: Some(epoch),
        });
        let exchange = Exchange::new(Arc::clone(&self.context), Arc::clone(&self.instances), &open, self.info.clone());
        (true, exchange.run(open.inbound, &mut self.addresses).await)
    }

    /// Dials, says hello and awaits the welcome.
    async fn open(&mut self, address: &str) -> Result<Open, End> {
        let lost = |what: &str, why: String| End::Lost(format!("{address}: {what}: {why}"));
        let timing = self.config.timing;
        let channel = timeout(timing.connect_timeout, self.config.connector.connect(address))
            .await
            .map_err(|_| lost("connect", "no answer".into()))?
            .map_err(|e| lost("connect", e.to_string()))?;
        let (outgoing, ours) = mpsc::channel(OUTGOING);
        let (logs, log_output) = mpsc::channel(OUTGOING_LOGS);
        let info = self.info.borrow_and_update().to_wire();
        let (node_id, boot_id) = (self.config.node.to_string(), self.boot.to_string());
        let hello = AgentMessage { message: Some(agent_message::Message::Hello(Hello { node_id, boot_id, info: Some(info) })) };
        // The queue is empty and has room.
        let _ = outgoing.try_send(hello);
        let messages = exchange::prefer(ReceiverStream::new(ours), ReceiverStream::new(log_output));
        let mut client = AgentServiceClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE);
        let greeting = async {
            let mut inbound = client.session(messages).await?.into_inner();
            let first = inbound.next().await.transpose()?;
            Ok::<_, tonic::Status>((inbound, first.and_then(|message| message.message)))
        };
        let (inbound, first) = timeout(timing.welcome_timeout, greeting)
            .await
            .map_err(|_| lost("hello", "no welcome".into()))?
            .map_err(|status| lost("hello", format!("{}: {}", status.code(), status.message())))?;
        match first {
            Some(control_message::Message::Welcome(welcome)) => {
                self.followed.accept(ClusterGeneration(welcome.generation)).map_err(|why| lost("not listened to", why))?;
                let connector = Arc::clone(&self.config.connector);
                Ok(Open { inbound, outgoing, logs, welcome, connector })
            }
            Some(control_message::Message::Goodbye(goodbye)) if goodbye.fatal => Err(End::Dismissed(goodbye.reason)),
            Some(control_message::Message::Goodbye(goodbye)) => Err(lost("goodbye", goodbye.reason)),
            _ => Err(lost("hello", "answered without a welcome".into())),
        }
    }
}
