//! `ControlService`: what control nodes ask each other beside Raft.

use ring_proto::agent::v1::{Answer, ExecOutput};
use ring_proto::cluster::v1::control_service_server::ControlService;
use ring_proto::cluster::v1::{
    AskRequest, ContactsReply, ContactsRequest, ExecOpen, ExecRequest, LocateReply, LocateRequest, LogsReply, LogsRequest,
    ResetPasswordReply, ResetPasswordRequest, exec_request,
};
use ring_store::Store;
use ring_types::NodeId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::reset::reset;
use super::{Guard, Pulse};
use crate::session::{Hub, LogError, LogRequest, LogStream, pass_on};

/// Serves the other control nodes.
#[derive(Clone)]
pub struct ControlApi {
    guard: Guard,
    store: Store,
    pulse: Pulse,
    hub: Hub,
}

impl ControlApi {
    /// Serves from the sessions of `hub`.
    pub fn new(guard: Guard, store: Store, pulse: Pulse, hub: Hub) -> Self {
        Self { guard, store, pulse, hub }
    }
}

#[tonic::async_trait]
impl ControlService for ControlApi {
    async fn contacts(&self, request: Request<ContactsRequest>) -> Result<Response<ContactsReply>, Status> {
        let via = self.guard.member(&request)?;
        let leadership = *self.store.leadership().borrow();
        if !leadership.is_me {
            return Err(Status::failed_precondition("this control node does not lead"));
        }
        // A leader without a quorum must not tell others that all is well.
        if self.pulse.isolated() {
            return Err(Status::unavailable("this control node has lost its quorum"));
        }
        self.pulse.forwarded(via, &request.get_ref().contacts);
        Ok(Response::new(ContactsReply { leader_term: leadership.term }))
    }

    async fn locate(&self, request: Request<LocateRequest>) -> Result<Response<LocateReply>, Status> {
        self.guard.member(&request)?;
        let node = node_id(&request.get_ref().node_id)?;
        Ok(Response::new(LocateReply { member_id: self.store.status().id.0, connected: self.hub.connected(node) }))
    }

    type LogsStream = ReceiverStream<Result<LogsReply, Status>>;

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        self.guard.member(&request)?;
        let request = request.into_inner();
        let instance = request.instance_id.parse().map_err(|_| Status::invalid_argument("not an instance id"))?;
        let wanted = LogRequest { instance, tail: request.tail, since_ms: request.since_ms, follow: request.follow };
        let stream = self.hub.open_log(node_id(&request.node_id)?, wanted).map_err(|e| status_of(&e))?;
        let (sender, receiver) = mpsc::channel(64);
        tokio::spawn(forward(stream, sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    type ExecStream = ReceiverStream<Result<ExecOutput, Status>>;

    async fn exec(&self, request: Request<Streaming<ExecRequest>>) -> Result<Response<Self::ExecStream>, Status> {
        self.guard.member(&request)?;
        let mut requests = request.into_inner();
        let Some(ExecRequest { message: Some(exec_request::Message::Open(ExecOpen { node_id: node, start: Some(start) })) }) =
            requests.message().await?
        else {
            return Err(Status::invalid_argument("the first message has to say what is to be run"));
        };
        let command = self.hub.open_exec(node_id(&node)?, start).map_err(|error| Status::from(&error))?;
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(pass_on(command, requests, sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn reset_password(&self, request: Request<ResetPasswordRequest>) -> Result<Response<ResetPasswordReply>, Status> {
        let by = self.guard.member(&request)?;
        let from = Guard::peer(&request)?.address;
        reset(&self.store, by, from, request.get_ref()).await.map(Response::new)
    }

    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<Answer>, Status> {
        self.guard.member(&request)?;
        let request = request.into_inner();
        let question = request.question.ok_or_else(|| Status::invalid_argument("no question"))?;
        let answer = self.hub.ask(node_id(&request.node_id)?, question).await;
        answer.map(Response::new).map_err(|error| Status::from(&error))
    }
}

fn node_id(text: &str) -> Result<NodeId, Status> {
    text.parse().map_err(|_| Status::invalid_argument("not a node id"))
}

async fn forward(mut stream: LogStream, to: mpsc::Sender<Result<LogsReply, Status>>) {
    loop {
        let next = tokio::select! {
            next = stream.next() => next,
            () = to.closed() => return,
        };
        let item = match next {
            None => return,
            Some(Ok(line)) => Ok(LogsReply { at_ms: line.at_ms, stderr: line.stderr, line: line.line }),
            Some(Err(error)) => Err(status_of(&error)),
        };
        if to.send(item).await.is_err() {
            return;
        }
    }
}

pub(crate) fn status_of(error: &LogError) -> Status {
    match error {
        LogError::NotConnected => Status::failed_precondition(error.to_string()),
        LogError::NotFound => Status::not_found(error.to_string()),
        LogError::Interrupted(_) => Status::unavailable(error.to_string()),
    }
}

/// The reverse of [`status_of`].
pub(crate) fn error_of(status: &Status) -> LogError {
    match status.code() {
        tonic::Code::FailedPrecondition => LogError::NotConnected,
        tonic::Code::NotFound => LogError::NotFound,
        _ => LogError::Interrupted(status.message().to_owned()),
    }
}
