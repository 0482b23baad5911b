//! What an agent is told by whoever starts it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ring_runtime::Runtime;
use ring_types::{NodeCapacity, NodeId};
use tonic::transport::Channel;

use crate::error::ConnectError;

/// Makes a channel to a control node: mutual TLS, with the certificate of this node.
#[async_trait]
pub trait ControlConnector: Send + Sync + 'static {
    /// Dials `address` (`host:port` of a cluster port).
    async fn connect(&self, address: &str) -> Result<Channel, ConnectError>;

    /// A control node says by their fingerprints which authorities are to be trusted, the one that signs first; `confirm`: the
    /// cluster waits to hear that it was done. Whoever makes connections sees to it; it must not take long.
    fn authorities(&self, fingerprints: &[String], confirm: bool) {
        let _ = (fingerprints, confirm);
    }
}

/// Everything an agent needs.
#[derive(Clone)]
pub struct AgentConfig {
    /// Where the ledger is; nobody else writes there.
    pub data_dir: PathBuf,
    /// This node.
    pub node: NodeId,
    /// Cluster ports of control nodes to dial first; more are learnt from them.
    pub control_addresses: Vec<String>,
    /// How they are dialled.
    pub connector: Arc<dyn ControlConnector>,
    /// What can run here.
    pub runtimes: Vec<Arc<dyn Runtime>>,
    /// Labels of this node.
    pub labels: BTreeMap<String, String>,
    /// Address other hosts reach this one at; empty when not known.
    pub address: String,
    /// What this node has to give; None: what the host has.
    pub capacity: Option<NodeCapacity>,
    /// When it is told to stop, the node is emptied first: what is left after so long is told to end. None: what runs goes on.
    pub drain_on_stop: Option<Duration>,
    /// How long things take.
    pub timing: AgentTiming,
}

impl fmt::Debug for AgentConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("AgentConfig");
        shown.field("node", &self.node).field("data_dir", &self.data_dir).field("control_addresses", &self.control_addresses);
        shown.finish_non_exhaustive()
    }
}

/// Intervals and patience of an agent.
#[derive(Clone, Copy, Debug)]
pub struct AgentTiming {
    /// From one look at the runtimes' health to the next.
    pub probe_interval: Duration,
    /// Longest dial, until the channel stands.
    pub connect_timeout: Duration,
    /// Longest wait for the welcome; an election may be under way.
    pub welcome_timeout: Duration,
    /// Longest wait for the answer to a claim or report before the session is given up.
    pub answer_timeout: Duration,
    /// First and longest pause before something that failed is tried again.
    pub retry: (Duration, Duration),
    /// Longest pause before another control node is dialled.
    pub redial_max: Duration,
    /// A running instance is looked at this often even when no hint came.
    pub sweep: Duration,
    /// From one measure of what scales with its load to the next.
    pub measure: Duration,
    /// How long a refused claim is left alone within a session.
    pub refused_pause: Duration,
}

impl Default for AgentTiming {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            welcome_timeout: Duration::from_secs(15),
            answer_timeout: Duration::from_secs(20),
            retry: (Duration::from_millis(100), Duration::from_secs(15)),
            redial_max: Duration::from_secs(5),
            sweep: Duration::from_mins(1),
            measure: Duration::from_secs(5),
            refused_pause: Duration::from_secs(5),
        }
    }
}
