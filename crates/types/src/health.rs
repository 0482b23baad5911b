//! What a node's checks say of an instance. Only changes of it are replicated; single probe results stay on the node.

use serde::{Deserialize, Serialize};

/// Health of one instance as its node judges it. The latest account replaces the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Every readiness check has passed for its `min_healthy_time`. Always true while running for an instance without one.
    pub ready: bool,
    /// Checks that have failed `threshold` times in a row, by their place in the specification; ascending.
    pub failing: Vec<FailingCheck>,
}

/// A check that counts as failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailingCheck {
    /// Its place in the specification's list.
    pub check: u32,
    /// What the last probe saw, for people.
    pub message: String,
}
