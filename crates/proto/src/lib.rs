//! What goes over the wire and to disk: the generated messages and services of `/proto`, and the conversions between them
//! and our own types.
//!
//! Nothing here decides anything. A value that was written by any release is read back as the same value by every later
//! one; what a message lacks, or says in words this release does not know, is a [`WireError`] and never a guess.

#[macro_use]
mod macros;

mod command;
mod field;
mod node;
mod object;
mod redact;
mod reply;
pub mod rows;
mod spec;
mod webhook;
mod wire;

#[cfg(test)]
mod refusals;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod testing;

#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)] // Generated; documented in the .proto files.
mod generated {
    include!(concat!(env!("OUT_DIR"), "/packages.rs"));
}

pub use generated::ring::*;
pub use wire::{Wire, WireError};
