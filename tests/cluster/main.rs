//! Clusters of real processes on loopback, with the built-in `process` runtime: no root, no Docker.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alone;
mod api;
mod authority;
mod backup;
mod behind;
mod carried;
mod ci;
mod damage;
mod drains;
mod exec;
mod flood;
mod health;
mod hostile;
mod https;
mod jobs;
mod joining;
mod keys;
mod losses;
mod lossy;
mod many;
mod memory;
mod moves;
mod orders;
mod output;
mod people;
mod plaintext;
mod rebalance;
mod receiver;
mod removal;
mod restart;
mod rollouts;
mod scaling;
#[path = "../seed/script.rs"]
mod script;
mod seed;
mod upgrades;
mod webhooks;
