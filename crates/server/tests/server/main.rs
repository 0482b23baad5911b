//! Control nodes in this process, spoken to over their ports. One binary: each links the whole server.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;
mod audit;
mod carried;
mod cluster;
mod exec;
mod health;
mod host;
mod hostile;
mod https;
mod limits;
mod plans;
mod rest;
mod rollouts;
mod seed;
mod support;
mod tls;
mod tokens;
mod walk;
mod webhooks;
mod webhooks_tls;
