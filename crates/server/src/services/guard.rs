//! Who may call what, from the certificate of the connection and the state's word on who was removed.

use ring_state::MemberState;
use ring_store::Store;
use ring_types::{ClusterId, MemberId, NodeId};
use tonic::{Request, Status};

use crate::pki::Identity;
use crate::tls::Peer;

/// Checks callers of the cluster port.
#[derive(Clone)]
pub struct Guard {
    cluster: ClusterId,
    store: Store,
}

impl Guard {
    /// A guard of one cluster.
    pub fn new(cluster: ClusterId, store: Store) -> Self {
        Self { cluster, store }
    }

    /// Who is at the other end.
    pub(crate) fn peer<T>(request: &Request<T>) -> Result<Peer, Status> {
        request.extensions().get::<Peer>().copied().ok_or_else(|| Status::internal("the connection has no peer"))
    }

    /// Any host of this cluster that was not removed.
    ///
    /// # Errors
    /// `unauthenticated` without a certificate, `permission_denied` with a wrong one.
    pub fn host<T>(&self, request: &Request<T>) -> Result<Identity, Status> {
        let peer = Self::peer(request)?;
        let result = self.host_of(peer.identity);
        if let Err(status) = &result {
            tracing::warn!(address = %peer.address, "refused a call from {}: {}", peer.address, status.message());
        }
        result
    }

    fn host_of(&self, identity: Option<Identity>) -> Result<Identity, Status> {
        let Some(identity) = identity else {
            return Err(Status::unauthenticated("a certificate of this cluster is needed: join the cluster first"));
        };
        if identity.cluster != self.cluster {
            return Err(Status::permission_denied(format!("the certificate belongs to cluster {}", identity.cluster)));
        }
        let removed = |id| self.store.local().member(id).is_some_and(|m| m.state == MemberState::Removed);
        if let Some(id) = identity.member.filter(|id| removed(*id)) {
            return Err(Status::permission_denied(format!("control node {id} was removed from this cluster")));
        }
        Ok(identity)
    }

    /// A control node.
    ///
    /// # Errors
    /// As [`Self::host`], and `permission_denied` for hosts that are not control nodes.
    pub fn member<T>(&self, request: &Request<T>) -> Result<MemberId, Status> {
        let identity = self.host(request)?;
        identity.member.ok_or_else(|| Status::permission_denied(format!("{identity} is not a control node")))
    }

    /// A host that runs work.
    ///
    /// # Errors
    /// As [`Self::host`], and `permission_denied` for hosts that run no work.
    pub fn node<T>(&self, request: &Request<T>) -> Result<NodeId, Status> {
        let identity = self.host(request)?;
        identity.node.ok_or_else(|| Status::permission_denied(format!("{identity} is not a host that runs work")))
    }

    /// An interceptor that lets control nodes through.
    pub fn members_only(&self) -> impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone + Send + Sync + 'static {
        let guard = self.clone();
        move |request| guard.member(&request).map(|_| request)
    }
}
