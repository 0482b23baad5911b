//! Output of instances.

use bytes::Bytes;
use ring_types::Timestamp;

/// Which output a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of output, without its line end. Lines longer than 16 KiB come in pieces of that size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When the runtime received it.
    pub at: Timestamp,
    /// Where from.
    pub source: LogSource,
    /// The bytes, not necessarily UTF-8.
    pub line: Bytes,
}

/// Which output is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Only the last so many lines.
    pub tail: Option<u64>,
    /// Only lines at or after this.
    pub since: Option<Timestamp>,
    /// Go on with what comes, until the instance has ended.
    pub follow: bool,
}
