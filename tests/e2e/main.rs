//! Tests with real processes, real networks and real Docker daemons.
//!
//! Where the lab cannot run (not root, no Docker) each test prints `SKIPPED: …`; `RING_REQUIRE_LAB=1` makes that a failure.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod carried;
mod exec;
mod faults_agent;
mod faults_docker;
mod faults_leader;
mod faults_quorum;
mod health;
mod lab;
mod micro_vms;
mod registry;
#[path = "../seed/script.rs"]
mod script;
mod seed;
mod stalls;
mod steady;
mod three;
