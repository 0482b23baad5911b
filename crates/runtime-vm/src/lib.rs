//! Workloads in micro-VMs of Cloud Hypervisor.

mod image;
mod net;
mod seed;
mod shares;
