//! `JoinService`: the one service for hosts without a certificate. The token is what admits them.

use ring_proto::cluster::v1::join_service_server::JoinService;
use ring_proto::cluster::v1::{JoinReply, JoinRequest, JoinRole};
use ring_state::State;
use ring_types::{ClusterId, Level, Name};
use tonic::{Request, Response, Status};

use super::Guard;
use super::enrol::{Admission, Applicant, EnrolError, control_addresses, ip_of};
use crate::ids;
use crate::pki::Identity;

/// Admits hosts that hold a join token.
#[derive(Clone)]
pub struct JoinApi {
    admission: Admission,
    cluster: ClusterId,
}

impl JoinApi {
    /// Admits hosts to `cluster`.
    pub fn new(admission: Admission, cluster: ClusterId) -> Self {
        Self { admission, cluster }
    }

    async fn admit(&self, join: &JoinRequest, from: std::net::IpAddr) -> Result<JoinReply, EnrolError> {
        let applicant = applicant(join, from)?;
        self.admission.check_secret(applicant.token, &join.token_secret).await?;
        let mut reply = match join.role() {
            JoinRole::Agent => self.admit_agent(join, &applicant).await?,
            JoinRole::Control => self.admit_member(join, &applicant).await?,
            JoinRole::Unspecified => return Err(EnrolError::Invalid("the join request names no role".to_owned())),
        };
        let state = self.admission.state().await?;
        self.certify(join, from, &state, &mut reply)?;
        Ok(reply)
    }

    async fn admit_agent(&self, join: &JoinRequest, applicant: &Applicant) -> Result<JoinReply, EnrolError> {
        let labels = join.labels.clone().into_iter().collect();
        let name = self.admission.enrol_agent(applicant, &labels).await?;
        Ok(JoinReply { node_id: applicant.node.to_string(), node_name: name.to_string(), ..JoinReply::default() })
    }

    async fn admit_member(&self, join: &JoinRequest, applicant: &Applicant) -> Result<JoinReply, EnrolError> {
        let (level, speaks) = (self.admission.state().await?.level(), Level::of(join.level));
        if speaks < level {
            return Err(EnrolError::Invalid(format!(
                "the cluster is at level {level}, and the release on this host speaks up to level {speaks}: install the release \
                 the other control nodes run"
            )));
        }
        ip_of(&join.address)
            .ok_or_else(|| EnrolError::Invalid(format!("'{}' is not an address: write IP:PORT", join.address)))?;
        let (member, name) = self.admission.enrol_member(applicant, &join.address, &join.api_address).await?;
        let mut reply = JoinReply {
            member_id: member.0,
            member_name: name.to_string(),
            secret_key: self.admission.secret().expose().to_vec(),
            ..JoinReply::default()
        };
        if join.with_agent {
            let labels = join.labels.clone().into_iter().collect();
            let node_name = self.admission.enrol_beside(member, applicant.node, &name, &labels).await?;
            reply.node_id = applicant.node.to_string();
            reply.node_name = node_name.to_string();
        }
        Ok(reply)
    }

    fn certify(
        &self,
        join: &JoinRequest,
        from: std::net::IpAddr,
        state: &State,
        reply: &mut JoinReply,
    ) -> Result<(), EnrolError> {
        let member = (reply.member_id > 0).then_some(ring_types::MemberId(reply.member_id));
        let identity = Identity { cluster: self.cluster, member, node: reply.node_id.parse().ok() };
        let addresses = vec![ip_of(&join.address).unwrap_or(from)];
        let (certificate, authority) = self.admission.sign(state, &join.csr_pem, identity, addresses)?;
        reply.cluster_id = self.cluster.to_string();
        reply.generation = state.generation().0;
        reply.certificate_pem = certificate;
        reply.ca_pem = authority;
        reply.control_addresses = control_addresses(state);
        Ok(())
    }
}

/// Reads who wants to join. The ids are bound to the token, so that a request id of another join gives nothing away.
fn applicant(join: &JoinRequest, from: std::net::IpAddr) -> Result<Applicant, EnrolError> {
    let invalid = |what: &str| EnrolError::Invalid(format!("the join request has no usable {what}"));
    let token = join.token_id.parse().map_err(|_| invalid("token id"))?;
    let node = join.node_id.parse().map_err(|_| invalid("node id"))?;
    if join.request_id.is_empty() {
        return Err(invalid("request id"));
    }
    let name = Name::new(&join.name).map_err(|e| EnrolError::Invalid(format!("the name '{}' {e}", join.name)))?;
    let role = i32::to_string(&join.role);
    let request =
        ids::request(&[b"join", join.token_id.as_bytes(), join.request_id.as_bytes(), join.node_id.as_bytes(), role.as_bytes()]);
    Ok(Applicant { token, request, name, node, from })
}

#[tonic::async_trait]
impl JoinService for JoinApi {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let from = Guard::peer(&request)?.address;
        let join = request.into_inner();
        match self.admit(&join, from.ip()).await {
            Ok(reply) => {
                tracing::info!(%from, "admitted {} as {}", join.name, join.role().as_str_name());
                Ok(Response::new(reply))
            }
            Err(error) => {
                tracing::warn!(%from, "refused to admit {}: {error}", join.name);
                Err(error.into())
            }
        }
    }
}
