//! Who may call what, from the certificate of the connection and the state's word on who was removed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring_store::Store;
use ring_types::{ClusterGeneration, ClusterId, MemberId, NodeId};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

use crate::pki::Identity;
use crate::tls::Peer;

/// A caller that is refused again and again is told so each time, the log once in this time.
const LOG_EVERY: Duration = Duration::from_mins(1);
/// Refused callers remembered; beyond that all are forgotten and logged again.
const REMEMBERED: usize = 1_000;

/// Names the member in the refusal of a removed one, for programs: no other refusal carries it.
const REMOVED: &str = "ring-removed-member";
/// And this the generation, when the member is of an earlier one.
const BEGUN_ANEW: &str = "ring-begun-anew";

/// Checks callers of the cluster port.
#[derive(Clone)]
pub struct Guard {
    cluster: ClusterId,
    store: Store,
    logged: Arc<Mutex<HashMap<(IpAddr, String), Instant>>>,
}

impl Guard {
    /// A guard of one cluster.
    pub fn new(cluster: ClusterId, store: Store) -> Self {
        Self { cluster, store, logged: Arc::default() }
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
        if let Err(status) = &result
            && self.news(peer.address.ip(), status.message())
        {
            tracing::warn!(address = %peer.address, "refused a call from {}: {}", peer.address, status.message());
        }
        result
    }

    fn news(&self, address: IpAddr, message: &str) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() >= REMEMBERED {
            logged.clear();
        }
        let last = logged.entry((address, message.to_owned()));
        match last {
            std::collections::hash_map::Entry::Occupied(mut last) => {
                let old = last.get().elapsed() >= LOG_EVERY;
                if old {
                    last.insert(Instant::now());
                }
                old
            }
            std::collections::hash_map::Entry::Vacant(first) => {
                first.insert(Instant::now());
                true
            }
        }
    }

    fn host_of(&self, identity: Option<Identity>) -> Result<Identity, Status> {
        let Some(identity) = identity else {
            return Err(Status::unauthenticated("a certificate of this cluster is needed: join the cluster first"));
        };
        if identity.cluster != self.cluster {
            return Err(Status::permission_denied(format!("the certificate belongs to cluster {}", identity.cluster)));
        }
        let state = self.store.local();
        if let Some(id) = identity.member.filter(|id| state.is_dismissed(*id)) {
            let begun_anew = state.meta().filter(|meta| id < meta.first_member).map(|meta| meta.generation);
            return Err(removed_member(id, begun_anew));
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

fn removed_member(id: MemberId, begun_anew: Option<ClusterGeneration>) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(REMOVED, id.0.into());
    if let Some(value) = begun_anew.and_then(|generation| generation.to_string().parse().ok()) {
        metadata.insert(BEGUN_ANEW, value);
    }
    let anew = begun_anew.map(|generation| format!(", which was begun anew under generation {generation}"));
    let message = format!("control node {id} was removed from this cluster{}", anew.unwrap_or_default());
    Status::with_metadata(Code::PermissionDenied, message, metadata)
}

/// The generation the cluster was begun anew with, when a control node refuses a member of an earlier one.
pub(super) fn names_generation(status: &Status) -> Option<ClusterGeneration> {
    status.metadata().get(BEGUN_ANEW)?.to_str().ok()?.parse().ok()
}

/// Does a control node refuse `id` because the cluster has removed it?
pub(super) fn names_removed(status: &Status, id: MemberId) -> bool {
    let named = status.metadata().get(REMOVED).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    status.code() == Code::PermissionDenied && named == Some(id.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_refusal_of_this_removed_member_counts() {
        assert!(names_removed(&removed_member(MemberId(3), None), MemberId(3)));
        assert!(!names_removed(&removed_member(MemberId(3), None), MemberId(2)));
        assert!(!names_removed(&Status::permission_denied("control node 3 was removed from this cluster"), MemberId(3)));
        let second = ClusterGeneration::FIRST.after(7);
        let anew = removed_member(MemberId(3), Some(second));
        assert!(names_removed(&anew, MemberId(3)) && names_generation(&anew) == Some(second));
        assert!(!names_removed(&Status::unavailable("no answer"), MemberId(3)));
    }
}
