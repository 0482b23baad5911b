//! openraft's calls to other members.

use std::future::Future;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, stream};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use openraft::{OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use ring_proto::raft::v1 as wire;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;
use tonic::{Code, Status, Streaming};

use crate::codec::{self, CodecError, log_id_from, log_id_to, vote_from, vote_to};
use crate::outgoing::{Window, outgoing};
use crate::peers::{Client, Lane, Peers};
use crate::snapshot::SnapshotFile;
use crate::types::{LogId, Peer, Types, Vote};

/// A snapshot's piece.
const PIECE: usize = 1 << 20;
/// A snapshot may take this long, and a second more for each [`PIECE`].
const SNAPSHOT: Duration = Duration::from_mins(1);

type RpcError = RPCError<Types>;

/// Makes the links to other members.
pub(crate) struct Network {
    pub(crate) me: u64,
    pub(crate) peers: Arc<Peers>,
    /// Silence after which a stream with open requests is given up.
    pub(crate) patience: Duration,
}

impl Network {
    fn link(&self, target: u64, peer: &Peer, lane: Lane) -> Link {
        Link { me: self.me, peers: Arc::clone(&self.peers), target, address: peer.address.clone(), lane, patience: self.patience }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, peer: &Peer) -> Link {
        self.link(target, peer, Lane::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, peer: &Peer) -> Link {
        self.link(target, peer, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, peer: &Peer) -> Link {
        self.link(target, peer, Lane::Snapshot)
    }
}

/// One purpose's link to one member.
pub(crate) struct Link {
    me: u64,
    peers: Arc<Peers>,
    target: u64,
    address: String,
    lane: Lane,
    patience: Duration,
}

impl Link {
    async fn client(&self, lane: Lane) -> Result<Client, RpcError> {
        self.peers.client(self.target, &self.address, lane).await.map_err(|e| Unreachable::new(&e).into())
    }

    fn late(&self, action: RPCTypes, timeout: Duration) -> RpcError {
        Timeout { action, id: self.me, target: self.target, timeout }.into()
    }

    /// Everything but a timeout is "unreachable", which makes openraft wait before it tries again.
    fn failed(&self, lane: Lane, status: &Status) -> RpcError {
        if status.code() == Code::Unavailable {
            self.peers.forget(self.target, lane);
        }
        Unreachable::new(status).into()
    }

    /// One call, connecting included, within a time.
    async fn call<T>(
        &self,
        lane: Lane,
        action: RPCTypes,
        within: Duration,
        call: impl AsyncFnOnce(Client) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, RpcError> {
        let called = async {
            let client = self.client(lane).await?;
            call(client).await.map(tonic::Response::into_inner).map_err(|status| self.failed(lane, &status))
        };
        timeout(within, called).await.unwrap_or_else(|_| Err(self.late(action, within)))
    }

    /// Whom a vote is asked of does not matter to the lane it was made for.
    async fn ask_vote(&self, rpc: VoteRequest<Types>, within: Duration, pre: bool) -> Result<VoteResponse<Types>, RpcError> {
        let message = self.peers.address(
            self.target,
            wire::VoteRequest {
                vote: Some(vote_to(&rpc.vote)),
                last_log: rpc.last_log_id.as_ref().map(log_id_to),
                leadership_transfer: rpc.leadership_transfer,
            },
        );
        let call = async move |mut client: Client| if pre { client.pre_vote(message).await } else { client.vote(message).await };
        let reply = self.call(Lane::Control, RPCTypes::Vote, within, call).await?;
        let vote = vote_from(reply.vote).map_err(unreadable)?;
        Ok(VoteResponse::new(vote, reply.last_log.map(log_id_from), reply.granted))
    }

    async fn open_stream<S>(&self, open: Arc<Window>, input: S) -> Result<Streaming<wire::AppendReply>, RpcError>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let requests = outgoing(input, open, Arc::clone(&self.peers.hurry)).map(|rpc| append_to(&rpc));
        let message = self.peers.address(self.target, requests);
        let call = async move |mut client: Client| client.append_stream(message).await;
        self.call(self.lane, RPCTypes::AppendEntries, self.patience, call).await
    }

    /// The next answer of a stream. Silence is a fault only while requests are open.
    async fn next_reply(&self, open: &mut OpenStream) -> Option<Result<StreamAppendResult<Types>, RpcError>> {
        loop {
            match timeout(self.patience, open.replies.next()).await {
                Ok(None) => {
                    // It has stopped without a word: the next stream goes to whoever answers there then.
                    if open.window.sent() > open.received {
                        self.peers.forget(self.target, self.lane);
                    }
                    return None;
                }
                Ok(Some(Ok(reply))) => {
                    open.received += 1;
                    open.window.answered();
                    return Some(append_result(reply).map_err(unreadable));
                }
                Ok(Some(Err(status))) => return Some(Err(self.failed(self.lane, &status))),
                Err(_) if open.window.sent() == open.received => {}
                Err(_) => return Some(Err(self.late(RPCTypes::AppendEntries, self.patience))),
            }
        }
    }

    async fn send_snapshot(&self, vote: &Vote, file: SnapshotFile) -> Result<SnapshotResponse<Types>, RpcError> {
        let within = SNAPSHOT + Duration::from_secs(file.bytes / PIECE as u64);
        let message = self.peers.address(self.target, pieces(vote, file));
        let call = async move |mut client: Client| client.snapshot(message).await;
        let reply = self.call(Lane::Snapshot, RPCTypes::InstallSnapshot, within, call).await?;
        Ok(SnapshotResponse::new(vote_from(reply.vote).map_err(unreadable)?))
    }
}

struct OpenStream {
    replies: Streaming<wire::AppendReply>,
    window: Arc<Window>,
    received: u64,
    _reader: DropGuard,
}

fn unreadable(error: CodecError) -> RpcError {
    Unreachable::new(&error).into()
}

pub(crate) fn append_to(rpc: &AppendEntriesRequest<Types>) -> wire::AppendRequest {
    wire::AppendRequest {
        vote: Some(vote_to(&rpc.vote)),
        previous: rpc.prev_log_id.as_ref().map(log_id_to),
        entries: rpc.entries.iter().map(codec::entry_to).collect(),
        committed: rpc.leader_commit.as_ref().map(log_id_to),
    }
}

pub(crate) fn append_from(message: wire::AppendRequest) -> Result<AppendEntriesRequest<Types>, CodecError> {
    Ok(AppendEntriesRequest {
        vote: vote_from(message.vote)?,
        prev_log_id: message.previous.map(log_id_from),
        entries: message.entries.into_iter().map(codec::entry_from).collect::<Result<_, _>>()?,
        leader_commit: message.committed.map(log_id_from),
    })
}

fn matched(id: Option<&LogId>) -> wire::append_reply::Matched {
    wire::append_reply::Matched { log_id: id.map(log_id_to) }
}

pub(crate) fn append_reply(result: &StreamAppendResult<Types>) -> wire::AppendReply {
    use wire::append_reply::Result as Reply;
    let result = match result {
        Ok(id) => Reply::Matched(matched(id.as_ref())),
        Err(StreamAppendError::Conflict(id)) => Reply::Conflict(matched(Some(id))),
        Err(StreamAppendError::HigherVote(vote)) => Reply::HigherVote(vote_to(vote)),
    };
    wire::AppendReply { result: Some(result) }
}

fn append_result(reply: wire::AppendReply) -> Result<StreamAppendResult<Types>, CodecError> {
    use wire::append_reply::Result as Reply;
    Ok(match reply.result.ok_or(CodecError::Missing("append's result"))? {
        Reply::Matched(matched) => Ok(matched.log_id.map(log_id_from)),
        Reply::Conflict(at) => {
            let id = at.log_id.ok_or(CodecError::Missing("conflict's position"))?;
            Err(StreamAppendError::Conflict(log_id_from(id)))
        }
        Reply::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote_from(Some(vote))?)),
    })
}

fn pieces(vote: &Vote, file: SnapshotFile) -> impl Stream<Item = wire::SnapshotPiece> + Send + 'static {
    use wire::snapshot_piece::Piece;
    let opening = wire::SnapshotOpening { vote: Some(vote_to(vote)), bytes: file.bytes };
    let data = stream::unfold((file, 0), async |(file, offset)| {
        let read = tokio::task::spawn_blocking(move || (read_piece(&file, offset), file)).await;
        match read {
            Ok((Ok(piece), file)) if !piece.is_empty() => Some((Piece::Data(piece.clone()), (file, offset + piece.len() as u64))),
            Ok((Ok(_), _)) | Err(_) => None,
            // The receiver sees that it is too short and refuses it.
            Ok((Err(error), file)) => {
                tracing::error!(path = %file.path.display(), %error, "cannot read the snapshot");
                None
            }
        }
    });
    stream::once(async move { Piece::Opening(opening) }).chain(data).map(|piece| wire::SnapshotPiece { piece: Some(piece) })
}

