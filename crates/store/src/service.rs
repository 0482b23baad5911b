//! What other members ask of this one.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::ready;
use futures::{Stream, StreamExt};
use openraft::errors::{Fatal, RaftError};
use openraft::raft::{AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest, VoteRequest, VoteResponse};
use openraft::type_config::alias::SnapshotOf;
use ring_proto::raft::v1 as wire;
use ring_proto::raft::v1::raft_service_server::RaftService;
use ring_state::LEVEL;
use ring_types::MemberId;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::codec::{CodecError, log_id_from, log_id_to, vote_from, vote_to};
use crate::network::{append_from, append_reply};
use crate::replica::Replica;
use crate::snapshot::{SnapshotFile, read_snapshot};
use crate::types::{Types, Vote};

/// Silence after which a snapshot that is being received is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who calls, put into a request's extensions by whoever checked the caller's certificate. What a caller says of itself must
/// agree with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerMember(pub MemberId);

/// The Raft service of a store.
#[derive(Clone)]
pub struct RaftEndpoint {
    replica: Arc<Replica>,
    // One snapshot at a time.
    receiving: Arc<tokio::sync::Mutex<()>>,
}

type Reply<T> = Result<Response<T>, Status>;

impl RaftEndpoint {
    pub(crate) fn new(replica: Arc<Replica>) -> Self {
        Self { replica, receiving: Arc::default() }
    }

    fn open<T>(&self, request: Request<T>) -> Result<T, Status> {
        let from = self.replica.peers.accept(request.metadata())?;
        match request.extensions().get::<PeerMember>() {
            Some(PeerMember(known)) if *known != from => {
                Err(Status::permission_denied(format!("the certificate is control node {known}'s, the message {from}'s")))
            }
            _ => Ok(request.into_inner()),
        }
    }

    async fn receive(&self, stream: &mut Streaming<wire::SnapshotPiece>, path: PathBuf) -> Result<Vote, Status> {
        use wire::snapshot_piece::Piece;
        let Some(Piece::Opening(opening)) = next_piece(stream).await? else {
            return Err(Status::invalid_argument("a snapshot begins with its opening"));
        };
        let mut file = File::create(&path).await?;
        let mut bytes = 0;
        while let Some(piece) = next_piece(stream).await? {
            let Piece::Data(data) = piece else { return Err(Status::invalid_argument("a snapshot has one opening")) };
            bytes += data.len() as u64;
            file.write_all(&data).await?;
        }
        if bytes != opening.bytes {
            return Err(Status::data_loss(format!("the snapshot has {} bytes, {bytes} came", opening.bytes)));
        }
        file.sync_all().await?;
        vote_from(opening.vote).map_err(|e| malformed(&e))
    }

    /// Nothing that is not whole, of this cluster, and of the leader that sends it reaches the state.
    async fn install(&self, stream: &mut Streaming<wire::SnapshotPiece>, path: PathBuf) -> Result<Vote, Status> {
        let vote = self.receive(stream, path.clone()).await?;
        let cluster = self.replica.snapshots.cluster();
        let checked = tokio::task::spawn_blocking(move || {
            let file = SnapshotFile::open(path).map_err(|e| Status::internal(e.to_string()))?;
            let header = read_snapshot(&file, cluster, |key, row| crate::disk::read_row(key, row).map(drop));
            header.map(|header| (header, file)).map_err(|e| Status::data_loss(e.to_string()))
        });
        let (header, file) = checked.await.map_err(|e| Status::internal(e.to_string()))??;
        if header.last_log.is_none_or(|last| last.leader_id.term > vote.leader_id.term) {
            return Err(Status::invalid_argument("the snapshot is of a later term than its sender"));
        }
        let snapshot = SnapshotOf::<Types, _> { meta: header.meta(), snapshot: file };
        let response = self.replica.raft.install_full_snapshot(vote, snapshot).await.map_err(|e| stopped(&e))?;
        Ok(response.vote)
    }
}

async fn next_piece(stream: &mut Streaming<wire::SnapshotPiece>) -> Result<Option<wire::snapshot_piece::Piece>, Status> {
    match timeout(PATIENCE, stream.message()).await {
        Ok(message) => Ok(message?.and_then(|m| m.piece)),
        Err(_) => Err(Status::deadline_exceeded("no piece of the snapshot came in time")),
    }
}

