//! A cluster whose quorum is lost for good goes on with the one control node that is left.

use std::path::Path;

use ring_state::{Member, MemberState};
use ring_store::Survivor;
use ring_types::{ClusterGeneration, ClusterId, MemberId, Name, Timestamp};

use super::NodeError;
use super::host::store_dir;
use super::restore::begin;
use crate::clock;
use crate::pki::{HostFiles, HostRecord, MemberRecord};

/// A control node that is stopped, and could become the cluster.
pub struct Recovery {
    files: HostFiles,
    record: HostRecord,
    member: MemberRecord,
    survivor: Survivor,
}

/// What a recovery would do.
#[derive(Clone, Debug)]
pub struct RecoveryPlan {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Its generation before.
    pub generation: ClusterGeneration,
    /// The one that is left.
    pub survivor: (MemberId, String),
    /// Index of the last entry it has.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// Time of that entry, by the clock of the leader that wrote it.
    pub at: Timestamp,
    /// Control nodes that are given up: id, name, cluster port.
    pub given_up: Vec<(MemberId, String, String)>,
}

impl Recovery {
    /// Opens the data directory of a control node that does not run.
    ///
    /// # Errors
    /// [`NodeError`] when it runs, is no control node's, is damaged, or is the only control node anyway.
    pub fn open(data_dir: &Path) -> Result<Self, NodeError> {
        let files = HostFiles::new(data_dir);
        let record = files.record()?.ok_or_else(|| NodeError::NotJoined(data_dir.to_owned()))?;
        let member = record.member.clone().ok_or_else(|| NodeError::NotControl(data_dir.to_owned()))?;
        let survivor = Survivor::open(&store_dir(data_dir), record.cluster, member.id)?;
        let known = survivor.state.member(member.id).map(|known| known.state);
        if known != Some(MemberState::Active) {
            return Err(NodeError::NoSurvivor { id: member.id, why: "it has no vote in what it knows of the cluster" });
        }
        let recovery = Self { files, record, member, survivor };
        if recovery.others().next().is_none() {
            return Err(NodeError::NoSurvivor { id: recovery.member.id, why: "it is the only control node: start it" });
        }
        Ok(recovery)
    }

    fn others(&self) -> impl Iterator<Item = &Member> {
        crate::services::members(&self.survivor.state).filter(|member| member.id != self.member.id)
    }

    /// What would be done, and lost.
    pub fn plan(&self) -> RecoveryPlan {
        let (term, index) = self.survivor.last();
        RecoveryPlan {
            cluster: self.record.cluster,
            generation: self.survivor.state.generation(),
            survivor: (self.member.id, self.member.name.clone()),
            index,
            term,
            at: self.survivor.state.clock(),
            given_up: self.others().map(|m| (m.id, m.name.to_string(), m.address.clone())).collect(),
        }
    }

    /// Makes it so; the generation of the cluster from now on.
    ///
    /// # Errors
    /// [`NodeError`] when the directory cannot be written.
    pub fn run(self) -> Result<ClusterGeneration, NodeError> {
        let Self { files, record, member, survivor } = self;
        let name = Name::new(&member.name).map_err(|why| NodeError::Name { name: member.name.clone(), why })?;
        let generation = survivor.state.generation().after(rand::random());
        let entry = begin("ring cluster recover", "cluster.recover", generation, member.id, &name, &member);
        survivor.begin_anew(&member.name, &member.address, vec![entry], clock::now())?;
        let control_addresses = vec![member.address.clone()];
        files.write_record(&HostRecord { generation, control_addresses, ..record })?;
        Ok(generation)
    }
}
