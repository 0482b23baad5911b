//! The built-in runtime: a workload is a process of the host itself, watched by a small supervisor of its own.
//!
//! Nothing here needs a daemon. Each instance has a directory (see [`layout`]) and, while it runs, a supervisor process: the
//! same binary started with a hidden subcommand that calls [`shim_main`]. The supervisor is the parent of the workload, so the
//! exit status is known and written down even when the agent was away; the agent can be killed and started again at any time.
//!
//! What this runtime is not: a sandbox. The workload sees the host's files and network. Processor and memory limits hold where
//! the host has writable control groups, and are absent elsewhere; [`ring_runtime::Runtime::probe`] says which. Output goes
//! through the supervisor: a workload whose supervisor was killed goes on running, but gets EPIPE when it writes.
//!
//! # Mounts
//!
//! A workload with mounts gets a mount namespace of its own, for which the agent has to run as root. There are no mount points to
//! choose from as in an image: where the host has nothing at a destination, an empty directory or file is made, and left.
//! A bind mount whose source and destination are the same path, for reading and writing, needs neither namespace nor root.
//!
//! Under systemd the agent's unit needs `KillMode=process`, as stopping it would otherwise kill the supervisors.

mod cgroup;
mod driver;
mod env;
mod exec;
mod layout;
mod mounts;
mod observe;
mod prepare;
mod record;
mod shim;
mod start;
mod stats;
mod stop;
mod vault;
mod watch;

pub use driver::{ProcessConfig, ProcessRuntime};
pub use shim::shim_main;
