//! The record files of an instance.

use std::path::PathBuf;

use ring_guest::{Mount, Network};
use ring_runtime::Workload;
use ring_runtime_host::proc::ProcessId;
pub(crate) use ring_runtime_host::record::{read, sync_dir, write, write_new};
use ring_types::{DeploymentId, DeploymentSpec, Generation, ImageConfig, Memory, Outcome, Timestamp};
use serde::{Deserialize, Serialize};

use crate::roots::RootImage;
use crate::vmm::Afterwards;

/// What prepare was told, without what may be secret: that is never written to disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) deployment: DeploymentId,
    pub(crate) generation: Generation,
    /// Without its environment and without the credentials of a registry.
    pub(crate) spec: DeploymentSpec,
    pub(crate) boot: Boot,
    /// Virtual processors.
    pub(crate) cpus: u32,
    pub(crate) memory: Memory,
}

/// What is booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Boot {
    /// The root file system of an OCI image, under our init.
    Image(RootImage),
    /// A disk image as it is.
    Disk(PathBuf),
}

impl Record {
    pub(crate) fn new(workload: &Workload, boot: Boot, cpus: u32, memory: Memory) -> Self {
        let mut spec = (*workload.spec).clone();
        spec.environment.clear();
        spec.config = ImageConfig { user: spec.config.user, ..ImageConfig::default() };
        Self { deployment: workload.deployment, generation: workload.generation, spec, boot, cpus, memory }
    }
}

/// The VMM of an instance. Nothing was executed in it as long as there is no [`Starting`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Vmm {
    /// The run of the host's kernel.
    pub(crate) boot: String,
    pub(crate) process: ProcessId,
    pub(crate) at: Timestamp,
    pub(crate) afterwards: Afterwards,
    pub(crate) wiring: Wiring,
}

/// What was made for the guest and what it is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wiring {
    pub(crate) network: Option<Network>,
    pub(crate) mounts: Vec<Mount>,
    /// The tap of the host, and the address the guest has on it.
    pub(crate) tap: Option<String>,
    pub(crate) address: Option<String>,
}

/// The one execution is about to happen. Whoever made this file, and nobody else, may start the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Starting {
    /// The run of the host's kernel.
    pub(crate) boot: String,
    /// The run of the guest's kernel that is told to start; None for a disk image.
    pub(crate) guest: Option<String>,
    pub(crate) at: Timestamp,
}

/// The workload runs, or a disk image was booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) at: Timestamp,
    /// The guest's address, when it has one.
    pub(crate) address: Option<String>,
}

/// We end it, whatever it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Killed {
    pub(crate) at: Timestamp,
}

/// The end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    pub(crate) outcome: Outcome,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Timestamp,
    /// For people: what was seen when no exit status came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}
