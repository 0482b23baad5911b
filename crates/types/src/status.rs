//! Where a deployment and an instance are in their lives.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word for it everywhere people and programs see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|v| v.as_str()).collect();
                    format!("'{text}' is not one of {}", known.join(", "))
                })
            }
        }
    };
}
pub(crate) use words;

/// Status of a deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentStatus {
    /// Accepted; nothing bound to a node yet.
    #[default]
    Pending,
    /// Bound; being fetched, created or started.
    Creating,
    /// Its process has been seen alive.
    Running,
    /// A job that ended with 0.
    Completed,
    /// A job that did not end with 0, or a worker that never got ready in time.
    Failed,
    /// Being taken away.
    Deleted,
    /// A worker that kept ending.
    CrashLoopBackOff,
    /// The image cannot be had; tried again with growing pauses.
    ImagePullBackOff,
    /// The runtime refused to make the instance.
    CreateContainerError,
    /// Its network could not be made, or a port is taken.
    NetworkError,
    /// A secret or config it names is missing.
    ConfigError,
    /// A volume or a disk failed.
    FileSystemError,
    /// No node of the cluster could ever hold it.
    InsufficientResources,
    /// Anything else; the message says what.
    Error,
}

words!(DeploymentStatus {
    Pending = "pending",
    Creating = "creating",
    Running = "running",
    Completed = "completed",
    Failed = "failed",
    Deleted = "deleted",
    CrashLoopBackOff = "crash_loop_back_off",
    ImagePullBackOff = "image_pull_back_off",
    CreateContainerError = "create_container_error",
    NetworkError = "network_error",
    ConfigError = "config_error",
    FileSystemError = "file_system_error",
    InsufficientResources = "insufficient_resources",
    Error = "error",
});

impl DeploymentStatus {
    /// Nothing more happens by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::CrashLoopBackOff | Self::InsufficientResources)
    }
}

/// State of an instance. A clock that only goes forward: the numbers have gaps so that a later release can add states
/// between; a report that would move one back is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u16)]
pub enum InstanceState {
    /// Bound to a node, which has not claimed it.
    Assigned = 100,
    /// The node's claim is committed: from here on it may run, and nobody else may run it.
    Claimed = 200,
    /// The node fetches its image and makes its container.
    Preparing = 300,
    /// The node is about to start, or starts, its process.
    Starting = 400,
    /// Its process has been seen alive.
    Running = 500,
    /// Its node is lost; what became of it is not known. The truth may still arrive.
    Lost = 600,
    /// It ended, or never started; the exit status says how.
    Exited = 700,
    /// Its remains (container, files, logs) are gone from the node.
    Removed = 800,
}

words!(InstanceState {
    Assigned = "assigned",
    Claimed = "claimed",
    Preparing = "preparing",
    Starting = "starting",
    Running = "running",
    Lost = "lost",
    Exited = "exited",
    Removed = "removed",
});

impl InstanceState {
    /// The number it is stored as.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The state of a number; None for one this release does not know.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|s| s.number() == number)
    }

    /// A process of it may exist, or may come to exist.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Assigned | Self::Claimed | Self::Preparing | Self::Starting | Self::Running)
    }
}

/// What the cluster wants of an instance. Only grows, like its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Run it, once.
    #[default]
    Run,
    /// End it: SIGTERM, grace, SIGKILL. Its remains and logs stay.
    Stop,
    /// End it and take its remains away.
    Remove,
}

words!(Goal { Run = "run", Stop = "stop", Remove = "remove" });

/// Why an instance was told to end. Recorded with its goal, so that every leader judges its end the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// Fewer are wanted.
    ScaledDown,
    /// A newer deployment takes its place.
    Superseded,
    /// Its deployment goes.
    Deleted,
    /// A health check failed whose action is to replace it: counts like a crash.
    Unhealthy,
    /// A health check failed whose action is to stop it: its slot is not filled again.
    StoppedByCheck,
    /// It ran longer than its job may.
    TimedOut,
    /// Its node is being emptied.
    Drained,
    /// It ended, or was lost and replaced; what is left of it goes.
    Cleared,
    /// Its job is tried again elsewhere, since nobody could tell how it ended.
    Retried,
    /// A newer deployment takes its place, and could not begin beside it.
    MakesRoom,
    /// Another takes its place on another node, for an even spread.
    Rebalanced,
    /// Its agent stopped it: the host was out of contact for as long as it may be. Nobody told it to. Needs level 2.
    Disconnected,
}

words!(StopCause {
    ScaledDown = "scaled_down",
    Superseded = "superseded",
    Deleted = "deleted",
    Unhealthy = "unhealthy",
    StoppedByCheck = "stopped_by_check",
    TimedOut = "timed_out",
    Drained = "drained",
    Cleared = "cleared",
    Retried = "retried",
    MakesRoom = "makes_room",
    Rebalanced = "rebalanced",
    Disconnected = "disconnected",
});

/// Something worth knowing about a deployment beside its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// A node that runs a part of it is out of contact; what is shown is the last known.
    NodeUnreachable,
    /// Fewer instances than wanted could be placed.
    NotPlaced,
    /// An instance of it waits before its next start.
    BackingOff,
    /// An instance of it fails a health check.
    Unhealthy,
    /// An instance that runs has not passed its readiness checks.
    NotReady,
    /// A newer version of it is being rolled out, or it is that version.
    RollingOut,
    /// Something it depends on is not there yet.
    Waiting,
}

words!(Condition {
    NodeUnreachable = "node_unreachable",
    NotPlaced = "not_placed",
    BackingOff = "backing_off",
    Unhealthy = "unhealthy",
    NotReady = "not_ready",
    RollingOut = "rolling_out",
    Waiting = "waiting",
});
