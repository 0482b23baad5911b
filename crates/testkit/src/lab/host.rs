//! One host of the lab.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::command::{Outcome, run};
use crate::place::Place;
use crate::process::Process;

/// A network namespace with an address, and a directory for what its processes write.
#[derive(Debug, Clone)]
pub struct Host {
    name: String,
    ip: Ipv4Addr,
    place: Place,
    dir: PathBuf,
}

impl Host {
    pub(super) fn new(name: &str, ip: Ipv4Addr, namespace: &Path, dir: PathBuf) -> Self {
        Self { name: name.to_owned(), ip, place: Place::Network(namespace.to_owned()), dir }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address, reachable from the other hosts and from the test.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Its network, for anything that starts commands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its directory; the logs are directly in it, and stay when the test fails.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A command that will run on this host.
    pub fn command<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, program: &str, arguments: I) -> Command {
        let mut command = self.place.command(program);
        command.args(arguments);
        command
    }

    /// Runs a command on this host to its end.
    pub fn exec<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, program: &str, arguments: I) -> Result<Outcome> {
        run(self.command(program, arguments))
    }

    /// Runs `work` on a thread that is in this host's network, for what opens many connections.
    pub fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<Result<T>> {
        let place = self.place.clone();
        thread::spawn(move || {
            if let Place::Network(file) = &place {
                let file = std::fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            }
            Ok(work())
        })
    }

    /// Starts a process made with [`Host::command`]; its outputs go to `<dir>/<name>.log`.
    pub fn spawn(&self, name: &str, command: Command) -> Result<Process> {
        Process::spawn(&format!("{name}@{}", self.name), command, &self.dir.join(format!("{name}.log")))
    }
}
