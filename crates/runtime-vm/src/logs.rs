//! Output of a guest: the log of [`ring_runtime_host::logs`], with marks between its lines.
//!
//! Lines `<milliseconds> m <position of stdout> <position of stderr>` are marks: what the guest sends from there on is not in
//! the log yet.

mod journal;
mod marked;

pub(crate) use journal::Journal;
pub(crate) use ring_runtime_host::logs::{Ends, follow, read};
