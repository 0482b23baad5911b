//! Rotation of the cluster's certificate authority. Both authorities are trusted in between: first every host learns the new one,
//! then every host gets a certificate of it, then the old one goes. Where that is stands in the state.

use std::sync::Arc;

use ring_types::{MemberId, NodeId, Revision, Timestamp};

use crate::{ClusterMeta, MemberState, State};

/// Where a rotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CaPhase {
    /// Every host learns to trust the new authority; the old one signs.
    Trust,
    /// Every host gets a certificate of the new one.
    Renew,
}

/// A rotation under way. There is at most one.
#[derive(Clone, PartialEq, Eq)]
pub struct CaRotation {
    /// The entry that began it.
    pub id: Revision,
    /// Certificate of the new authority, PEM.
    pub certificate: String,
    /// Its key, encrypted with the cluster's secret key.
    pub key_sealed: Vec<u8>,
    /// Where it is.
    pub phase: CaPhase,
    /// When it began.
    pub started_at: Timestamp,
    /// Control nodes that have done their part of this phase, by id.
    pub members: Vec<MemberId>,
    /// Nodes that have, by id; those in the process of a control node count as that one.
    pub nodes: Vec<NodeId>,
    /// Last writer.
    pub version: Revision,
}

impl std::fmt::Debug for CaRotation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaRotation").field("id", &self.id).field("phase", &self.phase).finish_non_exhaustive()
    }
}

/// A new authority.
#[derive(Clone, PartialEq, Eq)]
pub struct NewCa {
    /// Its certificate, PEM.
    pub certificate: String,
    /// Its key, encrypted with the cluster's secret key.
    pub key_sealed: Vec<u8>,
}

impl std::fmt::Debug for NewCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewCa(..)")
    }
}

/// Hosts have done their part of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaConfirm {
    /// Which rotation.
    pub rotation: Revision,
    /// Which phase; a later one is not meant.
    pub phase: CaPhase,
    /// Control nodes.
    pub members: Vec<MemberId>,
    /// Nodes.
    pub nodes: Vec<NodeId>,
}

/// A phase is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaStep {
    /// Which rotation.
    pub rotation: Revision,
    /// The phase that is over.
    pub phase: CaPhase,
    /// Even though hosts are missing: those have to join again.
    pub force: bool,
}

impl State {
    /// The rotation of the authority that is under way.
    pub fn ca_rotation(&self) -> Option<&Arc<CaRotation>> {
        self.ca_rotation.as_ref()
    }

    /// Control nodes and nodes that have not done their part of the present phase.
    pub fn ca_missing(&self) -> (Vec<MemberId>, Vec<NodeId>) {
        let Some(rotation) = &self.ca_rotation else { return (Vec::new(), Vec::new()) };
        let removed = |id: &MemberId| self.member(*id).is_none_or(|member| member.state == MemberState::Removed);
        let done = |id: &MemberId| rotation.members.contains(id) || removed(id);
        let members = self.members().map(|member| member.id).filter(|id| !done(id)).collect();
        let with_member = |node: &Arc<crate::Node>| node.member.is_some_and(|id| !removed(&id));
        let nodes = self.nodes().filter(|node| !with_member(node)).map(|node| node.id);
        (members, nodes.filter(|id| rotation.nodes.binary_search(id).is_err()).collect())
    }

    /// Certificates of the authorities that are trusted, PEM; the one that signs is the first.
    pub fn authorities(&self) -> Vec<&str> {
        let current = self.meta().map(|meta: &Arc<ClusterMeta>| meta.ca_certificate.as_str());
        let rotation = self.ca_rotation.as_ref();
        let next = rotation.map(|rotation| rotation.certificate.as_str());
        let both = [current, next].into_iter().flatten();
        if rotation.is_some_and(|rotation| rotation.phase == CaPhase::Renew) { both.rev().collect() } else { both.collect() }
    }

    /// The authority that signs now: its certificate, and its key, encrypted.
    pub fn signing_authority(&self) -> Option<(&str, &[u8])> {
        let renewing = self.ca_rotation.as_ref().filter(|rotation| rotation.phase == CaPhase::Renew);
        let next = renewing.map(|rotation| (rotation.certificate.as_str(), rotation.key_sealed.as_slice()));
        next.or_else(|| self.meta().map(|meta| (meta.ca_certificate.as_str(), meta.ca_key_sealed.as_slice())))
    }
}
