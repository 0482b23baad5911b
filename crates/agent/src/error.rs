//! What ends an agent.

use crate::LedgerError;

/// Why the agent ended. Workloads run on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The ledger cannot be opened.
    #[error("the agent's ledger cannot be opened: {0}")]
    Ledger(#[from] LedgerError),
    /// The cluster does not want this node any more.
    #[error("{0}: the agent ends; what runs on this host goes on")]
    Dismissed(String),
    /// A part of the agent failed by a fault of its own.
    #[error("{0} failed by a fault of the agent; start it again, it goes on from its ledger")]
    Fault(String),
}

/// A control node that cannot be reached, or is not who it should be.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(pub String);
