//! The command lines and answers of `ring` the test support relies on: the one place to change when they change.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::http::Request;
use crate::node::RingNode;

/// What a node is told at its first start.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// REST API.
    pub api: SocketAddr,
    /// Traffic between nodes.
    pub cluster: SocketAddr,
}

/// What a node does in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Keeps the state and answers the API; runs no work.
    Control,
    /// Both in one process: the one host of `ring server start`.
    Alone,
    /// Runs the work.
    Agent,
}

impl Role {
    /// As on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Control | Self::Alone => "control",
            Self::Agent => "agent",
        }
    }
}

/// `ring cluster init`, on the first control node.
pub fn init(name: &str, at: Addresses) -> Vec<String> {
    let mut line = words(&["cluster", "init", "--name", name]);
    line.extend(control(at));
    line
}

/// `ring cluster join`, on every other node.
pub fn join(name: &str, role: Role, members: &[SocketAddr], token: &str, at: Option<Addresses>) -> Vec<String> {
    let members: Vec<String> = members.iter().map(SocketAddr::to_string).collect();
    let mut line = words(&["cluster", "join", &members.join(","), "--token", token, "--role", role.as_str()]);
    line.extend(words(&["--name", name]));
    line.extend(at.into_iter().flat_map(control));
    line
}

/// The command that runs an enrolled node; a fresh host that is alone becomes a cluster of one by it.
pub fn start(role: Role, at: Option<Addresses>, control_nodes: &[SocketAddr]) -> Vec<String> {
    let (command, flags) = match role {
        Role::Control => ("server", at.map(control)),
        Role::Alone => ("server", at.map(listen)),
        Role::Agent => ("agent", None),
    };
    let mut line = words(&[command, "start"]);
    line.extend(flags.unwrap_or_default());
    if !control_nodes.is_empty() {
        let places: Vec<String> = control_nodes.iter().map(SocketAddr::to_string).collect();
        line.extend(words(&["--control-nodes", &places.join(",")]));
    }
    line
}

/// The user the first start makes; its password comes from `RING_ADMIN_PASSWORD`.
pub const ADMIN: &str = "admin";

/// The request for a token that lets nodes of one role join, any number of them.
pub fn join_token_request(node: &RingNode, role: Role) -> Request {
    node.http("POST", "/cluster/tokens").json(&serde_json::json!({ "role": role.as_str() }))
}

/// The path that answers 200 once a control node serves.
pub const READY: &str = "/readyz";

/// The configuration file of a node, with the Docker daemon it is to use, and more lines.
pub fn config_toml(docker: Option<&str>, more: &str) -> String {
    let docker = match docker {
        Some(url) => format!("[server.runtime.docker]\nenabled = true\nhost = \"{url}\"\n"),
        None => "[server.runtime.docker]\nenabled = false\n".to_owned(),
    };
    docker + more
}

/// The lines of the configuration with which the REST API speaks TLS on loopback, or plain HTTP beyond it.
pub const fn tls_mode(tls: bool) -> &'static str {
    if tls { "[server.tls]\nmode = \"cluster\"\n" } else { "[server.tls]\nmode = \"plain\"\n" }
}

/// The certificate of the cluster's authority, in the data directory of any of its nodes.
pub fn ca_file(data_dir: &Path) -> PathBuf {
    data_dir.join("identity/ca.crt")
}

/// The fingerprint of the authority in what a control node prints at its start.
pub fn pin_in(printed: &str) -> Option<&str> {
    let (_, rest) = printed.rsplit_once("--ca-fingerprint ")?;
    rest.split_whitespace().next().filter(|pin| pin.len() == 64)
}

/// The request for an API token.
pub fn login_request(node: &RingNode, password: &str) -> Request {
    node.http("POST", "/login").json(&serde_json::json!({ "username": ADMIN, "password": password }))
}

/// The clear token in the answer to either request.
pub fn token_in(answer: &Value) -> Result<String> {
    let token = answer.get("token").and_then(Value::as_str);
    token.map(str::to_owned).with_context(|| format!("no token in {answer}"))
}

/// The name of the leader as the answer of `GET /cluster` has it, `None` when the answering node knows none.
pub fn leader_in(cluster: &Value) -> Option<&str> {
    let leader = cluster.get("leader")?.as_u64()?;
    let members = cluster.get("members")?.as_array()?;
    members.iter().find(|member| member["id"].as_u64() == Some(leader))?.get("name")?.as_str()
}

/// How many control nodes have a vote, in the answer of `GET /cluster`.
pub fn voters_in(cluster: &Value) -> usize {
    let members = cluster["members"].as_array().map(Vec::as_slice).unwrap_or_default();
    members.iter().filter(|member| member["role"] == "voter").count()
}

/// Revision and digest of the answering node's state, as `GET /cluster` has them.
pub fn digest_in(cluster: &Value) -> Option<(u64, &str)> {
    Some((cluster.get("revision")?.as_u64()?, cluster.get("state_digest")?.as_str()?))
}

/// The names of the nodes that can take work, in the answer of `GET /nodes`.
pub fn ready_nodes(nodes: &Value) -> Vec<&str> {
    let list = nodes.as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = list.iter().filter(|node| node.get("status").and_then(Value::as_str) == Some("ready"));
    ready.filter_map(|node| node.get("name")?.as_str()).collect()
}

/// The control nodes of a test run no work: that is what its agents are for.
fn control(at: Addresses) -> Vec<String> {
    let mut flags = listen(at);
    flags.push("--no-agent".to_owned());
    flags
}

fn listen(at: Addresses) -> Vec<String> {
    words(&["--api-listen", &at.api.to_string(), "--advertise", &at.cluster.to_string()])
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_is_named_by_its_member_id() {
        let members = serde_json::json!([{"id": 1, "name": "c1"}, {"id": 4, "name": "c3"}]);
        let cluster = |leader: Value| serde_json::json!({ "leader": leader, "members": members });
        assert_eq!(leader_in(&cluster(4.into())), Some("c3"));
        assert_eq!(leader_in(&cluster(Value::Null)), None);
        assert_eq!(leader_in(&cluster(2.into())), None, "a member that is gone");
    }

    #[test]
    fn only_ready_nodes_count() {
        let nodes = serde_json::json!([{"name": "a1", "status": "ready"}, {"name": "a2", "status": "joining"}]);
        assert_eq!(ready_nodes(&nodes), ["a1"]);
    }
}
