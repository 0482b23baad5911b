//! The whole agent against a scripted runtime and a scripted control plane, over real connections.
#![allow(clippy::unwrap_used)] // Helpers of tests: what fails there fails the test.

mod claims;
mod connection;
mod crashes;
mod exec;
mod health;
mod host;
mod life;
mod logs;
mod plane;
mod questions;
