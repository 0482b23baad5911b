//! `AgentService` on every control node, leader or not.

use std::sync::Arc;

use ring_proto::agent::v1::agent_service_server::AgentService;
use ring_proto::agent::v1::control_message::Message;
use ring_proto::agent::v1::{AgentMessage, ControlMessage, Goodbye};
use ring_store::Store;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::Hub;
use super::conversation::{Conversation, End};
use crate::pki::SecretKey;
use crate::refusals::Refusals;
use crate::services::{Guard, Pulse};

/// Messages to an agent that wait to be sent.
const OUTGOING: usize = 256;

/// What a session needs of its control node.
pub struct SessionContext {
    /// Commits and state.
    pub store: Store,
    /// Opens secrets.
    pub secret: SecretKey,
    /// Contact.
    pub pulse: Pulse,
    /// Who else is here.
    pub hub: Hub,
    /// Who may come.
    pub guard: Guard,
    /// The control node stops.
    pub stop: CancellationToken,
    /// Counts what is refused.
    pub refusals: Arc<Refusals>,
}

/// Serves agents.
#[derive(Clone)]
pub struct AgentApi {
    context: Arc<SessionContext>,
}

impl AgentApi {
    /// Serves with the means of `context`.
    pub fn new(context: Arc<SessionContext>) -> Self {
        Self { context }
    }
}

#[tonic::async_trait]
impl AgentService for AgentApi {
    type SessionStream = ReceiverStream<Result<ControlMessage, Status>>;

    async fn session(&self, request: Request<Streaming<AgentMessage>>) -> Result<Response<Self::SessionStream>, Status> {
        let node = self.context.guard.node(&request)?;
        if self.context.pulse.isolated() {
            return Err(Status::unavailable("this control node has no contact with a leader: use another"));
        }
        let (out, receiver) = mpsc::channel(OUTGOING);
        let conversation = Conversation::new(self.context.clone(), node, out.clone());
        let incoming = request.into_inner();
        tokio::spawn(async move {
            match conversation.run(incoming).await {
                End::Closed => tracing::info!(%node, "the agent's session ended"),
                End::Goodbye { reason, fatal } => {
                    tracing::info!(%node, "ended the agent's session: {reason}");
                    let message = Some(Message::Goodbye(Goodbye { reason, fatal }));
                    // An agent that does not listen any more learns it from the closed stream.
                    let _ = out.try_send(Ok(ControlMessage { message }));
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
