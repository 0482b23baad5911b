//! Workloads in micro-VMs of Cloud Hypervisor.

mod find;
mod image;
pub mod net;
mod notice;
mod proc;
pub mod requirements;
pub mod seed;
pub mod shares;
mod spawn;
