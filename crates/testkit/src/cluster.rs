//! A whole cluster of `ring` processes: on loopback, or on the hosts of a lab.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use crate::cli::RingCli;
use crate::flags::{self, Role};
use crate::http::Request;
use crate::lab::{Host, Lab};
use crate::node::{RingNode, Site};
use crate::place::Place;
use crate::{ports, report, sweep, wait};

/// Password of the first user.
pub const PASSWORD: &str = "test-password-of-the-lab";
/// How long the agents may take from joining to being listed as ready, and a leader to be found.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// The ports of `ring` where every node has an address of its own.
const PORTS: (u16, u16) = (3030, 3031);

/// What is out of the ordinary about the nodes of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Environment variables of every node.
    pub variables: Vec<(String, String)>,
    /// Environment variables of one node: its name, then the variable's name and value.
    pub node_variables: Vec<(String, String, String)>,
    /// Data directories other than the usual ones, by node, such as a small disk.
    pub data_dirs: Vec<(String, PathBuf)>,
    /// More lines of the configuration file of every node.
    pub config: String,
    /// Whether the REST API is spoken to over TLS; in a lab it is, on loopback it is not, unless it is said here.
    pub tls: Option<bool>,
    /// The binary every node begins with, when it is not the one under test.
    pub binary: Option<PathBuf>,
}

impl Options {
    /// Sets an environment variable of every node.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Sets an environment variable of one node.
    #[must_use]
    pub fn node_env(mut self, node: &str, name: &str, value: impl Into<String>) -> Self {
        self.node_variables.push((node.to_owned(), name.to_owned(), value.into()));
        self
    }

    /// Puts the data of a node elsewhere.
    #[must_use]
    pub fn data_dir(mut self, node: &str, dir: &Path) -> Self {
        self.data_dirs.push((node.to_owned(), dir.to_owned()));
        self
    }

    /// Adds lines to the configuration file of every node.
    #[must_use]
    pub fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self
    }

    /// Has every node begin with another binary.
    #[must_use]
    pub fn binary(mut self, binary: &Path) -> Self {
        self.binary = Some(binary.to_owned());
        self
    }

    /// Has the REST API speak TLS, or plain HTTP.
    #[must_use]
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = Some(tls);
        self
    }

    fn put_into(&self, site: &mut Site) {
        site.variables.clone_from(&self.variables);
        let own = self.node_variables.iter().filter(|(node, ..)| *node == site.name);
        site.variables.extend(own.map(|(_, name, value)| (name.clone(), value.clone())));
        site.config.clone_from(&self.config);
        site.binary.clone_from(&self.binary);
        if let Some(tls) = self.tls {
            site.tls = tls;
            site.config.push_str(flags::tls_mode(tls));
        }
        if let Some((_, dir)) = self.data_dirs.iter().find(|(name, _)| *name == site.name) {
            site.data_dir.clone_from(dir);
        }
    }
}

/// Control nodes and agents, running. Dropping it ends them, and on loopback what they started.
#[derive(Debug)]
pub struct Cluster {
    controls: Vec<RingNode>,
    agents: Vec<RingNode>,
    cli: RingCli,
    /// For the API, as the administrator.
    token: String,
    /// The directory made for a cluster on loopback; a lab cleans up by itself.
    own_dir: Option<tempfile::TempDir>,
}

impl Cluster {
    /// Starts `controls` control nodes and `agents` agents on free ports of this machine.
    pub fn loopback(controls: usize, agents: usize) -> Result<Self> {
        Self::loopback_with(controls, agents, &Options::default())
    }

