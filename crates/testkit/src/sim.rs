//! A whole cluster in one thread, made of the real state machine, planner and agent logic, with time, network, disks and
//! processes simulated. Everything random comes from the seed: the same seed is the same history.
//!
//! Simulated are a replicated log whose leaders crash and whose proposals are lost, done twice or done without an answer;
//! control nodes that lag behind it; agents that crash at any step, with a ledger that survives as much as it promises;
//! messages lost, doubled, reordered and late; nodes cut off for longer than their grace time; health checks that fail; and
//! loads that scale; and clients that apply what waits for what, scale, update, roll back and delete. At each step the invariants are
//! checked against what the simulated hosts really executed, and at the end, when nothing fails any more, everything has to heal.

mod agent;
mod check;
mod clients;
mod control;
mod dependencies;
mod drains;
mod faults;
mod host;
mod lonely;
mod mutate;
mod network;
mod rng;
mod rollouts;
mod run;
mod scaling;

pub use run::{Mutation, Options, Summary, Violation, run};
