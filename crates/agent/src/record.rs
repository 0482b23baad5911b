//! What the ledger remembers of one instance. It has no specification and no environment in it, so no secret.

use ring_types::{DeploymentId, ExitStatus, Generation, Health, InstanceState, Revision, RuntimeKind, Span, Timestamp};
use serde::{Deserialize, Serialize};

/// How far this node has gone with an instance. Only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The claim may have been asked for. It was never started.
    Claiming,
    /// The claim is committed. It was never started.
    Claimed,
    /// It may have been started: from here on it is never prepared again.
    Starting,
    /// Its process has been seen.
    Started,
    /// It has ended, or will never be started: the exit status says which.
    Exited,
    /// Nothing is left of it on this host.
    Removed,
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whose instance it is.
    pub deployment: DeploymentId,
    /// What runs it.
    pub runtime: RuntimeKind,
    /// Newest generation heard.
    pub generation: Generation,
    /// The first state of the cluster that had it on this node: an older one cannot say that it is not this node's.
    pub revision: Revision,
    /// From SIGTERM to SIGKILL.
    pub stop_grace: Span,
    /// How far it is.
    pub phase: Phase,
    /// Boot id of the host when it was started.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host_boot: String,
    /// Digest of its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// Its network address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// When its process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// How it ended; there from [`Phase::Exited`] on, but for an instance that was only found to be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
    /// Newest state the cluster is known to have committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<InstanceState>,
    /// What its health checks said when it changed last: it stands until they say otherwise, also after a restart of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Without contact for so long, the host stops it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_on_disconnect: Option<Span>,
    /// That was so: it is stopped, whatever is heard from now on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_off: bool,
}

impl Record {
    /// The state to be reported for this phase; None when there is nothing to tell.
    pub fn state(&self) -> Option<InstanceState> {
        match self.phase {
            Phase::Claiming | Phase::Claimed | Phase::Starting => None,
            Phase::Started => Some(InstanceState::Running),
            Phase::Exited => Some(InstanceState::Exited),
            Phase::Removed => Some(InstanceState::Removed),
        }
    }
}
