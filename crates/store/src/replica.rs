//! One member's running parts: starting them, watching over them, stopping them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use openraft::{Config, Instant as _, SnapshotPolicy};
use ring_types::MemberId;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::disk::Disk;
use crate::failure::Failure;
use crate::flush::Flusher;
use crate::forward::Forwarder;
use crate::identity::DataDir;
use crate::log::LogStore;
use crate::machine::Machine;
use crate::network::Network;
use crate::peers::Peers;
use crate::snapshot::Snapshots;
use crate::time::ClusterTime;
use crate::types::{DataMetrics, Metrics, Peer, Raft, ServerMetrics, Types, index_of, node_id};
use crate::view::View;
use crate::{Leadership, PeerConnector, PeerStatus, StoreConfig, StoreError, StoreStatus, Timing};

/// How long stopping waits for the directory to be free.
const CLOSING: Duration = Duration::from_secs(10);

/// A member's running parts.
pub(crate) struct Replica {
    pub(crate) config: StoreConfig,
    pub(crate) raft: Raft,
    pub(crate) peers: Arc<Peers>,
    pub(crate) forwarder: Forwarder,
    pub(crate) view: Arc<View>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) failure: Failure,
    pub(crate) time: ClusterTime,
    closed: watch::Receiver<()>,
    stopping: Arc<AtomicBool>,
}

/// What is opened from the directory.
struct Opened {
    log: LogStore,
    machine: Machine,
    view: Arc<View>,
    snapshots: Arc<Snapshots>,
    closed: watch::Receiver<()>,
}

/// Ends when the last one lets go of the database, or some time later.
async fn let_go(mut closed: watch::Receiver<()>) -> bool {
    timeout(CLOSING, async { while closed.changed().await.is_ok() {} }).await.is_ok()
}

/// `closing` is set as soon as there is a database to close.
fn open(
    dir: DataDir,
    config: &StoreConfig,
    failure: &Failure,
    closing: &mut Option<watch::Receiver<()>>,
) -> Result<Opened, StoreError> {
    let snapshots = Snapshots::open(dir.snapshots(), config.cluster, failure.clone())?;
    let disk = Disk::open(dir, failure.clone())?;
    let closed = disk.closed();
    *closing = Some(closed.clone());
    let loaded = disk.load()?;
    let flusher = Flusher::start(Arc::clone(&disk))?;
    let log = LogStore::open(Arc::clone(&disk), flusher.clone())?;
    let (machine, view) = Machine::new(disk, flusher, loaded, Arc::clone(&snapshots));
    Ok(Opened { log, machine, view, snapshots, closed })
}

fn raft_config(config: &StoreConfig) -> Result<Arc<Config>, StoreError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (election_timeout_min, election_timeout_max) = election_timeouts(&config.timing);
    let raft = Config {
        cluster_name: config.cluster.to_string(),
        heartbeat_interval: millis(config.timing.heartbeat),
        election_timeout_min: millis(election_timeout_min),
        election_timeout_max: millis(election_timeout_max),
        enable_pre_vote: Some(true),
        // A restarted leader is elected again: its rows on disk may be behind what it showed before.
        enable_leader_restore: Some(false),
        max_payload_entries: 1024,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.compaction.every),
        max_in_snapshot_log_to_keep: config.compaction.keep,
        purge_batch_size: 64,
        replication_lag_threshold: config.compaction.every.saturating_mul(2),
        ..Config::default()
    };
    raft.validate().map(Arc::new).map_err(|e| StoreError::Config { cause: e.to_string() })
}

/// openraft's election timeouts, which do not count from the leader's last word: first its lease has to run out, which is as
/// long as the greater of the two (`Leased::is_expired` in openraft's `utime.rs`).
fn election_timeouts(timing: &Timing) -> (Duration, Duration) {
    let lease = timing.election_max / 2;
    let shortest = timing.heartbeat * 3 / 2;
    (timing.election_min.saturating_sub(lease).max(shortest), lease)
}

