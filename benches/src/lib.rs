//! Figures of whole clusters: what a client of three real `ring` processes sees, beside etcd and plain Docker.
//!
//! The library holds the load, the two systems and the measurements; `scale/main.rs` is the command that runs them and prints
//! one table. Nothing here is part of `ring` itself.

pub mod commits;
pub mod connection;
pub mod cpu;
pub mod docker_api;
pub mod etcd;
pub mod failover;
pub mod jobs;
pub mod load;
pub mod machine;
pub mod memory;
pub mod out;
pub mod ring;
pub mod start;
pub mod stats;
pub mod table;
