//! The Docker daemon of a host: started in the host's network, with directories of its own.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use super::host::Host;
use crate::command::{Outcome, command, describe, run, run_within};
use crate::process::Process;
use crate::wait;

/// The test image every daemon has: busybox with all its applets, made by `scripts/test-image`.
pub const IMAGE: &str = "ring-test/busybox:1";

/// The daemon gives containers ten seconds to stop, so its own end can take longer.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Settings of a daemon.
#[derive(Debug, Clone, Default)]
pub struct DockerOptions {
    /// Containers keep running while the daemon is down (off, as in Docker, unless asked for).
    pub live_restore: bool,
    /// More arguments for `dockerd`.
    pub arguments: Vec<String>,
}

/// A Docker daemon in a host of the lab.
#[derive(Debug)]
pub struct Docker {
    host: Host,
    dir: PathBuf,
    cgroup: String,
    options: DockerOptions,
    process: Mutex<Option<Process>>,
}

impl Docker {
    /// Starts a daemon and loads the test image.
    pub(super) fn start(host: &Host, cgroup: &str, options: &DockerOptions) -> Result<Self> {
        let dir = host.dir().join("docker");
        fs::create_dir_all(&dir)?;
        // An empty file instead of the machine's own /etc/docker/daemon.json.
        fs::write(dir.join("daemon.json"), "{}")?;
        let docker =
            Self { host: host.clone(), dir, cgroup: cgroup.to_owned(), options: options.clone(), process: Mutex::new(None) };
        docker.up()?;
        docker.load_image("1")?;
        Ok(docker)
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    /// The daemon's address as `DOCKER_HOST` wants it.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A `docker` command line for this daemon.
    pub fn command<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, arguments: I) -> Command {
        let mut docker = command("docker", arguments);
        self.environment(&mut docker);
        docker
    }

    /// Runs `docker ARGUMENTS…` against this daemon.
    pub fn run<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, arguments: I) -> Result<Outcome> {
        run(self.command(arguments))
    }

    /// As [`Docker::run`], its output when it succeeds.
    pub fn ok<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, arguments: I) -> Result<String> {
        self.run(arguments)?.ok()
    }

    /// Makes the test image with another tag; each tag is another image.
    pub fn load_image(&self, tag: &str) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/test-image");
        let mut script = Command::new(script);
        script.arg(tag);
        self.environment(&mut script);
        run(script)?.ok().map(drop).context("cannot make the test image")
    }

    /// Starts the daemon, when it was stopped or killed, and waits until it answers.
    pub fn up(&self) -> Result<()> {
        let mut process = self.process();
        if let Some(running) = process.as_ref()
            && running.exited()?.is_none()
        {
            bail!("the Docker daemon of {} runs already", self.host.name());
        }
        // A killed daemon leaves its pid and that of its containerd behind. Both are dead, but may be zombies nobody
        // reaps or other processes by now, and dockerd would take them for alive.
        for left in ["docker.pid", "exec/containerd/containerd.pid"] {
            let _ = fs::remove_file(self.dir.join(left));
        }
        let daemon = self.host.spawn("docker", self.daemon())?;
        wait::eventually(START_DEADLINE, "the Docker daemon to answer", || match daemon.exited()? {
            Some(status) => Ok(Some(Err(anyhow::anyhow!("dockerd ended with {status}")))),
            None => Ok(answers(&self.socket()).then_some(Ok(()))),
        })
        .and_then(|answered| answered)
        .with_context(|| daemon.tail())?;
        *process = Some(daemon);
        Ok(())
    }

    /// SIGTERM, and waits for the end. Without live restore this stops the containers.
    pub fn stop(&self) -> Result<()> {
        match self.process().take() {
            Some(daemon) => daemon.stop(STOP_DEADLINE).map(drop),
            None => Ok(()),
        }
    }

    /// SIGKILL to the daemon; containerd goes with it, containers run on.
    pub fn kill9(&self) -> Result<()> {
        match self.process().take() {
            Some(daemon) => daemon.kill9(),
            None => Ok(()),
        }
    }

    /// Stops and starts it.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.up()
    }

    /// Its process id; None while it is stopped.
    pub fn pid(&self) -> Option<i32> {
        self.process().as_ref().map(Process::pid)
    }

    /// Exit codes of all containers with `label` (`name=value`), which have ended.
    pub fn exit_codes(&self, label: &str) -> Result<Vec<i64>> {
        let all = self.ok(["ps", "--all", "--quiet", "--no-trunc", "--filter", &format!("label={label}")])?;
        let code = |id: &str| Ok(self.ok(["inspect", "--format", "{{.State.ExitCode}}", id])?.parse()?);
        all.lines().map(code).collect()
    }

    /// SIGSTOP: the daemon accepts connections and answers none.
    pub fn pause(&self) -> Result<()> {
        self.process().as_ref().context("the Docker daemon is not running")?.pause()
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.process().as_ref().context("the Docker daemon is not running")?.resume()
    }

    /// Waits until a container has ended and returns its exit code.
    pub fn wait_container(&self, container: &str, deadline: Duration) -> Result<i32> {
        let wait = self.command(["wait", container]);
        let line = describe(&wait);
        let printed = run_within(wait, deadline)?.ok()?;
        printed.parse().with_context(|| format!("`{line}` printed '{printed}'"))
    }

    /// How often containers with `label` (`name=value`) were started, as this daemon's events tell: they reach back to
    /// its own start and hold the last 256 of all kinds.
    pub fn starts(&self, label: &str) -> Result<usize> {
        let label = format!("label={label}");
        let now = format!("{}", SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs() + 1);
        let filters = ["--filter", "type=container", "--filter", "event=start", "--filter", &label];
        let span = ["events", "--since", "0", "--until", &now, "--format", "{{.ID}}"];
        Ok(self.ok(span.into_iter().chain(filters))?.lines().count())
    }

    fn daemon(&self) -> Command {
        let flag = |name: &str, file: &str| format!("--{name}={}", self.dir.join(file).display());
        let arguments = [
            flag("data-root", "data"),
            flag("exec-root", "exec"),
            flag("pidfile", "docker.pid"),
            flag("config-file", "daemon.json"),
            format!("--host={}", self.url()),
            // Clean-up finds containers by this group.
            format!("--cgroup-parent=/{}", self.cgroup),
            format!("--live-restore={}", self.options.live_restore),
        ];
        let mut dockerd = self.host.command("dockerd", arguments);
        dockerd.args(&self.options.arguments);
        dockerd
    }

    /// The client's settings: this daemon, and nothing of the user's own configuration.
    fn environment(&self, client: &mut Command) {
        client.env("DOCKER_HOST", self.url()).env("DOCKER_CONFIG", self.dir.join("client"));
        client.env_remove("DOCKER_CONTEXT").env_remove("DOCKER_TLS_VERIFY");
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The daemon answers a ping.
fn answers(socket: &Path) -> bool {
    let ping = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ping().is_ok_and(|answer| answer.split(' ').nth(1) == Some("200"))
}