impl Replica {
    /// Opens the directory and starts replication.
    pub(crate) async fn start(
        dir: DataDir,
        config: StoreConfig,
        connector: Arc<dyn PeerConnector>,
    ) -> Result<Arc<Self>, StoreError> {
        let raft_config = raft_config(&config)?;
        let failure = Failure::new();
        let (told, reports) = (config.clone(), failure.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let mut closing = None;
            (open(dir, &told, &reports, &mut closing), closing)
        });
        let (opened, closing) = opened.await.map_err(|e| StoreError::Raft { cause: e.to_string() })?;
        let opened = match (opened, closing) {
            (Ok(opened), _) => opened,
            (Err(error), None) => return Err(error),
            // A process that ends while its flush thread is in RocksDB may be aborted by it.
            (Err(error), Some(closing)) => {
                let_go(closing).await;
                return Err(error);
            }
        };
        let generation = opened.view.state().meta().map_or(config.generation, |meta| meta.generation);
        let peers = Peers::new(config.member, (config.cluster, generation), connector, Arc::clone(&opened.view));
        let me = node_id(config.member);
        let network = Network { me, peers: Arc::clone(&peers), patience: config.timing.election_max };
        let raft = Raft::new(me, raft_config, network, opened.log, opened.machine).await;
        let raft = match raft {
            Ok(raft) => raft,
            Err(fatal) => {
                let_go(opened.closed).await;
                return Err(cause_of(&failure, &fatal));
            }
        };
        let (news, leadership) = watch::channel(Leadership::default());
        let stopping = Arc::new(AtomicBool::new(false));
        tokio::spawn(observe(raft.clone(), me, news, failure.clone(), Arc::clone(&stopping)));
        Ok(Arc::new(Self {
            config,
            raft,
            forwarder: Forwarder::new(Arc::clone(&peers)),
            peers,
            view: opened.view,
            snapshots: opened.snapshots,
            leadership,
            failure,
            time: ClusterTime::default(),
            closed: opened.closed,
            stopping,
        }))
    }

    /// Makes this member a cluster of its own.
    pub(crate) async fn initialise(&self) -> Result<(), StoreError> {
        let me = Peer { name: self.config.name.clone(), address: self.config.address.clone() };
        let members = BTreeMap::from([(node_id(self.config.member), me)]);
        self.raft.initialize(members).await.map_err(|e| StoreError::Bootstrap { cause: e.to_string() })
    }

    /// A cluster of one needs no patience: there is nobody else to lead.
    pub(crate) async fn elect_alone(&self) -> Result<(), StoreError> {
        let voters: Vec<u64> = self.metrics().membership_config.voter_ids().collect();
        if voters == [node_id(self.config.member)] {
            self.raft.trigger().elect(false).await.map_err(|fatal| self.fatal(&fatal))?;
        }
        Ok(())
    }

    /// What openraft knows now: a copy of everything. For reports; who is asked for each write is [`Self::leader`].
    pub(crate) fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow_watched().clone()
    }

    /// Why replication stopped.
    pub(crate) fn fatal(&self, fatal: &Fatal<Types>) -> StoreError {
        if self.stopping() && self.failure.get().is_none() { StoreError::Shutdown } else { cause_of(&self.failure, fatal) }
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn status(&self) -> StoreStatus {
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        StoreStatus {
            id: self.config.member,
            term: metrics.current_term,
            leader: metrics.current_leader.map(MemberId),
            voters: membership.voter_ids().map(MemberId).collect(),
            learners: membership.learner_ids().map(MemberId).collect(),
            last_log: metrics.last_log_index.unwrap_or(0),
            committed: index_of(metrics.cluster_committed.as_ref()),
            applied: index_of(metrics.last_applied.as_ref()),
            snapshot: index_of(metrics.snapshot.as_ref()),
            peers: membership.nodes().map(|(id, peer)| self.peer_status(&metrics, *id, peer)).collect(),
            quorum_ack_age: quorum_ack_age(&metrics),
        }
    }

    fn peer_status(&self, metrics: &Metrics, id: u64, peer: &Peer) -> PeerStatus {
        let me = id == metrics.id;
        let matched = metrics.replication.as_ref().and_then(|peers| peers.get(&id)).and_then(|matched| matched.as_ref());
        let acked = metrics.heartbeat.as_ref().and_then(|peers| peers.get(&id)).and_then(|acked| acked.as_ref());
        PeerStatus {
            id: MemberId(id),
            name: peer.name.clone(),
            address: self.peers.whereabouts(id, &peer.address),
            voter: metrics.membership_config.voter_ids().any(|voter| voter == id),
            matched: if me { metrics.last_log_index } else { matched.map(|m| m.index) },
            last_ack: if me { Some(Duration::ZERO) } else { acked.map(|at| at.elapsed()) },
        }
    }

    /// Stops replication and waits until the directory is free.
    pub(crate) async fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "replication did not stop by itself");
        }
        self.view.close();
        self.peers.forget_all();
        if !let_go(self.closed.clone()).await {
            tracing::warn!(path = %self.config.data_dir.display(), "the data directory is still in use after stopping");
        }
    }
}

