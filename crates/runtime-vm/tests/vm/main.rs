//! The micro-VM runtime with a stand-in for the VMM: no virtual machine, everything else as it is.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is test code, which clippy sees only in test functions"
)]

#[path = "../common/apart.rs"]
mod apart;
mod conformance;
mod console;
mod disk;
mod faults;
mod given;
mod guest;
#[path = "../common/loud.rs"]
mod loud;
mod real;
mod restart;
mod rollout;
mod stock;
mod world;

#[path = "../image/registry.rs"]
#[allow(dead_code, reason = "here the registry only has to have an image")]
mod registry;

#[path = "../tiny/vmm.rs"]
#[allow(dead_code, reason = "here the runtime drives the VMM, and only what is booted is of use")]
mod tiny;
