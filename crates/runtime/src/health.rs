//! What a runtime says of the health check it runs by itself.

use ring_types::Timestamp;

/// Health as a runtime with a health check of its own tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeHealth {
    /// What it says.
    pub verdict: NativeVerdict,
    /// Its last probes, oldest first; as many as the runtime keeps.
    pub probes: Vec<NativeProbe>,
}

/// What a runtime says of an instance's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeVerdict {
    /// Nothing yet.
    Starting,
    /// The last probes passed, or too few failed.
    Healthy,
    /// As many in a row failed as count.
    Unhealthy,
}

/// One probe a runtime made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeProbe {
    /// When it began.
    pub started_at: Timestamp,
    /// When it was over.
    pub finished_at: Timestamp,
    /// Exit code of its command.
    pub code: i32,
    /// What it wrote.
    pub output: String,
}
