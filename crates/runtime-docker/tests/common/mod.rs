//! A Docker daemon for the tests: the one `RING_TEST_DOCKER_HOST` names, or one of their own in a network namespace.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is test code, which clippy sees only in test functions; not every test needs all of it"
)]

pub(crate) mod silent;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring_runtime::Workload;
use ring_runtime_docker::{DockerConfig, DockerRuntime, Engine};
use ring_types::{DeploymentSpec, Generation, InstanceId, Kind, Name, PullPolicy, RuntimeKind};

/// The image of the tests: busybox and nothing else.
pub(crate) const IMAGE: &str = "ring-test/busybox:1";

const APPLETS: [&str; 14] =
    ["sh", "sleep", "echo", "env", "true", "false", "cat", "id", "seq", "tail", "kill", "ls", "stty", "grep"];

/// A daemon, stopped when this is dropped if it is ours.
pub(crate) struct Daemon {
    pub(crate) host: String,
    engine: Engine,
    own: Option<Own>,
}

struct Own {
    child: Child,
    dir: tempfile::TempDir,
}

impl Daemon {
    /// None, with a word on why, where there is no daemon and none can be started.
    pub(crate) fn get() -> Option<Self> {
        let daemon = match std::env::var("RING_TEST_DOCKER_HOST") {
            Ok(host) => Self { host, engine: Engine::Docker, own: None },
            Err(_) => Self::start()?,
        };
        daemon.import();
        Some(daemon)
    }

