//! How an execution ended.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::status::words;
use crate::{NodeId, Timestamp};

/// The recorded end of one instance. Never guessed: what nobody saw is [`Outcome::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// What ended it.
    pub outcome: Outcome,
    /// When its process started, if it did.
    pub started_at: Option<Timestamp>,
    /// When it ended, as the runtime recorded it; for an unknown end, when that was noticed.
    pub finished_at: Timestamp,
    /// The node it ran on.
    pub node: NodeId,
}

/// What ended an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The process returned this code.
    Code(i32),
    /// The process was ended by this signal.
    Signal {
        /// Signal number.
        signal: i32,
        /// The kernel ended it for using more memory than it was allowed.
        oom_killed: bool,
    },
    /// The process was never started, for certain.
    NotStarted {
        /// Which step failed.
        cause: StartFailure,
        /// What the runtime said, for people.
        message: String,
    },
    /// It may have run; how it ended cannot be known.
    Unknown(UnknownExit),
}

/// Why a process was never started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFailure {
    /// The registry, or the host under pull policy `Never`, says that there is no such image.
    ImageNotFound,
    /// The image could not be fetched now.
    ImagePull,
    /// The runtime refused to make or start the instance.
    Create,
    /// Its network could not be made, or a port is taken.
    Network,
    /// A secret, config or credential is missing or unusable.
    Config,
    /// A mount or the disk failed.
    FileSystem,
    /// It was told to stop before it started.
    Cancelled,
    /// Its node's claim was refused or never asked for: the node was lost or removed first.
    NodeGone,
    /// Anything else.
    Other,
}

words!(StartFailure {
    ImageNotFound = "image_not_found",
    ImagePull = "image_pull",
    Create = "create",
    Network = "network",
    Config = "config",
    FileSystem = "file_system",
    Cancelled = "cancelled",
    NodeGone = "node_gone",
    Other = "other",
});

/// Why an end is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownExit {
    /// The node it ran on did not come back within its grace time.
    NodeLost,
    /// The node was removed from the cluster.
    NodeRemoved,
    /// The agent's own records are gone.
    LedgerLost,
    /// The runtime no longer knows the instance, or not how it ended (its container was removed by hand, its data directory wiped, the
    /// engine killed before it had written down the end).
    InstanceVanished,
    /// Its virtual machine is gone, or was restarted, and said nothing of its end. Needs level 2.
    VmLost,
    /// The host went down while it ran and kept no record of its end.
    HostRestarted,
    /// The cluster was begun anew, from a snapshot or from one survivor, while it was not known whether it had begun.
    ClusterRestored,
}

impl UnknownExit {
    /// The word for it in `reason` fields.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NodeLost => "node_lost",
            Self::NodeRemoved => "node_removed",
            Self::LedgerLost => "ledger_lost",
            Self::InstanceVanished => "instance_vanished",
            Self::VmLost => "vm_lost",
            Self::HostRestarted => "host_restarted",
            Self::ClusterRestored => "cluster_restored",
        }
    }
}

impl ExitStatus {
    /// Did the workload itself end, and end well?
    pub fn success(&self) -> bool {
        self.outcome == Outcome::Code(0)
    }

    /// The code a shell would show: the code itself, or 128 plus the signal. None when nothing ran or nobody knows.
    pub fn code(&self) -> Option<i32> {
        match self.outcome {
            Outcome::Code(code) => Some(code),
            Outcome::Signal { signal, .. } => Some(128 + signal),
            Outcome::NotStarted { .. } | Outcome::Unknown(_) => None,
        }
    }
}
