//! The record files of an instance.

use std::path::PathBuf;

use ring_runtime_host::proc::ProcessId;
pub(crate) use ring_runtime_host::record::{read, sync_dir, write, write_new};
use ring_types::{Cpu, DeploymentId, Generation, Memory, Outcome, Timestamp};
use serde::{Deserialize, Serialize};

/// What prepare was told, without the environment: that may hold secrets and is never written to disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) deployment: DeploymentId,
    pub(crate) generation: Generation,
    pub(crate) command: Vec<String>,
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) limits: Limits,
    /// What is mounted for it, and only for it.
    #[serde(default)]
    pub(crate) mounts: Vec<Mount>,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mount {
    pub(crate) source: Source,
    pub(crate) destination: PathBuf,
    pub(crate) read_only: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// A directory or file of the host.
    Path(PathBuf),
    /// One of the workload's files: its number.
    File(usize),
}

/// What the control group enforces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Thousandths of a processor.
    pub(crate) cpu_milli: Option<u64>,
    /// Bytes.
    pub(crate) memory: Option<u64>,
}

impl Limits {
    pub(crate) fn new(cpu: Option<Cpu>, memory: Option<Memory>) -> Self {
        Self { cpu_milli: cpu.map(|c| c.0).filter(|c| *c > 0), memory: memory.map(|m| m.0).filter(|m| *m > 0) }
    }

    pub(crate) fn any(self) -> bool {
        self.cpu_milli.is_some() || self.memory.is_some()
    }
}

/// The one execution is about to happen. Whoever made this file, and nobody else, may execute the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Starting {
    pub(crate) boot: String,
    pub(crate) shim: ProcessId,
    pub(crate) at: Timestamp,
}

/// The workload has been executed. Its process leads its own process group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) process: ProcessId,
    pub(crate) at: Timestamp,
}

/// The end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    pub(crate) outcome: Outcome,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Timestamp,
}
