//! The side of a host its agent needs: who it is, and how it dials.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use ring_agent::{ConnectError, ControlConnector};
use ring_types::NodeId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::NodeError;
use super::host::address_towards;
use super::renewal::Asked;
use super::rotation::{Told, follow_told};
use crate::pki::{Expect, Fingerprint, HostFiles, HostRecord};
use crate::tls::{Dialer, HostTls, renew_forever};

/// What the agent of this host is told.
#[derive(Clone)]
pub struct AgentHost {
    /// Who it is.
    pub node: NodeId,
    /// Name of the host.
    pub name: String,
    /// Where the agent keeps its ledger, and its runtimes their files.
    pub data_dir: PathBuf,
    /// Control nodes to dial first.
    pub control_addresses: Vec<String>,
    /// Labels the host joined with.
    pub labels: BTreeMap<String, String>,
    /// Where other hosts reach it; empty when not known.
    pub address: String,
    /// How it dials.
    pub connector: Arc<dyn ControlConnector>,
}

/// A host that runs work and is no control node, with what keeps its certificate good.
struct LoadedAgent {
    host: AgentHost,
    tls: Arc<HostTls>,
    files: HostFiles,
    told: watch::Receiver<Told>,
}

/// Dials control nodes, and keeps the addresses that answered: members come and go while an agent stays.
struct AgentDialer {
    dialer: Dialer,
    files: HostFiles,
    /// What its sessions say of the authorities; beside a control node that one knows by itself.
    told: watch::Sender<Told>,
}

#[async_trait]
impl ControlConnector for AgentDialer {
    async fn connect(&self, address: &str) -> Result<Channel, ConnectError> {
        let channel = self.dialer.dial(address, Expect::AnyMember).await.map_err(|e| ConnectError(e.to_string()))?;
        if let Err(error) = self.files.remember_address(address) {
            tracing::warn!("the address {address} of a control node was not kept: {error}");
        }
        Ok(channel)
    }

    fn authorities(&self, fingerprints: &[String], confirm: bool) {
        let wanted: Result<Vec<Fingerprint>, _> = fingerprints.iter().map(|one| one.parse()).collect();
        match wanted {
            Ok(wanted) => drop(self.told.send_replace(Told { wanted, confirm })),
            Err(error) => tracing::warn!("a control node named an authority that has no fingerprint: {error}"),
        }
    }
}

impl AgentHost {
    /// Its directory, below the data directory of a node.
    pub const DIR: &str = "agent";

    /// Reads the data directory of a host that has joined as an agent, and keeps its certificate good until `stop`. `control_nodes` are
    /// dialled first, in the place of those it knew, when there are any.
    ///
    /// # Errors
    /// [`NodeError`] when it has not joined as one.
    pub fn load(data_dir: &Path, control_nodes: &[String], stop: CancellationToken) -> Result<Self, NodeError> {
        let mut loaded = LoadedAgent::read(data_dir)?;
        if !control_nodes.is_empty() {
            control_nodes.clone_into(&mut loaded.host.control_addresses);
        }
        let source = Asked { dialer: Dialer::new(loaded.tls.clone()), files: loaded.files.clone() };
        let following = follow_told(loaded.tls.clone(), loaded.files.clone(), source.clone(), loaded.told, stop.clone());
        tokio::spawn(following);
        tokio::spawn(renew_forever(loaded.tls, loaded.files, Arc::new(source), stop));
        Ok(loaded.host)
    }

    pub(super) fn of(
        record: &HostRecord,
        files: &HostFiles,
        dialer: Dialer,
        control_addresses: Vec<String>,
        told: watch::Sender<Told>,
    ) -> Option<Self> {
        Some(Self {
            node: record.node?,
            name: record.name.clone(),
            data_dir: files.data_dir().join(Self::DIR),
            control_addresses,
            labels: record.labels.clone(),
            address: own_address(record),
            connector: Arc::new(AgentDialer { dialer, files: files.clone(), told }),
        })
    }
}

impl LoadedAgent {
    fn read(data_dir: &Path) -> Result<Self, NodeError> {
        let files = HostFiles::new(data_dir);
        let record = files.record()?.ok_or_else(|| NodeError::NotJoined(data_dir.to_owned()))?;
        if record.member.is_some() {
            let instead = "ring server start";
            return Err(NodeError::OtherRole { has: "a control node", wanted: "an agent", instead });
        }
        let tls = Arc::new(HostTls::load(&files)?);
        let addresses = record.control_addresses.clone();
        let (tell, told) = watch::channel(Told::default());
        let host = AgentHost::of(&record, &files, Dialer::new(tls.clone()), addresses, tell);
        let host = host.ok_or_else(|| NodeError::NotJoined(data_dir.to_owned()))?;
        Ok(Self { host, tls, files, told })
    }
}

/// The address of the control node beside the agent, else the one the host has towards the cluster.
fn own_address(record: &HostRecord) -> String {
    if let Some(member) = &record.member {
        return member.address.rsplit_once(':').map(|(ip, _)| ip.to_owned()).unwrap_or_default();
    }
    let towards = record.control_addresses.first().and_then(|first| address_towards(first).ok());
    towards.map(|ip| ip.to_string()).unwrap_or_default()
}
