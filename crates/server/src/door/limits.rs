//! How many connections there may be, and how patient the door is with them.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// Most connections of the REST API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorLimits {
    /// At the same time, in all; never more than half of the files the process may open.
    pub connections: usize,
    /// At the same time, from one address.
    pub connections_per_address: usize,
    /// TLS connections from one address that are begun in a second; twice as many at once. 0: no bound.
    pub handshakes_per_second: u32,
    /// Longest time from a connection to the end of its TLS handshake.
    pub handshake: Duration,
    /// Longest time from a connection, or the last answer on it, to the end of the head of a request: HTTP/1.1.
    pub head: Duration,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_address: 2048,
            handshakes_per_second: 200,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(20),
        }
    }
}

impl DoorLimits {
    /// These, or less where the process may not open that many files: the store needs its own.
    pub(super) fn within_files(self) -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let half = usize::try_from(files / 2).unwrap_or(usize::MAX).max(1);
        Self { connections: self.connections.min(half), ..self }
    }
}
