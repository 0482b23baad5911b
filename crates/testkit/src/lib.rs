//! Test support: real processes, a lab of hosts with their own networks and Docker daemons, and clusters of `ring`.
//!
//! * [`process`], [`command`], [`wait`], [`http`]: the small tools everything else is made of.
//! * [`lab`]: hosts as network namespaces, faults between them, Docker daemons in them. Needs root.
//!
//! Everything is synchronous on purpose: a test reads as a list of steps, and cleaning up happens in `Drop`.

pub mod command;
pub mod http;
pub mod lab;
pub mod place;
pub mod process;
pub mod report;
pub mod sweep;
pub mod wait;

pub use command::Outcome;
pub use lab::{Docker, Host, Lab};
pub use process::Process;
pub use wait::eventually;
