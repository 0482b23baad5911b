//! Reads that have everything acknowledged before them: the leader confirms with a quorum that it leads (ReadIndex) and names an
//! index; whoever reads waits until its own state has that.

use openraft::ReadPolicy;
use openraft::errors::RaftError;
use ring_proto::raft::v1 as wire;
use ring_proto::raft::v1::refused::Reason;
use ring_state::State;
use tokio::time::{Instant, timeout_at};

use crate::attempt::{Failed, Leader, refused};
use crate::peers::Client;
use crate::replica::Replica;
use crate::{ReadError, StoreError};

impl Replica {
    pub(crate) async fn read(&self) -> Result<State, ReadError> {
        let read = self.persist(|deadline| async move {
            let index = self.read_index(deadline).await?;
            if self.reach(index, deadline).await { Ok(self.view.state()) } else { Err(Failed::Again) }
        });
        read.await.unwrap_or_else(|up| Err(ReadError::NoQuorum { missing: up.missing }))
    }

    /// Waits until this member has applied `index`; false when it did not by then.
    pub(crate) async fn reach(&self, index: u64, deadline: Instant) -> bool {
        timeout_at(deadline, self.view.applied().reach(index)).await.is_ok()
    }

    async fn read_index(&self, deadline: Instant) -> Result<u64, Failed<ReadError>> {
        match self.ended() {
            Some(StoreError::Shutdown) => return Err(Failed::Final(ReadError::Shutdown)),
            Some(error) => return Err(Failed::Final(error.into())),
            None => {}
        }
        match self.leader() {
            Leader::Me => self.own_read_index(deadline).await,
            Leader::Unknown => Err(Failed::Again),
            Leader::Other(id, peer) => {
                let call = |mut client: Client, request| async move { client.read_index(request).await };
                let reply = self.peers.call_leader((id, &peer), wire::ReadIndexRequest {}, deadline, call).await?;
                match reply.result {
                    Some(wire::read_index_reply::Result::Index(index)) => Ok(index),
                    Some(wire::read_index_reply::Result::Refused(_)) | None => Err(Failed::Again),
                }
            }
        }
    }

    async fn own_read_index(&self, deadline: Instant) -> Result<u64, Failed<ReadError>> {
        match timeout_at(deadline, self.raft.get_read_linearizer(ReadPolicy::ReadIndex)).await {
            Ok(Ok(linearizer)) => Ok(linearizer.read_log_id().index()),
            Ok(Err(RaftError::Fatal(fatal))) => Err(Failed::Final(self.fatal(&fatal).into())),
            Ok(Err(RaftError::APIError(error))) => {
                tracing::debug!(%error, "cannot confirm that this member leads");
                Err(Failed::Again)
            }
            Err(_) => Err(Failed::Again),
        }
    }

    /// The index for a read at another member: one try; trying again is the other's.
    pub(crate) async fn read_index_for(&self) -> wire::ReadIndexReply {
        use wire::read_index_reply::Result as Reply;
        self.peers.hurry.please();
        let index = match self.leader() {
            Leader::Me => self.own_read_index(Instant::now() + self.config.timing.election_max).await,
            Leader::Other(..) | Leader::Unknown => Err(Failed::Again),
        };
        let result = index.map_or_else(|_| Reply::Refused(refused(Reason::NotLeader, 0, "")), Reply::Index);
        wire::ReadIndexReply { result: Some(result) }
    }
}