/// A leader that is the only voter is a quorum by itself: nobody else would confirm that it leads.
fn quorum_ack_age(metrics: &Metrics) -> Option<Duration> {
    let alone = metrics.membership_config.voter_ids().eq([metrics.id]);
    if alone && metrics.current_leader == Some(metrics.id) {
        return Some(Duration::ZERO);
    }
    metrics.last_quorum_acked.map(|at| at.elapsed())
}

fn cause_of(failure: &Failure, fatal: &Fatal<Types>) -> StoreError {
    failure.get().unwrap_or_else(|| StoreError::Raft { cause: fatal.to_string() })
}

/// Follows openraft: who leads, and whether it still runs. It looks at what changes with each entry only while a new leader
/// has applied none of its own: openraft reports that after every step it takes.
async fn observe(raft: Raft, me: u64, news: watch::Sender<Leadership>, failure: Failure, stopping: Arc<AtomicBool>) {
    let (all, mut server, mut data) = (raft.metrics(), raft.server_metrics(), raft.data_metrics());
    drop(raft);
    loop {
        let now = leadership(&server.borrow_and_update(), &data.borrow_and_update(), me);
        news.send_if_modified(|before| std::mem::replace(before, now) != now);
        let settled = now.is_me || now.leader != Some(MemberId(me));
        let goes_on = tokio::select! {
            changed = server.changed() => changed.is_ok(),
            changed = data.changed(), if !settled => changed.is_ok(),
        };
        if !goes_on {
            let _ = news.send_replace(Leadership { leader: None, is_me: false, ..now });
            break;
        }
    }
    // The senders are gone: openraft has ended, and said why before.
    let ended = all.borrow_watched().running_state.clone();
    if !stopping.load(Ordering::Relaxed) {
        failure.report(cause_of(&failure, &ended.err().unwrap_or(Fatal::Stopped)));
    }
}

/// A leader leads when an entry of its own term is applied: only then its state has everything its predecessors committed.
fn leadership(server: &ServerMetrics, data: &DataMetrics, me: u64) -> Leadership {
    let (term, leader) = (server.vote.leader_id.term, server.current_leader);
    let applied = data.last_applied.as_ref().map(|id| id.leader_id.term);
    Leadership { leader: leader.map(MemberId), term, is_me: leader == Some(me) && applied == Some(term) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_stands_after_the_silence_that_was_asked_for() {
        let timing = Timing::default();
        let (min, max) = election_timeouts(&timing);
        let lease = max;
        assert_eq!((lease + min, lease + max), (timing.election_min, timing.election_max));
        assert!(min > timing.heartbeat && timing.election_max < Duration::from_secs(2));
    }
}
