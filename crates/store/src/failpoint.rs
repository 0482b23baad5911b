//! Places where a test stops the process in the middle of a write. Without the feature `failpoints` they are nothing.

/// Every place, so that a test can visit each.
pub const FAILPOINTS: [&str; 12] = [
    "log-before-write",
    "log-after-write",
    "log-before-flush",
    "log-after-flush",
    "vote-after-write",
    "apply-before-write",
    "apply-after-write",
    "snapshot-before-sync",
    "snapshot-before-rename",
    "snapshot-after-rename",
    "install-after-write",
    "purge-after-write",
];
