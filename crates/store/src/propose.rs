//! Commands on their way into the log.

use bytes::Bytes;
use futures::future::join_all;
use openraft::errors::{ClientWriteError, RaftError};
use ring_proto::Wire;
use ring_proto::raft::v1 as wire;
use ring_proto::raft::v1::refused::Reason;
use ring_state::{Command, Entry, Refusal, Reply};
use ring_types::{Level, RequestId, Revision, Timestamp};
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use uuid::Uuid;

use crate::access::changes_access;
use crate::attempt::{Failed, Leader, refused};
use crate::replica::Replica;
use crate::types::Encoded;
use crate::{Committed, ProposeError, StoreError};

/// Largest entry.
pub(crate) const ENTRY_LIMIT: usize = 8 << 20;
/// A command is handed on this often at most.
const HOPS: u32 = 2;

type Tried = Result<Committed, Failed<ProposeError>>;

/// Is it no more than an entry may have?
fn fits(size: usize) -> Result<(), Failed<ProposeError>> {
    let too_large = ProposeError::TooLarge { size, limit: ENTRY_LIMIT };
    if size > ENTRY_LIMIT { Err(Failed::Final(too_large)) } else { Ok(()) }
}

impl Replica {
    pub(crate) async fn propose(&self, request: RequestId, command: Command) -> Result<Committed, ProposeError> {
        if let Some(refusal) = self.too_early(&command).await {
            return Ok(Committed { revision: self.view.state().revision(), reply: Reply::Refused(refusal) });
        }
        let committed = self.persist(|deadline| self.try_propose(request, &command, 0, deadline)).await;
        match committed {
            Ok(result) => {
                let committed = result?;
                // Whoever proposed reads its own write here, wherever it was committed.
                self.reach(committed.revision.0, Instant::now() + self.config.patience).await;
                Ok(committed)
            }
            Err(up) if up.uncertain => Err(ProposeError::Unknown { missing: up.missing }),
            Err(up) => Err(ProposeError::NoQuorum { missing: up.missing }),
        }
    }

    /// What not every member would understand stays out of the log: it is refused here already, for the leader may be one of them.
    async fn too_early(&self, command: &Command) -> Option<Refusal> {
        if command.needs().0 == Level::FIRST {
            return None;
        }
        self.view.state().too_early(command)?;
        // This copy may be behind.
        self.read().await.ok().unwrap_or_else(|| self.view.state()).too_early(command)
    }

    async fn try_propose(&self, request: RequestId, command: &Command, hops: u32, deadline: Instant) -> Tried {
        if let Some(error) = self.ended() {
            return Err(Failed::Final(stopped(error)));
        }
        match self.leader() {
            Leader::Me => self.write(request, command.clone(), deadline).await,
            Leader::Other(id, peer) if hops < HOPS => {
                let encoded = command.encode();
                fits(encoded.len())?;
                let message = wire::ProposeRequest {
                    request: Bytes::copy_from_slice(request.0.as_bytes()),
                    command: encoded.into(),
                    hops: hops + 1,
                };
                let leader = (id, &peer);
                // Such a change takes longer: nothing else should wait for it.
                let alone = changes_access(command);
                let sent = if alone {
                    self.forwarder.send_alone(leader, message, deadline).await
                } else {
                    self.forwarder.send(leader, message, deadline).await
                };
                forwarded(sent?)
            }
            Leader::Other(..) | Leader::Unknown => Err(Failed::Again),
        }
    }

    /// Writes an entry as the leader.
    async fn write(&self, request: RequestId, command: Command, deadline: Instant) -> Tried {
        let access = changes_access(&command);
        let entry = Entry { at: self.now(), request, command }.encode();
        fits(entry.len())?;
        let written = timeout_at(deadline, self.raft.client_write(Encoded(entry.into()))).await;
        match written.map_err(|_| Failed::Uncertain)? {
            Ok(response) => {
                if access {
                    self.spread(response.log_id.index, deadline).await;
                }
                response.data.0.ok_or(Failed::Uncertain)
            }
            Err(RaftError::Fatal(fatal)) => Err(Failed::Final(stopped(self.fatal(&fatal)))),
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => Err(Failed::Uncertain),
            Err(RaftError::APIError(error)) => {
                tracing::debug!(%error, "not written here");
                Err(Failed::Again)
            }
        }
    }

    /// Now by the cluster's time: never before what was stamped or applied already.
    pub(crate) fn now(&self) -> Timestamp {
        self.time.now(self.view.clock())
    }

    /// Commands that another member forwards in one message. One that makes no sense is refused by itself.
    pub(crate) async fn propose_many_for(&self, message: wire::ProposeManyRequest) -> wire::ProposeManyReply {
        let one = async |request| {
            let reply = self.propose_for(request).await;
            reply.unwrap_or_else(|status| {
                let refused = refused(Reason::Uncertain, 0, status.message());
                wire::ProposeReply { result: Some(wire::propose_reply::Result::Refused(refused)) }
            })
        };
        wire::ProposeManyReply { replies: join_all(message.requests.into_iter().map(one)).await }
    }

    /// A command that another member forwards: one try; trying again is the other's.
    pub(crate) async fn propose_for(&self, message: wire::ProposeRequest) -> Result<wire::ProposeReply, Status> {
        let invalid = |e: &dyn ToString| Status::invalid_argument(e.to_string());
        let request = Uuid::from_slice(&message.request).map(RequestId).map_err(|e| invalid(&e))?;
        let command = Command::decode(&message.command).map_err(|e| invalid(&e))?;
        let deadline = Instant::now() + self.config.patience;
        self.peers.hurry.please();
        let result = match self.try_propose(request, &command, message.hops, deadline).await {
            Ok(done) => {
                wire::propose_reply::Result::Done(wire::Done { revision: done.revision.0, reply: done.reply.encode().into() })
            }
            Err(failed) => wire::propose_reply::Result::Refused(match failed {
                Failed::Again => refused(Reason::NotLeader, 0, ""),
                Failed::Final(ProposeError::TooLarge { size, .. }) => refused(Reason::TooLarge, size as u64, ""),
                Failed::Uncertain => refused(Reason::Uncertain, 0, ""),
                Failed::Final(error) => refused(Reason::Stopped, 0, error),
            }),
        };
        Ok(wire::ProposeReply { result: Some(result) })
    }
}

/// What the leader's answer means here.
fn forwarded(reply: wire::ProposeReply) -> Tried {
    match reply.result {
        Some(wire::propose_reply::Result::Done(done)) => {
            let reply = Reply::decode(&done.reply).map_err(|_| Failed::Uncertain)?;
            Ok(Committed { revision: Revision(done.revision), reply })
        }
        Some(wire::propose_reply::Result::Refused(refused)) => Err(match refused.reason() {
            Reason::TooLarge => Failed::Final(ProposeError::TooLarge { size: refused.detail as usize, limit: ENTRY_LIMIT }),
            Reason::NotLeader => Failed::Again,
            _ => Failed::Uncertain,
        }),
        None => Err(Failed::Uncertain),
    }
}

fn stopped(error: StoreError) -> ProposeError {
    match error {
        StoreError::Shutdown => ProposeError::Shutdown,
        error => ProposeError::Storage(error),
    }
}
