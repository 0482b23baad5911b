//! Hosts on one machine: network namespaces on a switch of their own, with faults, small disks and Docker daemons.
//!
//! ```text
//!   this machine ──veth── switch (namespace with a bridge, 10.213.N.0/24)
//!       .254               ├─veth── host c1  .1
//!                          ├─veth── host c2  .2
//!                          └─veth── host a1  .3   its own dockerd
//! ```
//!
//! The machine's own routing gets one interface with that /24 and nothing else. Labs run side by side: each has a slot
//! `N`, held by a file lock; the lab of a run that died gives up its lock, and the next lab to start cleans it away.
//! Set `RING_REQUIRE_LAB` to make tests fail where the lab cannot run instead of being skipped.

mod ailing;
mod disk;
mod docker;
mod faults;
mod host;
mod network;
mod slot;
mod slow;
mod support;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow};

pub use ailing::{AilingDisk, Lost};
pub use disk::SmallDisk;
pub use docker::{Docker, DockerOptions, IMAGE};
pub use host::Host;
pub use slow::SlowLine;
pub use support::unsupported;

use crate::http::Request;
use crate::report;
use slot::Slot;

/// A lab to be started.
#[derive(Debug, Clone)]
pub struct Builder {
    name: String,
    hosts: Vec<String>,
    docker: Vec<String>,
    options: DockerOptions,
}

impl Builder {
    /// Adds hosts without a Docker daemon.
    #[must_use]
    pub fn hosts<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.hosts.extend(names.into_iter().map(Into::into));
        self
    }

    /// Adds hosts that each have a Docker daemon with the test image in it.
    #[must_use]
    pub fn docker_hosts<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        self.hosts.extend(names.iter().cloned());
        self.docker.extend(names);
        self
    }

    /// Settings of the Docker daemons.
    #[must_use]
    pub fn docker_options(mut self, options: DockerOptions) -> Self {
        self.options = options;
        self
    }

    /// Starts it; the Docker daemons start at the same time and are ready when this returns.
    pub fn start(self) -> Result<Lab> {
        let slot = Slot::claim(&self.name)?;
        let hosts = network::build(&slot, &self.hosts).context("cannot make the lab's network")?;
        // From here on dropping the lab cleans up, whatever fails below.
        let mut lab = Lab { name: self.name, slot, hosts, docker: BTreeMap::new() };
        lab.docker = lab.start_docker(&self.docker, &self.options)?;
        Ok(lab)
    }

    /// As [`Builder::start`]; where this machine cannot run a lab it prints a `SKIPPED:` line and returns `None`.
    ///
    /// # Panics
    /// When the lab should start and does not.
    pub fn start_or_skip(self) -> Option<Lab> {
        let name = self.name.clone();
        if let Some(reason) = unsupported(!self.docker.is_empty()) {
            report::skipped(&name, &reason);
            return None;
        }
        match self.start() {
            Ok(lab) => Some(lab),
            Err(error) => panic!("the lab of {name} did not start: {error:?}"),
        }
    }
}

/// A running lab. Dropping it ends every process in it and removes everything it made.
#[derive(Debug)]
pub struct Lab {
    name: String,
    slot: Slot,
    hosts: Vec<Host>,
    docker: BTreeMap<String, Docker>,
}

impl Lab {
    /// A lab named after its test.
    pub fn builder(name: &str) -> Builder {
        Builder { name: name.to_owned(), hosts: Vec::new(), docker: Vec::new(), options: DockerOptions::default() }
    }

    /// The host of that name.
    ///
    /// # Panics
    /// When there is none.
    pub fn host(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name() == name).unwrap_or_else(|| panic!("the lab has no host '{name}'"))
    }

    /// All hosts, in the order they were asked for.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The Docker daemon of a host.
    ///
    /// # Panics
    /// When that host has none.
    pub fn docker(&self, host: &str) -> &Docker {
        self.docker.get(host).unwrap_or_else(|| panic!("the host '{host}' has no Docker daemon"))
    }

    /// The Docker daemon of a host, if it has one.
    pub fn docker_of(&self, host: &str) -> Option<&Docker> {
        self.docker.get(host)
    }

    /// The test's own address on the lab's network.
    pub fn own_ip(&self) -> Ipv4Addr {
        self.slot.own_ip()
    }

    /// The directory everything of this lab is in.
    pub fn dir(&self) -> &Path {
        self.slot.dir()
    }

    /// A request from this machine to a port of a host: `lab.http("c1", "GET", 3030, "/healthz").send()`.
    pub fn http(&self, host: &str, method: &str, port: u16, path: &str) -> Request {
        Request::new(method, format!("http://{}:{port}{path}", self.host(host).ip()))
    }

    /// A request from one host to a port of another.
    pub fn http_between(&self, from: &str, to: &str, method: &str, port: u16, path: &str) -> Request {
        self.http(to, method, port, path).from(self.host(from).place())
    }

    fn start_docker(&self, names: &[String], options: &DockerOptions) -> Result<BTreeMap<String, Docker>> {
        thread::scope(|scope| {
            let starting: Vec<_> =
                names.iter().map(|name| scope.spawn(|| Docker::start(self.host(name), self.slot.cgroup(), options))).collect();
            let started = starting.into_iter().map(|one| one.join().map_err(|_| anyhow!("starting Docker panicked"))?);
            names.iter().cloned().zip(started).map(|(name, docker)| Ok((name, docker?))).collect()
        })
    }

    /// Moves the logs aside for the reader of a failed test.
    fn keep_logs(&self) -> Result<PathBuf> {
        let place = slot::root().join("failed").join(format!("{}-{}", self.name, std::process::id()));
        std::fs::create_dir_all(&place)?;
        for host in &self.hosts {
            let to = place.join(host.name());
            std::fs::create_dir_all(&to)?;
            for entry in std::fs::read_dir(host.dir())? {
                let path = entry?.path();
                if let (Some("log"), Some(name)) = (path.extension().and_then(|e| e.to_str()), path.file_name()) {
                    std::fs::copy(&path, to.join(name))?;
                }
            }
        }
        Ok(place)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            match self.keep_logs() {
                Ok(place) => report::line(&format!("{}: the logs of its hosts are in {}", self.name, place.display())),
                Err(error) => report::line(&format!("{}: its logs could not be kept: {error:#}", self.name)),
            }
        }
        if let Err(error) = self.slot.clean() {
            report::line(&format!("{}: the lab could not be cleaned away: {error:#}", self.name));
        }
    }
}
