//! The sessions of agents: each agent keeps one, with any control node. Assignments go down, claims and reports come up.

mod ask;
mod assignments;
mod claims;
mod conversation;
mod exec;
mod hub;
mod leave;
mod locate;
mod logs;
mod provision;
mod service;

pub use ask::{Agents, AskError};
pub(crate) use claims::state_at;
pub(crate) use exec::pass_on;
pub use exec::{ExecEvents, ExecFeed, Execs, RunningExec};
pub use hub::Hub;
pub use logs::{LogError, LogRequest, LogStream, Logs};
pub use service::{AgentApi, SessionContext};
