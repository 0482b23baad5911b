//! Workloads in micro-VMs of Cloud Hypervisor.

mod find;
mod image;
pub mod net;
pub mod seed;
pub mod shares;
