//! Directories of the host that a guest sees, over virtiofs.
//!
//! Each volume and each bind mount is one share: a `virtiofsd` of its own, which the VMM talks to over a unix socket and which
//! ends when the VMM does. Configs and secrets are no shares: their contents are sent to the guest, and are on no disk.
//!
//! | mount | what is shared | with the instance |
//! |---|---|---|
//! | `bind` of a directory | that directory | stays |
//! | `bind` of a file | a directory with nothing but that file in it, which exists for its `virtiofsd` only | stays |
//! | `volume` with a name | `volumes/NAMESPACE/NAME` of the data directory | stays |
//! | `volume` without a source | `volumes/NUMBER` of the instance | goes |
//! | `volume` with driver `nfs` | refused | |
//!
//! Every `virtiofsd` has a mount namespace of its own in which what it shares is mounted once more; when it is read-only, that
//! mount is, so that a guest's kernel that was taken over cannot write either. User and group ids are those of the host.
//!
//! It is found again by a record with its process id and start time; see [`daemon`].

mod daemon;
mod plan;

pub(crate) use daemon::Served;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::{DeploymentSpec, InstanceId, StartFailure};
use serde::{Deserialize, Serialize};

use crate::find::{is_program, program};

/// Where distributions put it, beside `$PATH`.
const USUAL: [&str; 3] = ["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"];

/// Longest path of a unix socket, bytes.
const SOCKET_PATH: usize = 107;

/// What sharing needs to know.
#[derive(Clone, Debug)]
pub struct SharesConfig {
    /// The program. None: `virtiofsd` in `$PATH`, then in the places where distributions put it.
    pub program: Option<PathBuf>,
    /// Directory of the named volumes, a directory for each namespace in it.
    pub volumes: PathBuf,
    /// How a `virtiofsd` locks itself in.
    pub sandbox: Sandbox,
    /// How long a `virtiofsd` may take until it listens.
    pub patience: Duration,
}

impl SharesConfig {
    /// The usual way, with named volumes in `volumes`.
    pub fn new(volumes: PathBuf) -> Self {
        Self { program: None, volumes, sandbox: Sandbox::default(), patience: Duration::from_secs(10) }
    }
}

/// How a `virtiofsd` locks itself into what it shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sandbox {
    /// With namespaces of its own for mounts, processes and the network.
    #[default]
    Namespace,
    /// With another root directory only: for hosts where it cannot make namespaces.
    Chroot,
}

impl Sandbox {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Chroot => "chroot",
        }
    }
}

/// One share that is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The name by which the guest mounts it.
    pub tag: String,
    /// Where its `virtiofsd` listens.
    pub socket: PathBuf,
    /// What of it is meant: a file's name, or nothing for all of it.
    pub path: String,
    /// Absolute path in the guest.
    pub destination: String,
    /// Nothing can be written through it.
    pub read_only: bool,
    /// The process.
    pub pid: i32,
}

impl From<&Share> for ring_guest::Mount {
    fn from(share: &Share) -> Self {
        Self {
            tag: share.tag.clone(),
            path: share.path.clone(),
            destination: share.destination.clone(),
            read_only: share.read_only,
        }
    }
}

/// Directories that the shares of an instance work with.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Of the instance: records and logs in `shares/`, anonymous volumes in `volumes/`.
    pub instance: &'a Path,
    /// For sockets; there already, and with a path short enough for one.
    pub sockets: &'a Path,
}

/// Makes the volumes of an instance that are not there, and serves every share of it. What an earlier attempt left is ended first.
///
/// [`StartFailure::FileSystem`] names the mount and the next step; then nothing runs. Waits for each `virtiofsd` to listen, at most
/// as long as configured.
pub async fn start(
    config: &SharesConfig,
    places: Places<'_>,
    instance: InstanceId,
    spec: &DeploymentSpec,
) -> Result<Vec<Share>, RuntimeError> {
    stop(places, instance).await?;
    let plan = plan::plan(config, places, spec).map_err(|message| refuse(instance, &message))?;
    if plan.is_empty() {
        return Ok(Vec::new());
    }
    let program = find(config).map_err(|message| refuse(instance, &message))?;
    let started = daemon::start_all(config, &program, places, plan).await;
    if started.is_err() {
        stop(places, instance).await?;
    }
    started.map_err(|message| refuse(instance, &message))
}

