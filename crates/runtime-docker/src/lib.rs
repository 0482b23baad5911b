//! The driver of Docker, and of Podman through its Docker-compatible socket.
//!
//! An instance is one container, found again by its labels and never by memory:
//!
//! | on the container | what |
//! |---|---|
//! | label `ring_deployment` | id of the deployment |
//! | label `ring_instance` | id of the instance |
//! | label `ring_generation` | generation of the assignment it was made for |
//! | label `ring_node` | id of the node, where the driver was told it: several agents may share one engine |
//! | name | `<namespace>_<name>_<last 8 hex digits of the instance's id>` |
//! | network | `ring_<namespace>`, with the deployment's name as alias; or the host's |
//!
//! # What an end means here
//!
//! An engine reports one number for an end, and the number of a process that returned 137 is that of one that was killed. This
//! driver reports 128 + n, where n is a signal that ends a process by default, as that signal; every other number is the code
//! the process returned. Signal 9 counts as want of memory when the engine says so. A command that cannot be executed ends with
//! code 127 (not there) or 126 (not executable), as `docker run` has it.
//!
//! # Started once
//!
//! The engine would start an ended container again. The driver asks for a start only when the container was never started, and
//! only one such request is ever under way for an instance: one whose answer did not come in time is waited for by the next call
//! instead of being sent again. What remains: an agent that is killed while the engine hangs with its request unread, and
//! whose successor's questions overtake that request.

mod client;
mod config;
mod create;
mod driver;
mod events;
mod exec;
mod files;
mod health;
mod image;
mod logs;
mod marks;
mod mounts;
mod network;
mod outages;
mod prepare;
mod probe;
mod pulls;
mod start;
mod state;
mod stats;

pub use config::{DockerConfig, Engine};
pub use driver::DockerRuntime;
