//! Starting a control node from its data directory.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ring_store::Store;

use super::host::{Settings, api_address, cluster_listen, secret_key};
use super::init::store_config;
use super::running::{Ports, Wiring};
use super::{ControlNode, NodeError};
use crate::pki::{HostFiles, HostRecord, MemberRecord};
use crate::tls::HostTls;

/// What may differ from one start to the next.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// Where this host keeps everything.
    pub data_dir: PathBuf,
    /// Where others reach the cluster port; as before when left out.
    pub advertise: Option<SocketAddr>,
    /// Cluster ports of control nodes, where the others have moved; those it knew when there are none.
    pub control_nodes: Vec<String>,
    /// Where the REST API listens; as before when left out.
    pub api_listen: Option<SocketAddr>,
    /// How its parts are set.
    pub settings: Settings,
}

/// Has this host joined a cluster?
///
/// # Errors
/// [`NodeError::Pki`] when its files cannot be read.
pub fn has_joined(data_dir: &Path) -> Result<bool, NodeError> {
    Ok(HostFiles::new(data_dir).record()?.is_some())
}

impl ControlNode {
    /// Starts the control node of a data directory.
    ///
    /// # Errors
    /// [`NodeError`] when the host has not joined as one, a port is taken, or the store does not open.
    pub async fn start(options: StartOptions) -> Result<Self, NodeError> {
        options.settings.api.check()?;
        let files = HostFiles::new(&options.data_dir);
        let mut record = files.record()?.ok_or_else(|| NodeError::NotJoined(options.data_dir.clone()))?;
        let member = moved(&mut record, &options)?;
        files.write_record(&record)?;
        if !options.control_nodes.is_empty() {
            record.control_addresses.clone_from(&options.control_nodes);
        }
        let advertise = member.address.parse().map_err(|_| NodeError::Advertise(format!("'{}'", member.address)))?;
        let ports = Ports::bind(cluster_listen(advertise), member.api_listen).await?;
        let secret = secret_key(&files, &options.settings)?;
        let wiring = Wiring::new(record.clone(), files.clone(), secret, HostTls::load(&files)?, options.settings.clone());
        let mut config = store_config(&options.data_dir, &record);
        (config.timing, config.compaction) = (options.settings.timing, options.settings.compaction);
        let store = Store::open(config, wiring.connector()).await?;
        wiring.start(store, ports)
    }
}

/// The member of this host, with the addresses it is to have from now on.
fn moved(record: &mut HostRecord, options: &StartOptions) -> Result<MemberRecord, NodeError> {
    let other = NodeError::OtherRole { has: "an agent", wanted: "a control node", instead: "ring agent start" };
    let member = record.member.as_mut().ok_or(other)?;
    if let Some(advertise) = options.advertise {
        member.address = advertise.to_string();
    }
    member.api_listen = options.api_listen.unwrap_or(member.api_listen);
    let advertise = member.address.parse().map_err(|_| NodeError::Advertise(format!("'{}'", member.address)))?;
    member.api_address = api_address(member.api_listen, advertise);
    Ok(member.clone())
}
