//! Nodes, members and join tokens.

use ring_api::model::{JoinToken, Member, Node};
use ring_types::NodeStatus;

use super::size;
use crate::output::{Cell, Row};
use crate::resolve::named;

fn yes(value: bool) -> Cell {
    Cell::status(if value { "yes" } else { "no" })
}

/// Whether a node takes new work, and why not.
fn takes_work(node: &Node) -> Cell {
    match node.drain {
        Some(drain) => Cell::status(if drain.is_over() { "drained" } else { "draining" }),
        None => yes(node.schedulable),
    }
}

const fn status(status: NodeStatus) -> &'static str {
    match status {
        NodeStatus::Joining => "joining",
        NodeStatus::Ready => "ready",
        NodeStatus::Unreachable => "unreachable",
        NodeStatus::Lost => "lost",
    }
}

impl Row for Node {
    const COLUMNS: &'static [(&'static str, bool)] = &[
        ("Id", false),
        ("Name", false),
        ("Status", false),
        ("Schedulable", false),
        ("Runtimes", false),
        ("Cpu", false),
        ("Memory", false),
        ("Instances", false),
        ("Labels", true),
        ("Address", true),
        ("Platform", true),
        ("Agent", true),
    ];
    const SPARE: &'static [&'static str] = &["Agent", "Platform", "Address"];

    fn cells(&self) -> Vec<Cell> {
        let usable = self.runtimes.iter().filter(|r| r.problem.is_none()).map(|r| r.kind.as_str());
        let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}"));
        vec![
            Cell::id(self.id),
            self.name.as_str().into(),
            Cell::status(status(self.status)),
            takes_work(self),
            usable.collect::<Vec<_>>().join(",").into(),
            format!("{}/{}", self.reserved.cpu, self.capacity.cpu).into(),
            format!("{}/{}", size(self.reserved.memory.0), size(self.capacity.memory.0)).into(),
            self.instances.to_string().into(),
            Cell::keep_start(labels.collect::<Vec<_>>().join(",")),
            self.address.as_str().into(),
            self.platform.as_str().into(),
            self.agent_version.as_str().into(),
        ]
    }
}

named!(Node as "node" by name);

impl Row for Member {
    const COLUMNS: &'static [(&'static str, bool)] = &[
        ("Id", false),
        ("Name", false),
        ("Address", false),
        ("Api", false),
        ("Role", false),
        ("Leader", false),
        ("Reachable", false),
        ("Lag", false),
        ("Last log", true),
    ];

    fn cells(&self) -> Vec<Cell> {
        let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
        vec![
            Cell::id(self.id),
            self.name.as_str().into(),
            self.address.as_str().into(),
            self.api_address.as_str().into(),
            Cell::status(self.role.as_str()),
            yes(self.leader),
            self.reachable.map_or_else(|| "unknown".into(), yes),
            number(self.lag).into(),
            number(self.last_log).into(),
        ]
    }
}

named!(Member as "control node" by name);

impl Row for JoinToken {
    const COLUMNS: &'static [(&'static str, bool)] =
        &[("Id", false), ("Role", false), ("Expires", false), ("Uses left", false), ("Created", false)];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::id(self.id),
            self.role.as_str().into(),
            Cell::time(self.expires_at),
            self.uses_left.map_or_else(|| "unlimited".to_owned(), |uses| uses.to_string()).into(),
            Cell::time(self.created_at),
        ]
    }
}

named!(JoinToken as "join token" by id);
