//! One `ring` process of a cluster under test: a control node or an agent.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::cli::RingCli;
use crate::flags::{self, Addresses, Role};
use crate::http::Request;
use crate::place::Place;
use crate::process::{Memory, Process};
use crate::wait;

/// How long a node may take from its start to serving.
const START_DEADLINE: Duration = Duration::from_secs(30);
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Where a node is to run.
#[derive(Debug, Clone)]
pub struct Site {
    /// Name of the node.
    pub name: String,
    /// Network it runs in.
    pub place: Place,
    /// Address it can be reached at.
    pub ip: IpAddr,
    /// Ports of API and cluster traffic; agents open none.
    pub ports: Option<(u16, u16)>,
    /// The log and the configuration go here.
    pub dir: PathBuf,
    /// The data directory; a test of a full disk puts it on a small one.
    pub data_dir: PathBuf,
    /// The Docker daemon to use.
    pub docker: Option<String>,
    /// More environment variables.
    pub variables: Vec<(String, String)>,
    /// More lines of the configuration file.
    pub config: String,
    /// The REST API speaks TLS.
    pub tls: bool,
    /// The binary it begins with, when it is not the one under test.
    pub binary: Option<PathBuf>,
}

/// A node, running or not.
#[derive(Debug)]
pub struct RingNode {
    site: Site,
    role: Role,
    cli: RingCli,
    running: Mutex<Option<Running>>,
    /// The cluster port it has moved to.
    moved_to: Mutex<Option<u16>>,
    /// Another binary than the one under test.
    binary: Mutex<Option<PathBuf>>,
}

/// The present process of a node.
#[derive(Debug)]
struct Running {
    process: Process,
    /// It was started to enrol the node.
    enrolling: bool,
}

impl RingNode {
    /// Prepares the directories; nothing runs yet.
    pub fn new(site: Site, role: Role, admin_password: &str) -> Result<Self> {
        ensure!(role == Role::Agent || site.ports.is_some(), "the control node {} needs ports", site.name);
        let config = site.dir.join("config");
        fs::create_dir_all(&config)?;
        fs::create_dir_all(&site.data_dir)?;
        fs::write(config.join("config.toml"), flags::config_toml(site.docker.as_deref(), &site.config))?;
        let mut cli = RingCli::new()?
            .at(&site.place)
            .env("RING_DATA_DIR", site.data_dir.display().to_string())
            .env("RING_CONFIG_DIR", config.display().to_string())
            .env("RING_ADMIN_PASSWORD", admin_password);
        for (name, value) in &site.variables {
            cli = cli.env(name, value);
        }
        let binary = Mutex::new(site.binary.clone());
        Ok(Self { site, role, cli, running: Mutex::new(None), moved_to: Mutex::new(None), binary })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.site.name
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.site.data_dir
    }

    /// `ring` with the environment and in the network of this node.
    pub fn cli(&self) -> &RingCli {
        &self.cli
    }

    /// Address of the REST API.
    ///
    /// # Panics
    /// For an agent, which has none.
    pub fn api(&self) -> SocketAddr {
        self.addresses().unwrap_or_else(|| panic!("the agent {} has no API", self.name())).api
    }

    /// Address of the traffic between nodes.
    ///
    /// # Panics
    /// For an agent, which has none.
    pub fn cluster_address(&self) -> SocketAddr {
        self.addresses().unwrap_or_else(|| panic!("the agent {} opens no port", self.name())).cluster
    }

    /// A request to the API of this node, sent by the test itself.
    pub fn http(&self, method: &str, path: &str) -> Request {
        let request = Request::new(method, format!("{}{path}", self.url()));
        if self.site.tls { request.authority(&flags::ca_file(self.data_dir())) } else { request }
    }