    /// As [`Cluster::loopback`], with nodes that are out of the ordinary.
    pub fn loopback_with(controls: usize, agents: usize, options: &Options) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("ring-cluster-").tempdir()?;
        let mut ports = ports::free(2 * controls)?.into_iter();
        let site = |name: String, ports| {
            let mut site = loopback_site(dir.path(), &name, ports);
            options.put_into(&mut site);
            site
        };
        let control_sites = (1..=controls).map(|number| site(format!("c{number}"), ports.next().zip(ports.next()))).collect();
        let agent_sites = (1..=agents).map(|number| site(format!("a{number}"), None)).collect();
        let user = dir.path().join("user");
        Self::start(control_sites, agent_sites, &user, Some(dir))
    }

    /// Starts a control node on each of `controls` and an agent on each of `agents`, hosts of `lab`. An agent uses the
    /// Docker daemon of its host, if there is one.
    pub fn in_lab(lab: &Lab, controls: &[&str], agents: &[&str]) -> Result<Self> {
        Self::in_lab_with(lab, controls, agents, &Options::default())
    }

    /// Starts one host on loopback as `ring server start` does: a control node with its agent in the same process.
    pub fn alone() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("ring-cluster-").tempdir()?;
        let mut ports = ports::free(2)?.into_iter();
        let site = loopback_site(dir.path(), "alone", ports.next().zip(ports.next()));
        let user = dir.path().join("user");
        let node = RingNode::new(site, Role::Alone, PASSWORD)?;
        let mut cluster = Self::of(vec![node], Vec::new(), &user, Some(dir))?;
        cluster.control(0).start()?;
        cluster.control(0).wait_ready()?;
        cluster.log_in()?;
        wait::until(READY_DEADLINE, "the agent to be ready", || {
            cluster.get_any("/nodes").is_ok_and(|nodes| !flags::ready_nodes(&nodes).is_empty())
        })
        .with_context(|| cluster.tails())?;
        Ok(cluster)
    }

    /// As [`Cluster::in_lab`], with nodes that are out of the ordinary.
    pub fn in_lab_with(lab: &Lab, controls: &[&str], agents: &[&str], options: &Options) -> Result<Self> {
        let site = |name: &&str, role| {
            let mut site = lab_site(lab, name, role);
            options.put_into(&mut site);
            site
        };
        let control_sites = controls.iter().map(|name| site(name, Role::Control)).collect();
        let agent_sites = agents.iter().map(|name| site(name, Role::Agent)).collect();
        Self::start(control_sites, agent_sites, &lab.dir().join("user"), None)
    }

    fn start(controls: Vec<Site>, agents: Vec<Site>, user: &Path, own_dir: Option<tempfile::TempDir>) -> Result<Self> {
        ensure!(!controls.is_empty(), "a cluster needs a control node");
        let node = |site, role| RingNode::new(site, role, PASSWORD);
        let controls = controls.into_iter().map(|site| node(site, Role::Control)).collect::<Result<_>>()?;
        let agents = agents.into_iter().map(|site| node(site, Role::Agent)).collect::<Result<_>>()?;
        let mut cluster = Self::of(controls, agents, user, own_dir)?;
        cluster.form()?;
        Ok(cluster)
    }

    /// The nodes and a client for them; nothing runs yet.
    fn of(controls: Vec<RingNode>, agents: Vec<RingNode>, user: &Path, own_dir: Option<tempfile::TempDir>) -> Result<Self> {
        let hosts: Vec<String> = controls.iter().map(RingNode::url).collect();
        std::fs::create_dir_all(user)?;
        let cli = RingCli::new()?.env("RING_CONFIG_DIR", user.display().to_string()).env("RING_HOST", hosts.join(","));
        Ok(Self { controls, agents, cli, token: String::new(), own_dir })
    }

    fn log_in(&mut self) -> Result<()> {
        self.token = flags::token_in(&json_of(flags::login_request(self.control(0), PASSWORD))?)?;
        self.cli = self.cli.clone().env("RING_TOKEN", &self.token);
        if let Some(pin) = self.control(0).pin()? {
            self.cli = self.cli.clone().env("RING_CA_FINGERPRINT", pin);
        }
        Ok(())
    }

    /// Founds the cluster, then lets everyone join.
    fn form(&mut self) -> Result<()> {
        self.control(0).init()?;
        self.control(0).wait_ready()?;
        self.log_in()?;
        let known = [self.control(0).cluster_address()];
        for control in &self.controls[1..] {
            control.join(&known, &self.join_token(Role::Control)?)?;
            control.wait_ready()?;
        }
        self.wait_voters()?;
        let members: Vec<SocketAddr> = self.controls.iter().map(RingNode::cluster_address).collect();
        for agent in &self.agents {
            agent.join(&members, &self.join_token(Role::Agent)?)?;
        }
        self.wait_agents()
    }

    /// A new token that lets a node join.
    pub fn join_token(&self, role: Role) -> Result<String> {
        let ask = |node: &RingNode| json_of(flags::join_token_request(node, role).bearer(&self.token));
        flags::token_in(&self.first_of(ask)?)
    }

    /// Waits until every control node has a vote: only then can one of them be lost.
    pub fn wait_voters(&self) -> Result<()> {
        wait::until(READY_DEADLINE, "a vote for every control node", || {
            self.get_any("/cluster").is_ok_and(|cluster| flags::voters_in(&cluster) == self.controls.len())
        })
        .with_context(|| self.tails())
    }

    /// Waits until every agent is listed as ready.
    pub fn wait_agents(&self) -> Result<()> {
        wait::eventually(READY_DEADLINE, "all agents to be ready", || {
            if let Some(error) = self.agents.iter().find_map(|agent| agent.settle().err()) {
                return Ok(Some(Err(error)));
            }
            let nodes = self.get_any("/nodes")?;
            let ready = flags::ready_nodes(&nodes);
            let missing = self.agents.iter().find(|agent| !ready.contains(&agent.name()));
            missing.map_or(Ok(Some(Ok(()))), |agent| Err(anyhow!("{} is not, only {ready:?}", agent.name())))
        })
        .and_then(|ready| ready)
        .with_context(|| self.tails())
    }

    /// `ring` logged in as the administrator, with every control node in `RING_HOST`.
    pub fn cli(&self) -> &RingCli {
        &self.cli
    }

    /// As [`Cluster::cli`], with one control node only.
    pub fn cli_to(&self, control: usize) -> RingCli {
        self.cli.clone().env("RING_HOST", self.control(control).url())
    }

    /// Control node number `index`, counted from 0.
    pub fn control(&self, index: usize) -> &RingNode {
        &self.controls[index]
    }

    /// All control nodes.
    pub fn controls(&self) -> &[RingNode] {
        &self.controls
    }

    /// Agent number `index`, counted from 0.
    pub fn agent(&self, index: usize) -> &RingNode {
        &self.agents[index]
    }

    /// All agents.
    pub fn agents(&self) -> &[RingNode] {
        &self.agents
    }

    /// The administrator's token for the API.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Waits until most control nodes agree on a leader; its index. A leader that was cut off may still believe in itself.
    pub fn leader(&self) -> Result<usize> {
        wait::eventually(READY_DEADLINE, "a leader most control nodes know", || {
            let answers: Vec<Value> = (0..self.controls.len()).filter_map(|index| self.status_of(index).ok()).collect();
            let votes: Vec<&str> = answers.iter().filter_map(flags::leader_in).collect();
            let leads = |node: &RingNode| {
                let name = node.name();
                2 * votes.iter().filter(|vote| **vote == name).count() > self.controls.len()
            };
            Ok(self.controls.iter().position(leads))
        })
    }

    /// Waits until another control node than `gone` leads.
    pub fn leader_after(&self, gone: usize) -> Result<usize> {
        wait::eventually(READY_DEADLINE, "another leader", || Ok(Some(self.leader()?).filter(|&leader| leader != gone)))
    }

    /// What a control node itself says about the cluster, `GET /cluster`.
    pub fn status_of(&self, control: usize) -> Result<Value> {
        get(self.control(control), "/cluster?consistency=stale", &self.token)
    }

    /// Waits until every control node has the same state; the digest they share.
    pub fn wait_same_state(&self) -> Result<String> {
        wait::eventually(READY_DEADLINE, "the same state on all control nodes", || {
            let answers = (0..self.controls.len()).map(|index| self.status_of(index)).collect::<Result<Vec<_>>>()?;
            let states: Vec<_> = answers.iter().map(flags::digest_in).collect();
            match states[0] {
                Some((_, digest)) if states.iter().all(|state| *state == states[0]) => Ok(Some(digest.to_owned())),
                _ => anyhow::bail!("they have {states:?}"),
            }
        })
    }

    /// `GET path` from the first control node that answers.
    pub fn get_any(&self, path: &str) -> Result<Value> {
        self.first_of(|node| get(node, path, &self.token))
    }

    fn first_of<T>(&self, ask: impl Fn(&RingNode) -> Result<T>) -> Result<T> {
        let mut last = anyhow!("no control node was asked");
        for node in &self.controls {
            match ask(node) {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error.context(format!("from {}", node.name())),
            }
        }
        Err(last)
    }

    /// The ends of all logs, for messages.
    pub fn tails(&self) -> String {
        let nodes = self.controls.iter().chain(&self.agents);
        nodes.map(RingNode::tail).collect::<Vec<_>>().join("\n")
    }
}

