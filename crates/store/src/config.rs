//! What a store is told when it is opened.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use ring_types::{ClusterGeneration, ClusterId, MemberId};
use tonic::transport::Channel;

/// Who this control node is, where its data is, and how patient it is.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Directory that is this store's alone; made when missing.
    pub data_dir: PathBuf,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its id in the Raft group, given out by the log and never used twice.
    pub member: MemberId,
    /// Its name, for people.
    pub name: String,
    /// Its cluster port, as the others dial it.
    pub address: String,
    /// The generation of the cluster this member joined, for a member that has no state yet; one that has goes by its state.
    pub generation: ClusterGeneration,
    /// Heartbeats and elections.
    pub timing: Timing,
    /// When the log is cut.
    pub compaction: Compaction,
    /// How long a write or a linearizable read tries before it gives up.
    pub patience: Duration,
}

impl StoreConfig {
    /// A store with the usual timing.
    pub fn new(data_dir: impl Into<PathBuf>, cluster: ClusterId, member: MemberId, name: &str, address: &str) -> Self {
        Self {
            data_dir: data_dir.into(),
            cluster,
            member,
            name: name.to_owned(),
            address: address.to_owned(),
            generation: ClusterGeneration::FIRST,
            timing: Timing::default(),
            compaction: Compaction::default(),
            patience: Duration::from_secs(10),
        }
    }
}

/// Heartbeats and elections. Shared disks take 100 to 200 ms for an fsync now and then, so a silence under a second changes
/// leaders for nothing; the longest one is most of the time writes stand still when a leader dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats of a leader.
    pub heartbeat: Duration,
    /// Shortest silence after which a follower stands for election.
    pub election_min: Duration,
    /// Longest one; each time a random value between both is taken. Half of it is how long followers and the leader itself
    /// trust a lead that was confirmed.
    pub election_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(200),
            election_min: Duration::from_millis(1100),
            election_max: Duration::from_millis(1600),
        }
    }
}

/// When the log is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// A snapshot is taken each time this many entries were committed since the last one.
    pub every: u64,
    /// Entries kept behind the snapshot, so that a member that was away shortly needs no snapshot.
    pub keep: u64,
}

impl Default for Compaction {
    fn default() -> Self {
        Self { every: 20_000, keep: 5_000 }
    }
}

/// A member could not be dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot connect to control node {peer} at {address}: {cause}")]
pub struct ConnectError {
    /// Which member.
    pub peer: MemberId,
    /// Where it was looked for.
    pub address: String,
    /// What went wrong.
    pub cause: String,
}

/// Dials other members. Whoever implements it makes sure that the other side is the member that was meant.
#[async_trait]
pub trait PeerConnector: Send + Sync + 'static {
    /// A channel of its own to that member; it may connect when first used.
    async fn connect(&self, peer: MemberId, address: &str) -> Result<Channel, ConnectError>;
}