fn malformed(error: &CodecError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn stopped(error: &Fatal<Types>) -> Status {
    Status::unavailable(format!("this control node has stopped: {error}"))
}

fn unwrapped<T>(result: Result<T, RaftError<Types>>) -> Result<T, Status> {
    result.map_err(|error| match error {
        RaftError::Fatal(error) => stopped(&error),
        RaftError::APIError(never) => match never {},
    })
}

fn vote_request(message: wire::VoteRequest) -> Result<VoteRequest<Types>, Status> {
    let vote = vote_from(message.vote).map_err(|e| malformed(&e))?;
    let mut request = VoteRequest::new(vote, message.last_log.map(log_id_from));
    request.leadership_transfer = message.leadership_transfer;
    Ok(request)
}

fn vote_reply(response: &VoteResponse<Types>) -> Response<wire::VoteReply> {
    Response::new(wire::VoteReply {
        vote: Some(vote_to(&response.vote)),
        granted: response.vote_granted,
        last_log: response.last_log_id.as_ref().map(log_id_to),
    })
}

#[tonic::async_trait]
impl RaftService for RaftEndpoint {
    type AppendStreamStream = Pin<Box<dyn Stream<Item = Result<wire::AppendReply, Status>> + Send>>;

    async fn append_stream(&self, request: Request<Streaming<wire::AppendRequest>>) -> Reply<Self::AppendStreamStream> {
        let requests = self.open(request)?.scan((), |(), message| {
            let read = message.map_err(|e| e.to_string()).and_then(|m| append_from(m).map_err(|e| e.to_string()));
            ready(read.inspect_err(|error| tracing::debug!(%error, "an append stream ends")).ok())
        });
        let results = self.replica.raft.stream_append(requests);
        let replies = results.map(|result| result.map(|r| append_reply(&r)).map_err(|e| stopped(&e)));
        Ok(Response::new(Box::pin(replies)))
    }

    async fn append(&self, request: Request<wire::AppendRequest>) -> Reply<wire::AppendReply> {
        let rpc = append_from(self.open(request)?).map_err(|e| malformed(&e))?;
        let (previous, last) = (rpc.prev_log_id, rpc.entries.last().map(|e| e.log_id).or(rpc.prev_log_id));
        let response = unwrapped(self.replica.raft.append_entries(rpc).await)?;
        if previous.is_none() && matches!(response, AppendEntriesResponse::Conflict) {
            return Err(Status::internal("a conflict with nothing"));
        }
        Ok(Response::new(append_reply(&response.into_stream_result(previous, last))))
    }

    async fn vote(&self, request: Request<wire::VoteRequest>) -> Reply<wire::VoteReply> {
        let rpc = vote_request(self.open(request)?)?;
        Ok(vote_reply(&unwrapped(self.replica.raft.vote(rpc).await)?))
    }

    async fn pre_vote(&self, request: Request<wire::VoteRequest>) -> Reply<wire::VoteReply> {
        let rpc = vote_request(self.open(request)?)?;
        Ok(vote_reply(&unwrapped(self.replica.raft.pre_vote(rpc).await)?))
    }

    async fn transfer_leader(&self, request: Request<wire::TransferRequest>) -> Reply<wire::TransferReply> {
        use wire::transfer_reply::{LogBehind, Refused};
        let message = self.open(request)?;
        let from = vote_from(message.from).map_err(|e| malformed(&e))?;
        let rpc = TransferLeaderRequest::new(from, message.to, message.last_log.map(log_id_from));
        let result = self.replica.raft.handle_transfer_leader(rpc).await.map_err(|e| stopped(&e))?;
        let refused = result.err().map(|error| match error {
            TransferLeaderError::VoteChanged { actual, .. } => Refused::VoteChanged(vote_to(&actual)),
            TransferLeaderError::LogNotFlushed { expected, actual } => Refused::LogBehind(LogBehind {
                expected: expected.as_ref().map(log_id_to),
                actual: actual.as_ref().map(log_id_to),
            }),
        });
        Ok(Response::new(wire::TransferReply { refused }))
    }

    async fn snapshot(&self, request: Request<Streaming<wire::SnapshotPiece>>) -> Reply<wire::SnapshotReply> {
        let mut stream = self.open(request)?;
        let _one = self.receiving.lock().await;
        let path = self.replica.snapshots.temporary();
        let installed = self.install(&mut stream, path.clone()).await;
        // Installed, it has its final name; otherwise it is of no use.
        drop(tokio::fs::remove_file(path).await);
        let vote = installed.inspect_err(|status| tracing::warn!(%status, "a snapshot was not installed"))?;
        Ok(Response::new(wire::SnapshotReply { vote: Some(vote_to(&vote)) }))
    }

    async fn propose(&self, request: Request<wire::ProposeRequest>) -> Reply<wire::ProposeReply> {
        let message = self.open(request)?;
        Ok(Response::new(self.replica.propose_for(message).await?))
    }

    async fn propose_many(&self, request: Request<wire::ProposeManyRequest>) -> Reply<wire::ProposeManyReply> {
        let message = self.open(request)?;
        Ok(Response::new(self.replica.propose_many_for(message).await))
    }

    async fn wait_applied(&self, request: Request<wire::WaitAppliedRequest>) -> Reply<wire::WaitAppliedReply> {
        let message = self.open(request)?;
        Ok(Response::new(self.replica.wait_applied_for(message).await?))
    }

    async fn read_index(&self, request: Request<wire::ReadIndexRequest>) -> Reply<wire::ReadIndexReply> {
        self.open(request)?;
        Ok(Response::new(self.replica.read_index_for().await))
    }

    async fn change_members(&self, request: Request<wire::ChangeMembersRequest>) -> Reply<wire::ChangeMembersReply> {
        let message = self.open(request)?;
        Ok(Response::new(self.replica.change_members_for(message).await?))
    }

    async fn ping(&self, request: Request<wire::PingRequest>) -> Reply<wire::PingReply> {
        self.open(request)?;
        Ok(Response::new(wire::PingReply { member: self.replica.config.member.0, level: LEVEL.0 }))
    }
}