fn get(node: &RingNode, path: &str, token: &str) -> Result<Value> {
    json_of(node.http("GET", path).bearer(token).timeout(Duration::from_secs(3)))
}

/// The body of a successful answer.
fn json_of(request: Request) -> Result<Value> {
    let answer = request.send()?;
    ensure!((200..300).contains(&answer.status), "status {}: {}", answer.status, answer.body);
    answer.json()
}

fn loopback_site(dir: &Path, name: &str, ports: Option<(u16, u16)>) -> Site {
    let dir = dir.join(name);
    Site {
        name: name.to_owned(),
        place: Place::Here,
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ports,
        data_dir: dir.join("data"),
        dir,
        docker: None,
        variables: Vec::new(),
        config: String::new(),
        tls: false,
        binary: None,
    }
}

fn lab_site(lab: &Lab, name: &str, role: Role) -> Site {
    let host: &Host = lab.host(name);
    Site {
        name: name.to_owned(),
        place: host.place().clone(),
        ip: IpAddr::V4(host.ip()),
        ports: (role == Role::Control).then_some(PORTS),
        dir: host.dir().to_owned(),
        data_dir: host.dir().join("data"),
        docker: lab.docker_of(name).map(crate::lab::Docker::url),
        variables: Vec::new(),
        config: String::new(),
        tls: true,
        binary: None,
    }
}

impl Drop for Cluster {
    /// Ends the nodes and, on loopback, the work they started: that outlives an agent by design.
    fn drop(&mut self) {
        self.controls.clear();
        self.agents.clear();
        let Some(dir) = self.own_dir.take() else { return };
        if let Err(error) = sweep::kill_all(|pid| sweep::uses(pid, dir.path())) {
            report::line(&format!("a cluster left processes behind: {error:#}"));
        }
        if std::thread::panicking() {
            report::line(&format!("the logs of the failed cluster are in {}", dir.keep().display()));
        }
    }
}
