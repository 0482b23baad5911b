//! The store's handle.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use ring_proto::raft::v1::raft_service_server::RaftServiceServer;
use ring_state::{Command, Reply, State};
use ring_types::{MemberId, RequestId, Revision, Timestamp};
use tokio::sync::watch;

use crate::backup::write_backup;
use crate::identity::{self, DataDir};
use crate::members::MemberChange;
use crate::peers::MESSAGE_LIMIT;
use crate::replica::Replica;
use crate::service::RaftEndpoint;
use crate::types::Peer;
use crate::{
    Identity, Leadership, MemberError, MemberLevel, PeerConnector, ProposeError, ReadError, StoreConfig, StoreError, StoreStatus,
    Watch,
};

/// A command was committed and applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Index of its entry; for a repeated request of the entry that answered it first.
    pub revision: Revision,
    /// Its answer.
    pub reply: Reply,
}

/// A member's store. A handle: copies are the same store.
#[derive(Clone)]
pub struct Store {
    replica: Arc<Replica>,
}

impl Store {
    /// Makes a cluster of one member and writes its first entry. What an earlier attempt left unfinished is begun again.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`] when the directory has a cluster already, and whatever keeps a store from starting.
    pub async fn create(config: StoreConfig, connector: Arc<dyn PeerConnector>, bootstrap: Command) -> Result<Self, StoreError> {
        let dir = DataDir::take(&config.data_dir)?;
        dir.begin(config.cluster, config.member)?;
        let root = config.data_dir.clone();
        let replica = Replica::start(dir, config, connector).await?;
        let made = async {
            replica.initialise().await?;
            let first = replica.propose(RequestId::NONE, bootstrap).await;
            match first.map_err(|e| StoreError::Bootstrap { cause: e.to_string() })?.reply {
                Reply::Refused(refusal) => Err(StoreError::Bootstrap { cause: refusal.to_string() }),
                _ => DataDir::finish(&root),
            }
        };
        match made.await {
            Ok(()) => Ok(Self { replica }),
            Err(error) => {
                replica.stop().await;
                Err(error)
            }
        }
    }

    /// Opens a store again, or, with an empty directory, as a member that waits to be added to its cluster.
    ///
    /// # Errors
    /// When the directory is in use, another member's, of another format, or damaged.
    pub async fn open(config: StoreConfig, connector: Arc<dyn PeerConnector>) -> Result<Self, StoreError> {
        let dir = DataDir::take(&config.data_dir)?;
        dir.claim(config.cluster, config.member)?;
        let replica = Replica::start(dir, config, connector).await?;
        replica.elect_alone().await?;
        Ok(Self { replica })
    }

    /// Whose data is in a directory; None when there is none, or a cluster that was never finished.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn exists(data_dir: &Path) -> Result<Option<Identity>, StoreError> {
        identity::identity(data_dir)
    }

    /// Has a command committed and applied, through whichever member leads, waiting through an election when there is one.
    /// When it returns, this member's own state has it too, unless this member is far behind.
    ///
    /// A request id other than [`RequestId::NONE`] makes it safe to ask again: the same id is applied once.
    ///
    /// # Errors
    /// [`ProposeError::NoQuorum`] when it had no effect, [`ProposeError::Unknown`] when nobody knows.
    pub async fn propose(&self, request: RequestId, command: Command) -> Result<Committed, ProposeError> {
        self.replica.propose(request, command).await
    }

    /// This member's state; it may be behind the cluster.
    pub fn local(&self) -> State {
        self.replica.view.state()
    }

    /// Now by the cluster's time: what an entry would be dated with, were this member to write it. Decisions go by this time too.
    ///
    /// It is this host's clock, but never before the latest entry this member knows of; while such an entry is from the future,
    /// it goes on slower than real time.
    pub fn now(&self) -> Timestamp {
        self.replica.now()
    }

    /// The state with everything that was acknowledged before this call.
    ///
    /// # Errors
    /// [`ReadError::NoQuorum`] when nobody can say what is current.
    pub async fn read(&self) -> Result<State, ReadError> {
        self.replica.read().await
    }

    /// Writes a backup of this member's state, of one moment, while it goes on: a view costs nothing, and rows are encoded as they are
    /// written. It blocks as the writer does.
    ///
    /// # Errors
    /// Those of the writer, and when there is no state yet.
    pub fn backup(&self, at: Timestamp, release: &str, out: impl Write) -> io::Result<()> {
        let (state, last) = self.replica.view.dated();
        let last = last.ok_or_else(|| io::Error::other("this control node has no state yet"))?;
        write_backup(out, &state, last, at, release)
    }

    /// This member's state and everything after it.
    pub fn watch(&self) -> Watch {
        self.replica.view.watch()
    }

    /// Who leads, and every change of that.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.replica.leadership.clone()
    }

    /// What it says about itself.
    pub fn status(&self) -> StoreStatus {
        self.replica.status()
    }

    /// Asks every member, learners too, which level it speaks. Takes a second at most.
    pub async fn levels(&self) -> Vec<MemberLevel> {
        self.replica.peers.levels(&self.replica.metrics()).await
    }

    /// Says where a member was found, its identity proven, that does not answer where the record has it. It holds until the member
    /// does not answer there either.
    pub fn found_at(&self, member: MemberId, address: &str) {
        self.replica.peers.found_at(member.0, address);
    }

    /// Adds a member that receives the log but does not vote. Returns when the change is committed; the member may be started
    /// before or after.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn add_learner(&self, id: MemberId, name: &str, address: &str) -> Result<(), MemberError> {
        let peer = Peer { name: name.to_owned(), address: address.to_owned() };
        self.replica.change_members(MemberChange::AddLearner(id, peer)).await
    }

    /// Gives a learner that has caught up its vote.
    ///
    /// # Errors
    /// [`MemberError::Behind`] when it has not.
    pub async fn promote(&self, id: MemberId) -> Result<(), MemberError> {
        self.replica.change_members(MemberChange::Promote(id)).await
    }

    /// Takes a member out, voter or learner. It is not told: whoever runs it stops it.
    ///
    /// # Errors
    /// [`MemberError::Invalid`] for the last voter.
    pub async fn remove(&self, id: MemberId) -> Result<(), MemberError> {
        self.replica.change_members(MemberChange::Remove(id)).await
    }

    /// Hands the lead to another voter. Returns when it leads.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn transfer_leader(&self, to: MemberId) -> Result<(), MemberError> {
        self.replica.change_members(MemberChange::Transfer(to)).await
    }

    /// The service other members call; mounted by the server on its cluster port. Sockets it accepts need `TCP_NODELAY`, or
    /// each entry waits for the other side's delayed acknowledgement.
    pub fn raft_service(&self) -> RaftServiceServer<RaftEndpoint> {
        RaftServiceServer::new(self.raft_endpoint())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT)
    }

    /// What [`Self::raft_service`] wraps.
    pub fn raft_endpoint(&self) -> RaftEndpoint {
        RaftEndpoint::new(Arc::clone(&self.replica))
    }

    /// Resolves when storage or replication failed: the process has to exit with that message.
    pub async fn failed(&self) -> StoreError {
        self.replica.failure.wait().await
    }

    /// Stops replication and closes the data directory.
    pub async fn shutdown(&self) {
        self.replica.stop().await;
    }
}
