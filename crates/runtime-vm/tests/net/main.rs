//! Networks of micro-VMs, in network namespaces that the tests make: a host, guests behind taps, and the world outside.
#![allow(missing_docs, clippy::print_stdout)]

mod filter;
mod life;
#[path = "../common/loud.rs"]
mod loud;
mod ports;
mod world;