fn read_piece(file: &SnapshotFile, offset: u64) -> std::io::Result<Bytes> {
    let mut piece = vec![0; PIECE];
    let read = file.file.read_at(&mut piece, offset)?;
    piece.truncate(read);
    Ok(piece.into())
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RpcError> {
        let last = rpc.entries.last().map(|e| e.log_id).or(rpc.prev_log_id);
        let message = self.peers.address(self.target, append_to(&rpc));
        let call = async move |mut client: Client| client.append(message).await;
        let reply = self.call(self.lane, RPCTypes::AppendEntries, option.soft_ttl(), call).await?;
        Ok(match append_result(reply).map_err(unreadable)? {
            Ok(matched) if matched == last => AppendEntriesResponse::Success,
            Ok(matched) => AppendEntriesResponse::PartialSuccess(matched),
            Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<Types>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        if self.lane != Lane::Append {
            return stream_append_sequential(self, input, option);
        }
        let link: &'s Self = self;
        Box::pin(async move {
            // openraft's pause after a failure is in the stream of requests: to dial before one has come would be to try again
            // without any pause.
            let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
            let input = stream::iter([first]).chain(input);
            let window = Window::new();
            let reader = window.reader();
            let replies = link.open_stream(Arc::clone(&window), input).await?;
            let open = OpenStream { replies, window, received: 0, _reader: reader };
            let results = stream::unfold(Some(open), move |open| async move {
                let mut open = open?;
                let result = link.next_reply(&mut open).await?;
                let go_on = matches!(result, Ok(Ok(_)));
                Some((result, go_on.then_some(open)))
            });
            Ok(results.boxed())
        })
    }

    async fn vote(&mut self, rpc: VoteRequest<Types>, option: RPCOption) -> Result<VoteResponse<Types>, RpcError> {
        self.ask_vote(rpc, option.soft_ttl(), false).await
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<Types>, option: RPCOption) -> Result<VoteResponse<Types>, RpcError> {
        self.ask_vote(rpc, option.soft_ttl(), true).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            closed = cancel.boxed() => Err(closed.into()),
            sent = self.send_snapshot(&vote, snapshot.snapshot) => Ok(sent?),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RpcError> {
        let expected = request.last_log_id().copied();
        let from = *request.from_leader();
        let message = self.peers.address(
            self.target,
            wire::TransferRequest {
                from: Some(vote_to(&from)),
                to: *request.to_node_id(),
                last_log: expected.as_ref().map(log_id_to),
            },
        );
        let call = async move |mut client: Client| client.transfer_leader(message).await;
        let reply = self.call(Lane::Control, RPCTypes::TransferLeader, option.soft_ttl(), call).await?;
        Ok(match reply.refused {
            None => Ok(()),
            Some(wire::transfer_reply::Refused::VoteChanged(vote)) => {
                Err(TransferLeaderError::VoteChanged { expected: from, actual: vote_from(Some(vote)).map_err(unreadable)? })
            }
            Some(wire::transfer_reply::Refused::LogBehind(behind)) => {
                Err(TransferLeaderError::LogNotFlushed { expected, actual: behind.actual.map(log_id_from) })
            }
        })
    }
}
