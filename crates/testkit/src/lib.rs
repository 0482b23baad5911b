//! Test support: real processes, a lab of hosts with their own networks and Docker daemons, and clusters of `ring`.
//!
//! * [`process`], [`command`], [`wait`], [`http`]: the small tools everything else is made of.
//! * [`history`], [`linear`]: whether an order explains what clients saw.
//! * [`guide`]: the manifests of the guide "Run a job".
//! * [`lab`]: hosts as network namespaces, faults between them, Docker daemons in them. Needs root.
//! * [`model`]: what requests mean one after another, to judge what became of them at once.
//! * [`sim`]: a whole cluster simulated in one thread, from a seed.
//! * [`cluster`]: control nodes and agents as `ring` processes, on loopback or on the hosts of a lab.
//!
//! Everything is synchronous on purpose: a test reads as a list of steps, and cleaning up happens in `Drop`.

pub mod cli;
pub mod cluster;
pub mod command;
pub mod flags;
pub mod guide;
pub mod history;
pub mod http;
pub mod lab;
pub mod linear;
pub mod model;
pub mod node;
pub mod place;
pub mod ports;
pub mod process;
pub mod report;
pub mod sim;
pub mod sweep;
pub mod terminal;
pub mod wait;
pub mod work;

pub use cli::{RingCli, previous_release};
pub use cluster::Cluster;
pub use command::Outcome;
pub use lab::{Docker, Host, Lab};
pub use node::RingNode;
pub use process::Process;
pub use wait::eventually;