/// Could the shares of an instance be served here? Makes nothing.
///
/// [`StartFailure::FileSystem`] names the mount and the next step.
pub fn check(config: &SharesConfig, places: Places<'_>, instance: InstanceId, spec: &DeploymentSpec) -> Result<(), RuntimeError> {
    let possible = plan::check(config, places, spec);
    let served = possible.and_then(|()| if needed(spec) { find(config).map(drop) } else { Ok(()) });
    served.map_err(|message| refuse(instance, &message))
}

/// Ends every `virtiofsd` of an instance and takes its sockets and records away. None there is no fault.
pub async fn stop(places: Places<'_>, instance: InstanceId) -> Result<(), RuntimeError> {
    daemon::stop_all(places).await.map_err(|error| {
        RuntimeError::new(RuntimeErrorKind::Other, format!("shares of instance {instance} are not gone: {error}"))
    })
}

/// The shares of an instance that are still served, as far as their processes are alive; for an agent that is started again.
pub fn alive(places: Places<'_>) -> Vec<Share> {
    daemon::alive(places)
}

/// Whoever serves the shares of an instance that was started in this run of the host's kernel.
pub(crate) fn served(places: Places<'_>) -> Vec<Served> {
    daemon::served(places)
}

/// The mounts of a specification that need a `virtiofsd`.
pub fn needed(spec: &DeploymentSpec) -> bool {
    plan::shared(spec).next().is_some()
}

/// The program, or why there is none that can be used and how to get one.
pub(crate) fn find(config: &SharesConfig) -> Result<PathBuf, String> {
    const GET: &str = "install one: 'apt install virtiofsd' (Debian 13), or 'cargo install virtiofsd'";
    if let Some(path) = &config.program {
        let why = |why: &str| format!("virtiofsd: the configured '{}' {why}; {GET}", path.display());
        let found = if path.components().count() > 1 { Some(path.clone()) } else { program(&path.to_string_lossy()) };
        return found.filter(|path| is_program(path)).ok_or_else(|| why("is no program"));
    }
    let usual = USUAL.iter().map(PathBuf::from).filter(|path| is_program(path));
    let found = program("virtiofsd").into_iter().chain(usual).next();
    found.ok_or_else(|| format!("volumes and bind mounts need virtiofsd, which this host does not have; {GET}"))
}

/// The version of a program that `find` gave, or why it cannot be used: an older one in C has the same name and other options.
pub(crate) async fn version(program: &Path) -> Result<String, String> {
    let shown = program.display();
    let mut command = tokio::process::Command::new(program);
    let asked = command.arg("--version").env_clear().stdin(std::process::Stdio::null()).kill_on_drop(true).output();
    let answer = tokio::time::timeout(Duration::from_secs(5), asked).await.map_err(|_| format!("'{shown}' does not answer"))?;
    let answer = answer.map_err(|error| format!("'{shown}' cannot be executed: {error}"))?;
    let text = String::from_utf8_lossy(&answer.stdout);
    let first = text.lines().next().unwrap_or_default().trim();
    match first.strip_prefix("virtiofsd ").filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
        Some(version) if !text.contains("FUSE library") => Ok(version.to_owned()),
        _ => Err(format!(
            "'{shown}' is not the virtiofsd that is needed, but perhaps the older one in C that came with QEMU before 8.0; \
             install 'virtiofsd' 1.5 or later, or name it in the configuration"
        )),
    }
}

fn refuse(instance: InstanceId, message: &str) -> RuntimeError {
    let kind = RuntimeErrorKind::Start(StartFailure::FileSystem);
    RuntimeError::new(kind, format!("instance {instance}: {message}"))
}

/// What one `virtiofsd` is to serve.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    tag: String,
    /// A directory or file of the host.
    source: PathBuf,
    destination: String,
    read_only: bool,
}

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.source.display(), self.destination)
    }
}

impl Planned {
    /// The name of a file that is shared alone.
    fn file(&self) -> Option<OsString> {
        self.source.is_file().then(|| self.source.file_name().map(std::ffi::OsStr::to_owned)).flatten()
    }
}

#[cfg(test)]
mod tests;
