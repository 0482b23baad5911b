//! The phases of a rotation of the authority.

use std::sync::Arc;

use super::{Done, Tx};
use crate::{CaConfirm, CaPhase, CaRotation, CaStep, ClusterMeta, NewCa, Refusal, RefusalCode, Reply, Row, RowKey};

impl Tx<'_> {
    pub(super) fn rotate_ca(&mut self, wanted: &NewCa) -> Done {
        if self.state.ca_rotation().is_some() {
            let message = "a rotation of the authority is under way; see `ring cluster status` for whom it waits for";
            return Err(Refusal::conflict(message));
        }
        self.put(Row::CaRotation(Arc::new(CaRotation {
            id: self.revision,
            certificate: wanted.certificate.clone(),
            key_sealed: wanted.key_sealed.clone(),
            phase: CaPhase::Trust,
            started_at: self.at,
            members: Vec::new(),
            nodes: Vec::new(),
            version: self.revision,
        })));
        Ok(Reply::Done)
    }

    /// Who confirms another phase than the present one has not heard of it yet, and is passed over.
    pub(super) fn confirm_ca(&mut self, wanted: &CaConfirm) -> Done {
        let Some(current) = self.state.ca_rotation().filter(|r| r.id == wanted.rotation && r.phase == wanted.phase) else {
            return Ok(Reply::Planned { skipped: 1 });
        };
        let mut rotation = CaRotation::clone(current);
        rotation.members.extend(wanted.members.iter().filter(|id| self.state.member(**id).is_some()));
        rotation.nodes.extend(wanted.nodes.iter().filter(|id| self.state.node(**id).is_some()));
        rotation.members.sort_unstable();
        rotation.members.dedup();
        rotation.nodes.sort_unstable();
        rotation.nodes.dedup();
        if (&rotation.members, &rotation.nodes) != (&current.members, &current.nodes) {
            rotation.version = self.revision;
            self.put(Row::CaRotation(Arc::new(rotation)));
        }
        Ok(Reply::Planned { skipped: 0 })
    }

    pub(super) fn step_ca(&mut self, wanted: &CaStep) -> Done {
        let Some(current) = self.state.ca_rotation().filter(|r| r.id == wanted.rotation && r.phase == wanted.phase).cloned()
        else {
            return Err(Refusal::conflict("the rotation of the authority has gone on meanwhile; see `ring cluster status`"));
        };
        let (members, nodes) = self.state.ca_missing();
        if !wanted.force && members.len() + nodes.len() > 0 {
            let message =
                format!("{} hosts have not done their part yet; see `ring cluster status`", members.len() + nodes.len());
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        match current.phase {
            CaPhase::Trust => {
                let next = CaRotation {
                    phase: CaPhase::Renew,
                    members: Vec::new(),
                    nodes: Vec::new(),
                    version: self.revision,
                    ..CaRotation::clone(&current)
                };
                self.put(Row::CaRotation(Arc::new(next)));
            }
            CaPhase::Renew => {
                let Some(meta) = self.state.meta().cloned() else { return Ok(Reply::Done) };
                let (ca_certificate, ca_key_sealed) = (current.certificate.clone(), current.key_sealed.clone());
                self.put(Row::Meta(Arc::new(ClusterMeta { ca_certificate, ca_key_sealed, ..ClusterMeta::clone(&meta) })));
                self.delete(RowKey::CaRotation);
            }
        }
        Ok(Reply::Done)
    }
}
