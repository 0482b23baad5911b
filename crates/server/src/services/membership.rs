//! `ClusterService`: new certificates, and the way of a joined control node from learner to voter.

use std::time::Duration;

use ring_proto::cluster::v1::cluster_service_server::ClusterService;
use ring_proto::cluster::v1::{ConfirmReply, ConfirmRequest, PromoteProgress, PromoteRequest, RenewReply, RenewRequest};
use ring_state::{CaConfirm, CaPhase, Command, Reply};
use ring_store::{MemberError, Store};
use ring_types::{MemberId, RequestId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::enrol::ip_of;
use super::{Admission, Guard};
use crate::pki::TrustStore;

/// Between two looks at how far a learner is.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(200);
/// A learner that gets nowhere in this time is left as it is; it asks again.
const CATCH_UP_LIMIT: Duration = Duration::from_mins(10);

/// Serves hosts of the cluster.
#[derive(Clone)]
pub struct ClusterApi {
    guard: Guard,
    admission: Admission,
    store: Store,
}

type Progress = mpsc::Sender<Result<PromoteProgress, Status>>;

impl ClusterApi {
    /// Serves with the power to sign and to change the membership.
    pub fn new(guard: Guard, admission: Admission, store: Store) -> Self {
        Self { guard, admission, store }
    }

    async fn promote_member(&self, id: MemberId, request: &PromoteRequest, progress: &Progress) -> Result<(), Status> {
        let state = self.store.read().await.map_err(|e| Status::unavailable(e.to_string()))?;
        let member = state.member(id).ok_or_else(|| Status::not_found(format!("control node {id} is not known")))?;
        let moved = member.address != request.address || member.api_address != request.api_address;
        if moved {
            let (address, api_address) = (request.address.clone(), request.api_address.clone());
            self.propose(Command::UpdateMember { id, address, api_address }).await?;
        }
        if !self.store.status().voters.contains(&id) {
            self.store.add_learner(id, member.name.as_str(), &request.address).await.map_err(|e| member_status(&e))?;
            self.tell(progress, "learner", id).await;
            self.catch_up(id, progress).await?;
        }
        self.propose(Command::ActivateMember { id }).await?;
        self.tell(progress, "voter", id).await;
        Ok(())
    }

    async fn catch_up(&self, id: MemberId, progress: &Progress) -> Result<(), Status> {
        let deadline = tokio::time::Instant::now() + CATCH_UP_LIMIT;
        loop {
            match self.store.promote(id).await {
                Ok(()) => return Ok(()),
                Err(MemberError::Behind { .. } | MemberError::Busy) if tokio::time::Instant::now() < deadline => {
                    self.tell(progress, "catching_up", id).await;
                    tokio::time::sleep(CATCH_UP_PAUSE).await;
                }
                Err(error) => return Err(member_status(&error)),
            }
        }
    }

    async fn tell(&self, progress: &Progress, stage: &str, id: MemberId) {
        let status = self.store.status();
        let log_index = status.peers.iter().find(|p| p.id == id).and_then(|p| p.matched).unwrap_or_default();
        let step = PromoteProgress { stage: stage.to_owned(), log_index, target_index: status.last_log };
        // A caller that hung up is promoted all the same.
        let _ = progress.send(Ok(step)).await;
    }

    async fn propose(&self, command: Command) -> Result<(), Status> {
        let done = self.store.propose(RequestId::NONE, command).await.map_err(|e| Status::unavailable(e.to_string()))?;
        match done.reply {
            Reply::Refused(refusal) => Err(Status::failed_precondition(refusal.message)),
            _ => Ok(()),
        }
    }
}

fn member_status(error: &MemberError) -> Status {
    match error {
        MemberError::NotMember(_) | MemberError::Invalid(_) | MemberError::LosesQuorum(_) | MemberError::Behind { .. } => {
            Status::failed_precondition(error.to_string())
        }
        _ => Status::unavailable(error.to_string()),
    }
}

#[tonic::async_trait]
impl ClusterService for ClusterApi {
    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewReply>, Status> {
        let identity = self.guard.host(&request)?;
        let from = Guard::peer(&request)?.address.ip();
        let state = self.store.read().await.map_err(|e| Status::unavailable(e.to_string()))?;
        if identity.member.is_none() && identity.node.is_some_and(|id| state.node(id).is_none()) {
            return Err(Status::permission_denied("this node was removed from the cluster"));
        }
        let own = identity.member.and_then(|id| state.member(id)).and_then(|m| ip_of(&m.address));
        let addresses = vec![own.unwrap_or(from)];
        let (certificate_pem, ca_pem) = self.admission.sign(&state, &request.get_ref().csr_pem, identity, addresses)?;
        tracing::info!("renewed the certificate of {identity}");
        Ok(Response::new(RenewReply { certificate_pem, ca_pem }))
    }

    async fn confirm(&self, request: Request<ConfirmRequest>) -> Result<Response<ConfirmReply>, Status> {
        let identity = self.guard.host(&request)?;
        let issuer = Guard::peer(&request)?.issuer;
        let state = self.store.read().await.map_err(|e| Status::unavailable(e.to_string()))?;
        // The control node in the same process speaks for itself.
        let (Some(rotation), Some(node), None) = (state.ca_rotation(), identity.node, identity.member) else {
            return Ok(Response::new(ConfirmReply {}));
        };
        let next = TrustStore::from_pem(&rotation.certificate).map_err(|e| Status::internal(e.to_string()))?.fingerprints()[0];
        let trusts = request.get_ref().authorities.iter().any(|one| *one == next.to_string());
        let done = match rotation.phase {
            CaPhase::Trust => trusts,
            CaPhase::Renew => trusts && issuer == Some(next),
        };
        if !done {
            return Err(Status::failed_precondition("the new authority is not trusted yet, or its certificate is not used"));
        }
        let confirm = CaConfirm { rotation: rotation.id, phase: rotation.phase, members: Vec::new(), nodes: vec![node] };
        self.propose(Command::ConfirmCa(confirm)).await?;
        Ok(Response::new(ConfirmReply {}))
    }

    type PromoteStream = ReceiverStream<Result<PromoteProgress, Status>>;

    async fn promote(&self, request: Request<PromoteRequest>) -> Result<Response<Self::PromoteStream>, Status> {
        let caller = self.guard.member(&request)?;
        let request = request.into_inner();
        if caller.0 != request.member_id {
            return Err(Status::permission_denied("a control node asks for its own promotion only"));
        }
        let (sender, receiver) = mpsc::channel(16);
        let api = self.clone();
        tokio::spawn(async move {
            if let Err(status) = api.promote_member(caller, &request, &sender).await {
                tracing::warn!("control node {caller} was not promoted: {}", status.message());
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
