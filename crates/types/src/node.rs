//! Hosts that run work.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::status::words;
use crate::{Cpu, Level, Memory, RuntimeKind};

/// What the cluster thinks of a node's connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// Enrolled; its agent has not registered yet.
    #[default]
    Joining,
    /// Its agent is in contact.
    Ready,
    /// No contact for the suspicion time; nothing new is placed there, nothing is taken away.
    Unreachable,
    /// No contact for the grace time; its work is treated as lost.
    Lost,
}

words!(NodeStatus { Joining = "joining", Ready = "ready", Unreachable = "unreachable", Lost = "lost" });

/// What a node has to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCapacity {
    /// Processors.
    pub cpu: Cpu,
    /// Memory of the host.
    pub memory: Memory,
}

/// One runtime of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeReport {
    /// Which.
    pub kind: RuntimeKind,
    /// Its version, as it says it.
    pub version: String,
    /// Why it cannot be used now; None when it can.
    pub problem: Option<String>,
}

/// What an agent says of its host when it registers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// What there is.
    pub capacity: NodeCapacity,
    /// What can run there.
    pub runtimes: Vec<RuntimeReport>,
    /// Labels from the agent's own configuration; labels set through the API win over them.
    pub labels: BTreeMap<String, String>,
    /// Version of the agent.
    pub agent_version: String,
    /// `linux/x86_64` and the like.
    pub platform: String,
    /// The host name.
    pub hostname: String,
    /// Address other hosts reach it at, empty when not known.
    pub address: String,
    /// What the agent understands. Above the first it is written once the cluster is at level 2.
    #[serde(default)]
    pub level: Level,
}