    /// Where its API is, with the scheme.
    ///
    /// # Panics
    /// For an agent, which has none.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.site.tls { "https" } else { "http" }, self.api())
    }

    /// The fingerprint it printed for those who log in; None where it speaks no TLS.
    pub fn pin(&self) -> Result<Option<String>> {
        if !self.site.tls {
            return Ok(None);
        }
        self.wait_log("--ca-fingerprint ", START_DEADLINE)?;
        let log = self.with(Process::log)?;
        flags::pin_in(&log).map(|pin| Some(pin.to_owned())).with_context(|| format!("no fingerprint in {log}"))
    }

    /// Founds a cluster on this node and starts it.
    pub fn init(&self) -> Result<()> {
        let addresses = self.addresses().context("only a control node founds a cluster")?;
        self.enrol(flags::init(self.name(), addresses))
    }

    /// Joins a cluster and starts.
    pub fn join(&self, members: &[SocketAddr], token: &str) -> Result<()> {
        self.enrol(flags::join(self.name(), self.role, members, token, self.addresses()))
    }

    /// The cluster port it has from its next start on.
    pub fn move_to(&self, cluster_port: u16) {
        *self.moved_to.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster_port);
    }

    /// From its next start on it is another binary; None: the one under test.
    pub fn use_binary(&self, binary: Option<&Path>) {
        *self.binary.lock().unwrap_or_else(PoisonError::into_inner) = binary.map(Path::to_owned);
    }

    /// Starts an enrolled node that is not running; does not wait until it serves.
    pub fn start(&self) -> Result<()> {
        self.start_knowing(&[])
    }

    /// As [`Self::start`], for a host that is told where the control nodes are now.
    pub fn start_knowing(&self, control_nodes: &[SocketAddr]) -> Result<()> {
        let mut slot = self.slot();
        if let Some(running) = slot.as_ref()
            && running.process.exited()?.is_none()
        {
            bail!("{} runs already", self.name());
        }
        let process = self.spawn(flags::start(self.role, self.addresses(), control_nodes))?;
        *slot = Some(Running { process, enrolling: false });
        Ok(())
    }

    /// Starts the node when the command that enrolled it has ended well; fails when anything ended badly.
    pub fn settle(&self) -> Result<()> {
        let (ended, enrolling) = match self.slot().as_ref() {
            Some(running) => (running.process.exited()?, running.enrolling),
            None => bail!("{} is not running", self.name()),
        };
        match ended {
            None => Ok(()),
            Some(status) if enrolling && status.success() => self.start(),
            Some(status) => bail!("{} ended with {status}\n{}", self.name(), self.tail()),
        }
    }

    /// Waits until a control node serves. (An agent is ready when the control nodes list it so.)
    pub fn wait_ready(&self) -> Result<()> {
        let what = format!("{} to be ready", self.name());
        let ready = wait::eventually(START_DEADLINE, &what, || {
            if let Err(error) = self.settle() {
                return Ok(Some(Err(error)));
            }
            let answer = self.http("GET", flags::READY).timeout(Duration::from_secs(2)).send()?;
            Ok((answer.status == 200).then_some(Ok(())))
        });
        ready.and_then(|ready| ready).with_context(|| self.tail())
    }

    /// SIGKILL.
    pub fn kill9(&self) -> Result<()> {
        self.take()?.kill9()
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&self) -> Result<()> {
        self.take()?.stop(STOP_DEADLINE).map(drop)
    }

    /// SIGKILL and a new start; does not wait until it serves.
    pub fn restart(&self) -> Result<()> {
        self.kill9()?;
        self.start()
    }

    /// SIGTERM; does not wait for the end.
    pub fn terminate(&self) -> Result<()> {
        self.with(Process::terminate)
    }

    /// SIGSTOP.
    pub fn pause(&self) -> Result<()> {
        self.with(Process::pause)
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.with(Process::resume)
    }

    /// Its memory; an error when it does not run.
    pub fn memory(&self) -> Result<Memory> {
        Memory::of(self.pid().with_context(|| format!("{} does not run", self.name()))?)
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.slot().as_ref().map(|running| running.process.pid())
    }

    /// Its exit status, when it ended by itself.
    pub fn exited(&self) -> Result<Option<ExitStatus>> {
        self.with(Process::exited)
    }

    /// Waits until it ends by itself.
    pub fn wait_exit(&self, deadline: Duration) -> Result<ExitStatus> {
        self.with(|process| process.wait_exit(deadline))
    }

    /// Waits until the log of its present run contains `text`.
    pub fn wait_log(&self, text: &str, deadline: Duration) -> Result<()> {
        self.with(|process| process.wait_log(text, deadline))
    }

    /// The end of the log of its present run.
    pub fn tail(&self) -> String {
        self.with(|process| Ok(process.tail())).unwrap_or_default()
    }

    /// Runs `line`, which enrols the node and then either ends or goes on as the node.
    fn enrol(&self, line: Vec<String>) -> Result<()> {
        let process = self.spawn(line)?;
        *self.slot() = Some(Running { process, enrolling: true });
        Ok(())
    }

    fn spawn(&self, line: Vec<String>) -> Result<Process> {
        let other = self.binary.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let cli = other.map_or_else(|| self.cli.clone(), |binary| self.cli.clone().binary(&binary));
        cli.spawn(self.name(), &self.site.dir.join(format!("{}.log", self.name())), line)
    }

    fn addresses(&self) -> Option<Addresses> {
        let (api, cluster) = self.site.ports?;
        let cluster = self.moved_to.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(cluster);
        let at = |port| SocketAddr::new(self.site.ip, port);
        Some(Addresses { api: at(api), cluster: at(cluster) })
    }

    /// Calls `action` with the present process.
    fn with<T>(&self, action: impl FnOnce(&Process) -> Result<T>) -> Result<T> {
        match self.slot().as_ref() {
            Some(running) => action(&running.process),
            None => bail!("{} is not running", self.name()),
        }
    }

    /// Takes the present process away to end it.
    fn take(&self) -> Result<Process> {
        let running = self.slot().take();
        running.map(|running| running.process).with_context(|| format!("{} is not running", self.name()))
    }

    fn slot(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
