//! What an instance uses.

use ring_types::{Memory, Timestamp};

/// Use of one instance at one moment. Counters grow from its start; a rate is the difference of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstanceStats {
    /// When it was measured.
    pub at: Timestamp,
    /// Processor time used since the start, microseconds.
    pub cpu_time_us: u64,
    /// Memory in use now, without what the kernel could give back (page cache).
    pub memory: Memory,
    /// Limit of its memory; None without one.
    pub memory_limit: Option<Memory>,
    /// Bytes received over its network since the start; None where it has none of its own.
    pub network_received: Option<u64>,
    /// Bytes sent.
    pub network_sent: Option<u64>,
    /// Bytes read from block devices since the start, where known.
    pub block_read: Option<u64>,
    /// Bytes written.
    pub block_written: Option<u64>,
    /// Processes and threads, where known.
    pub processes: Option<u64>,
}
