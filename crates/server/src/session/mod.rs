//! The sessions of agents: each agent keeps one, with any control node. Assignments go down, claims and reports come up.

mod ask;
mod assignments;
mod claims;
mod commands;
mod conversation;
mod hub;
mod locate;
mod logs;
mod provision;
mod service;

pub use ask::{Agents, AskError};
pub(crate) use claims::state_at;
pub(crate) use commands::pass_on;
pub use commands::{CommandEvents, CommandInput, Commands, RunningCommand};
pub use hub::Hub;
pub use logs::{LogError, LogRequest, LogStream, Logs};
pub use service::{AgentApi, SessionContext};
