//! The server side of a control node: REST API, services for agents and other control nodes, roles, certificates, and the
//! composition of all of it into a running node.

// Types of futures of sessions are deep: streams in streams of the HTTP library.
#![recursion_limit = "256"]

mod buckets;
mod clock;
mod door;
mod ids;
mod keys;
pub mod node;
mod origin;
pub mod pki;
mod refusals;
mod registry;
pub mod rest;
mod secrets;
pub mod services;
pub mod session;
pub mod tls;
mod webhooks;

pub use ring_api::{API_PORT, CLUSTER_PORT};
pub use ring_state::JoinRole;