    fn start() -> Option<Self> {
        if !Path::new("/usr/sbin/dockerd").exists() && !Path::new("/usr/bin/dockerd").exists() {
            println!("not run: there is no dockerd here");
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            println!("not run: a Docker daemon needs root");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("ring-docker").tempdir().unwrap();
        let host = format!("unix://{}", dir.path().join("docker.sock").display());
        let child = launch(dir.path(), &host);
        let daemon = Self { host, engine: Engine::Docker, own: Some(Own { child, dir }) };
        daemon.wait();
        Some(daemon)
    }

    /// A service of Podman, with everything of its own. None, with a word on why, where there is none.
    pub(crate) fn podman() -> Option<Self> {
        if !Path::new("/usr/bin/podman").exists() || !rustix::process::geteuid().is_root() {
            println!("not run: there is no podman here, or no root");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("ring-podman").tempdir().unwrap();
        let host = format!("unix://{}", dir.path().join("podman.sock").display());
        let child = launch_podman(dir.path(), &host);
        let daemon = Self { host, engine: Engine::Podman, own: Some(Own { child, dir }) };
        daemon.wait();
        daemon.import();
        Some(daemon)
    }

    /// Ends the daemon as kill -9 does, or politely, and starts it on the same data.
    pub(crate) fn restart(&mut self, signal: rustix::process::Signal) -> bool {
        let Some(own) = &mut self.own else { return false };
        let pid: i32 = std::fs::read_to_string(own.dir.path().join("pid")).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
        own.child.wait().unwrap();
        let _ = std::fs::remove_file(own.dir.path().join("pid"));
        own.child = launch(own.dir.path(), &self.host);
        self.wait();
        true
    }

    /// Sends a signal to our daemon; false when it is not ours.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> bool {
        let Some(own) = &self.own else { return false };
        let pid: i32 = std::fs::read_to_string(own.dir.path().join("pid")).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
        true
    }

    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        let output = Command::new("docker").arg("-H").arg(&self.host).args(arguments).output().unwrap();
        assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The process of our daemon; None when it is not ours.
    pub(crate) fn pid(&self) -> Option<String> {
        let own = self.own.as_ref()?;
        Some(std::fs::read_to_string(own.dir.path().join("pid")).unwrap().trim().to_owned())
    }

    /// Everything our daemon keeps on disk.
    pub(crate) fn data(&self) -> Option<PathBuf> {
        self.own.as_ref().map(|own| own.dir.path().join("data"))
    }

    /// A driver with settings of its own.
    pub(crate) fn runtime_with(&self, change: impl FnOnce(&mut DockerConfig)) -> DockerRuntime {
        let host = Some(self.host.clone());
        let mut config = DockerConfig { host, engine: self.engine, ..DockerConfig::default() };
        change(&mut config);
        DockerRuntime::new(config)
    }

    pub(crate) fn runtime(&self) -> DockerRuntime {
        self.runtime_with(|_| ())
    }

    fn wait(&self) {
        let begun = Instant::now();
        let answers = || Command::new("docker").args(["-H", &self.host, "version"]).output().is_ok_and(|o| o.status.success());
        while !answers() {
            assert!(begun.elapsed() < Duration::from_mins(1), "the Docker daemon did not come up:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn log(&self) -> String {
        let path = self.own.as_ref().map(|own| own.dir.path().join("log")).unwrap_or_default();
        std::fs::read_to_string(path).unwrap_or_default()
    }

    fn import(&self) {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::fs::copy(busybox(), bin.join("busybox")).unwrap();
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
        }
        let tar = Command::new("tar").arg("-C").arg(dir.path()).args(["-c", "bin"]).output().unwrap();
        assert!(tar.status.success());
        let mut import = Command::new("docker")
            .args(["-H", &self.host, "import", "-", IMAGE])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        import.stdin.take().unwrap().write_all(&tar.stdout).unwrap();
        assert!(import.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.engine == Engine::Docker {
            self.signal(rustix::process::Signal::CONT);
            self.signal(rustix::process::Signal::TERM);
        } else {
            let _ = self.own.as_mut().map(|own| own.child.kill());
        }
        let _ = self.own.as_mut().map(|own| own.child.wait());
    }
}

/// In a network namespace of its own, so that its bridges and firewall rules stay there.
fn launch(dir: &Path, host: &str) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let path = |name: &str| dir.join(name).display().to_string();
    let script = "ip link set lo up; exec dockerd \"$@\"";
    Command::new("unshare")
        .args(["--net", "--mount", "--", "sh", "-c", script, "dockerd"])
        .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")])
        .args(["--host", host, "--storage-driver", "vfs"])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// With limits of its own for open files and processes: those it would ask for need more rights than a test host may have.
fn launch_podman(dir: &Path, host: &str) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let path = |name: &str| dir.join(name).display().to_string();
    std::fs::write(dir.join("containers.conf"), "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n")
        .unwrap();
    Command::new("unshare")
        .args(["--net", "--mount", "--", "sh", "-c", "ip link set lo up; exec podman \"$@\"", "podman"])
        .args(["--root", &path("root"), "--runroot", &path("run"), "--storage-driver", "vfs"])
        .args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"])
        .args(["system", "service", "--time=0", host])
        .env("CONTAINERS_CONF", dir.join("containers.conf"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn busybox() -> PathBuf {
    let found = ["/usr/bin/busybox", "/bin/busybox"].iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("the tests need a static busybox (package busybox-static)")
}

/// An id that no other test uses, nor one of an earlier run.
pub(crate) fn id() -> InstanceId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    format!("{now:016x}{:08x}{:08x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)).parse().unwrap()
}

pub(crate) fn workload(command: &[&str]) -> Workload {
    let name = |text| Name::new(text).unwrap();
    let mut spec = DeploymentSpec::new(name("shop"), name("job"), Kind::Job, RuntimeKind::Docker, IMAGE);
    spec.command = command.iter().map(ToString::to_string).collect();
    spec.config.image_pull_policy = PullPolicy::IfNotPresent;
    Workload {
        instance: id(),
        deployment: "00000000-0000-0000-0000-000000000001".parse().unwrap(),
        generation: Generation(1),
        spec: Arc::new(spec),
        environment: BTreeMap::new(),
        files: Vec::new(),
        registry: None,
    }
}
