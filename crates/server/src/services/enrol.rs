//! Admitting hosts and signing their certificates.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ring_state::{
    AuditNote, AuditedCommand, Command, EnrolMember, EnrolNode, JoinRole, Member, MemberState, RefusalCode, Reply, RowKey, State,
};
use ring_store::{ProposeError, ReadError, Store};
use ring_types::{JoinTokenId, MemberId, Name, NodeId, RequestId};
use subtle::ConstantTimeEq;
use tonic::Status;

use crate::ids;
use crate::pki::{Authority, CertificateRequest, Identity, JoinTokenText, PkiError, SecretKey, ServerRequest, TrustStore};

/// Why a host was not admitted.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The token is not good.
    #[error("{0}")]
    Token(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Somebody else has that identity.
    #[error("{0}")]
    Conflict(String),
    /// The cluster cannot decide now.
    #[error("{0}")]
    Unavailable(String),
    /// A certificate could not be signed.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl From<ReadError> for EnrolError {
    fn from(error: ReadError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<ProposeError> for EnrolError {
    fn from(error: ProposeError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<EnrolError> for Status {
    fn from(error: EnrolError) -> Self {
        let text = error.to_string();
        match error {
            EnrolError::Token(_) => Self::permission_denied(text),
            EnrolError::Invalid(_) | EnrolError::Pki(PkiError::Malformed { .. }) => Self::invalid_argument(text),
            EnrolError::Conflict(_) => Self::already_exists(text),
            EnrolError::Unavailable(_) => Self::unavailable(text),
            EnrolError::Pki(_) => Self::internal(text),
        }
    }
}

/// Admits hosts to the cluster.
#[derive(Clone)]
pub struct Admission {
    store: Store,
    secret: SecretKey,
    lifetime: Duration,
    /// The control node that admits.
    name: String,
}

/// What a joining host says of itself.
#[derive(Clone, Debug)]
pub(super) struct Applicant {
    pub(super) token: JoinTokenId,
    pub(super) request: RequestId,
    pub(super) name: Name,
    pub(super) node: NodeId,
    pub(super) from: IpAddr,
}

impl Applicant {
    /// The command with its line of the audit record: who joins is known by the token alone.
    fn audited(&self, served_by: &str, action: &str, command: Command) -> Command {
        let address = self.from.to_canonical().to_string();
        let note = AuditNote { address, ..AuditNote::unattended(action, format!("join token {}", self.token), served_by) };
        Command::Audited(Box::new(AuditedCommand { note, command: Box::new(command) }))
    }
}

impl Admission {
    /// The control node `name` admits to the cluster of `store`; certificates are good for `lifetime`.
    pub fn new(store: Store, secret: SecretKey, lifetime: Duration, name: String) -> Self {
        Self { store, secret, lifetime, name }
    }

    pub(super) fn secret(&self) -> &SecretKey {
        &self.secret
    }

    pub(super) async fn state(&self) -> Result<State, EnrolError> {
        Ok(self.store.read().await?)
    }

    /// Does the secret belong to the token? The rest of it is checked, and an admission used up, by the state itself.
    pub(super) async fn check_secret(&self, id: JoinTokenId, secret: &str) -> Result<(), EnrolError> {
        let state = self.state().await?;
        let unknown = "the join token is not known to this cluster; make one with `ring cluster token create`";
        let token = state.join_token(id).ok_or_else(|| EnrolError::Token(unknown.to_owned()))?;
        let right: bool = token.hash.ct_eq(&JoinTokenText::hash_of(secret)).into();
        if right {
            Ok(())
        } else {
            Err(EnrolError::Token("the secret of the join token is wrong: copy the whole token".to_owned()))
        }
    }

    pub(super) async fn enrol_agent(&self, applicant: &Applicant, labels: &Labels) -> Result<Name, EnrolError> {
        let enrol = EnrolNode {
            token: Some(applicant.token),
            node: applicant.node,
            name: applicant.name.clone(),
            member: None,
            labels: labels.clone(),
        };
        match self.propose(applicant.request, applicant.audited(&self.name, "node.join", Command::EnrolNode(enrol))).await? {
            Reply::Node(_, name) => Ok(name),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn enrol_member(
        &self,
        applicant: &Applicant,
        address: &str,
        api: &str,
    ) -> Result<(MemberId, Name), EnrolError> {
        let enrol = EnrolMember {
            token: applicant.token,
            name: applicant.name.clone(),
            address: address.to_owned(),
            api_address: api.to_owned(),
        };
        match self.propose(applicant.request, applicant.audited(&self.name, "member.join", Command::EnrolMember(enrol))).await? {
            Reply::Member(id, name) => Ok((id, name)),
            other => Err(unexpected(&other)),
        }
    }

    /// Admits the agent beside a control node that was admitted before.
    ///
    /// # Errors
    /// [`EnrolError`] when the node id belongs to another host.
    pub async fn enrol_beside(&self, member: MemberId, node: NodeId, name: &Name, labels: &Labels) -> Result<Name, EnrolError> {
        let enrol = EnrolNode { token: None, node, name: name.clone(), member: Some(member), labels: labels.clone() };
        let reply = self.propose(RequestId::NONE, Command::EnrolNode(enrol)).await?;
        let Reply::Node(_, name) = reply else { return Err(unexpected(&reply)) };
        let state = self.state().await?;
        if state.node(node).is_some_and(|n| n.member == Some(member)) {
            Ok(name)
        } else {
            Err(EnrolError::Conflict(format!("node id {node} belongs to another host")))
        }
    }

    async fn propose(&self, request: RequestId, command: Command) -> Result<Reply, EnrolError> {
        match self.store.propose(request, command).await?.reply {
            Reply::Refused(refusal) => Err(match refusal.code {
                RefusalCode::Forbidden => EnrolError::Token(refusal.message),
                RefusalCode::Conflict => EnrolError::Conflict(refusal.message),
                _ => EnrolError::Invalid(refusal.message),
            }),
            reply => Ok(reply),
        }
    }

    /// The authority that signs now, from the state.
    pub(crate) fn authority(&self, state: &State) -> Result<Authority, EnrolError> {
        let meta = state.meta().ok_or_else(|| EnrolError::Unavailable("the cluster has not been initialised".to_owned()))?;
        let (certificate, key) = state.signing_authority().unwrap_or((&meta.ca_certificate, &meta.ca_key_sealed));
        Ok(Authority::open(meta.cluster, certificate, key, &self.secret)?)
    }

    /// Signs a certificate for a host that was admitted; it and those of the authorities to trust, PEM.
    ///
    /// # Errors
    /// [`EnrolError::Pki`] when the request is not one.
    pub fn sign(
        &self,
        state: &State,
        csr_pem: &str,
        identity: Identity,
        addresses: Vec<IpAddr>,
    ) -> Result<(String, String), EnrolError> {
        let authority = self.authority(state)?;
        let certificate = authority.sign(&CertificateRequest { csr_pem, identity, addresses, lifetime: self.lifetime })?;
        Ok((certificate, state.authorities().concat()))
    }

    /// Signs a certificate for the REST API of this control node; it and the authority's, PEM.
    ///
    /// # Errors
    /// [`EnrolError`] when the authority is not known yet, or does not open.
    pub(crate) fn sign_server(
        &self,
        state: &State,
        csr_pem: &str,
        name: &str,
        (names, addresses): (Vec<String>, Vec<IpAddr>),
    ) -> Result<(String, String), EnrolError> {
        let authority = self.authority(state)?;
        let request = ServerRequest { csr_pem, name, names, addresses, lifetime: self.lifetime };
        Ok((authority.sign_server(&request)?, authority.certificate_pem().to_owned()))
    }

    /// Makes a token that admits hosts. The same request makes the same token.
    ///
    /// # Errors
    /// [`EnrolError`] when the authority does not open.
    pub fn token(&self, state: &State, role: JoinRole, request: RequestId) -> Result<JoinTokenText, EnrolError> {
        let id = JoinTokenId(ids::derived(request, "join-token"));
        let random = self.secret.derive(&[b"join-token", request.0.as_bytes()]);
        Ok(JoinTokenText::new(role, id, random, self.authority(state)?.fingerprint()))
    }
}

/// The authorities the cluster trusts now; the first signs.
///
/// # Errors
/// When a certificate in the state is damaged.
pub(crate) fn trusted(state: &State) -> Result<TrustStore, PkiError> {
    TrustStore::from_pem(&state.authorities().concat())
}

/// May a change of this row change who is trusted?
pub(crate) fn decides_trust(key: &RowKey) -> bool {
    matches!(key, RowKey::Meta | RowKey::CaRotation)
}

/// Labels of a host.
pub(super) type Labels = std::collections::BTreeMap<String, String>;

fn unexpected(reply: &Reply) -> EnrolError {
    EnrolError::Unavailable(format!("the cluster gave an unexpected answer: {reply:?}"))
}

/// Control nodes that are not removed.
pub(crate) fn members(state: &State) -> impl Iterator<Item = &Member> {
    state.members().map(AsRef::as_ref).filter(|m: &&Member| m.state != MemberState::Removed)
}

/// Cluster ports of the control nodes agents can use.
pub(crate) fn control_addresses(state: &State) -> Vec<String> {
    members(state).filter(|m| m.state == MemberState::Active).map(|m| m.address.clone()).collect()
}

/// The IP of an address.
pub(super) fn ip_of(address: &str) -> Option<IpAddr> {
    address.parse::<SocketAddr>().ok().map(|a| a.ip())
}
