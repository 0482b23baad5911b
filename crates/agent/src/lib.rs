//! The node side of ring: runs what the control plane assigns to this host, once, and tells how it ended.
//!
//! - [`next()`] decides: pure, one step at a time, the same after a crash as before.
//! - The ledger remembers; each instance has a task that does its steps; a session carries claims, reports and logs.
//! - Nothing here knows why something is to run, where else, or how often: that is the planner's.

mod agent;
mod config;
mod contact;
mod context;
pub mod desired;
mod error;
mod health;
mod instances;
mod leave;
mod ledger;
mod mailbox;
pub mod next;
mod node_info;
mod outbox;
pub mod record;
mod session;
mod stats;
mod task;
mod usage;

pub use agent::Agent;
pub use config::{AgentConfig, AgentTiming, ControlConnector};
pub use desired::{Assignment, Desired, Distrust};
pub use error::{AgentError, ConnectError};
pub use ledger::{Ledger, LedgerError};
pub use next::{Claim, Durability, Facts, Step, Volatile, next};
pub use record::{Phase, Record};
pub use session::Connection;
