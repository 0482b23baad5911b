//! Images of a real registry that wants to know who asks.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is test code, which clippy sees only in test functions"
)]

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Daemon, IMAGE, workload};
use ring_runtime::{RegistryLogin, Runtime, RuntimeErrorKind, Workload};
use ring_types::{PullPolicy, StartFailure};
use rustix::process::{Pid, Signal, kill_process};

/// In the network namespace of the daemon, on loopback, where no certificate is asked for.
const SERVER: &str = "127.0.0.1:5000";

/// Written in base64 it has letters outside the alphabet for URLs.
const PASSWORD: &str = "p?>~~>?s w:rd";

struct Registry {
    child: Child,
    dir: tempfile::TempDir,
    digest: String,
}

impl Registry {
    /// None, with a word on why, where there is none.
    fn start(daemon: &Daemon) -> Option<Self> {
        if !Path::new("/usr/bin/docker-registry").exists() || !Path::new("/usr/bin/htpasswd").exists() {
            println!("not run: there is no docker-registry or no htpasswd here");
            return None;
        }
        let pid = daemon.pid()?;
        let dir = tempfile::tempdir().unwrap();
        let users = Command::new("htpasswd").args(["-nbB", "ann", PASSWORD]).output().unwrap();
        std::fs::write(dir.path().join("users"), users.stdout).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {d}/images}}}}\n\
             http: {{addr: \"{SERVER}\"}}\nauth: {{htpasswd: {{realm: test, path: {d}/users}}}}\n",
            d = dir.path().display()
        );
        std::fs::write(dir.path().join("config.yml"), config).unwrap();
        let child = Command::new("nsenter")
            .args(["--target", &pid, "--net", "docker-registry", "serve"])
            .arg(dir.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut registry = Self { child, dir, digest: String::new() };
        registry.log_in(daemon);
        registry.digest = registry.push(daemon);
        Some(registry)
    }

    /// As a person does it, until the registry is up.
    fn log_in(&self, daemon: &Daemon) {
        let begun = Instant::now();
        let login = ["login", "--username", "ann", "--password", PASSWORD, SERVER];
        while !self.client(daemon, &login).status.success() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the registry did not come up");
        }
    }

    fn push(&self, daemon: &Daemon) -> String {
        let image = format!("{SERVER}/team/app:1");
        daemon.docker(&["tag", IMAGE, &image]);
        let pushed = self.client(daemon, &["push", &image]);
        let told = String::from_utf8(pushed.stdout).unwrap();
        daemon.docker(&["rmi", &image]);
        let digest = told.split_whitespace().find(|word| word.starts_with("sha256:"));
        digest.unwrap_or_else(|| panic!("{told}{}", String::from_utf8_lossy(&pushed.stderr))).to_owned()
    }

    fn client(&self, daemon: &Daemon, arguments: &[&str]) -> std::process::Output {
        Command::new("docker").arg("--config").arg(self.dir.path()).args(["-H", &daemon.host]).args(arguments).output().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn job(tag: &str, policy: PullPolicy, password: Option<&str>) -> Workload {
    let mut job = workload(&["true"]);
    let spec = Arc::make_mut(&mut job.spec);
    spec.image = format!("{SERVER}/team/app:{tag}");
    spec.config.image_pull_policy = policy;
    job.registry = password.map(|password| RegistryLogin {
        server: Some(SERVER.to_owned()),
        username: "ann".to_owned(),
        password: password.to_owned(),
    });
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_asks_who_it_is() {
    let Some(daemon) = Daemon::get() else { return };
    let Some(registry) = Registry::start(&daemon) else { return };
    strangers_are_told_apart(&daemon).await;
    a_login_of_the_deployment(&daemon, &registry).await;
    a_login_of_the_host(&daemon, &registry).await;
    what_is_on_the_host_already(&daemon).await;
    a_registry_that_hangs(&daemon, &registry).await;
}

async fn refused(daemon: &Daemon, job: &Workload) -> (RuntimeErrorKind, String) {
    let refused = daemon.runtime().prepare(job).await.expect_err("it was fetched");
    assert!(!refused.message.contains(PASSWORD), "a password is in a message: {refused}");
    (refused.kind, refused.message)
}

async fn strangers_are_told_apart(daemon: &Daemon) {
    let pull = RuntimeErrorKind::Start(StartFailure::ImagePull);
    let (kind, told) = refused(daemon, &job("1", PullPolicy::Always, None)).await;
    assert_eq!(kind, pull, "{told}");
    assert!(told.contains("wants a login"), "{told}");
    let (kind, told) = refused(daemon, &job("1", PullPolicy::Always, Some("wrong"))).await;
    assert_eq!(kind, pull, "{told}");
    assert!(told.contains("does not accept the login of 'ann'") && told.contains(SERVER), "{told}");
    let (kind, told) = refused(daemon, &job("none", PullPolicy::Always, Some(PASSWORD))).await;
    assert_eq!(kind, RuntimeErrorKind::Start(StartFailure::ImageNotFound), "{told}");
}

async fn a_login_of_the_deployment(daemon: &Daemon, registry: &Registry) {
    let runtime = daemon.runtime();
    let mut job = job("1", PullPolicy::Always, Some(PASSWORD));
    assert_eq!(runtime.prepare(&job).await.unwrap().image_digest.as_deref(), Some(registry.digest.as_str()));
    runtime.remove(job.instance).await.unwrap();
    // The server may be left to the image's name.
    job.registry.as_mut().unwrap().server = None;
    assert_eq!(runtime.prepare(&job).await.unwrap().image_digest.as_deref(), Some(registry.digest.as_str()));
    runtime.remove(job.instance).await.unwrap();
    daemon.docker(&["rmi", &job.spec.image]);
}

async fn a_login_of_the_host(daemon: &Daemon, registry: &Registry) {
    let mut job = job("1", PullPolicy::IfNotPresent, None);
    Arc::make_mut(&mut job.spec).config.use_host_auth = true;
    let with = |file: std::path::PathBuf| daemon.runtime_with(|config| config.logins = Some(file));
    let absent = with("/no/such/config.json".into()).prepare(&job).await.unwrap_err();
    assert_eq!(absent.kind, RuntimeErrorKind::Start(StartFailure::ImagePull));
    assert!(absent.message.contains("docker login"), "{absent}");
    let runtime = with(registry.dir.path().join("config.json"));
    assert_eq!(runtime.prepare(&job).await.unwrap().image_digest.as_deref(), Some(registry.digest.as_str()));
    runtime.remove(job.instance).await.unwrap();
}

/// The image is there by now. A registry that knows who asks and says no has the last word; else what is there serves.
async fn what_is_on_the_host_already(daemon: &Daemon) {
    let runtime = daemon.runtime();
    for serves in
        [job("1", PullPolicy::IfNotPresent, None), job("1", PullPolicy::Never, None), job("1", PullPolicy::Always, None)]
    {
        runtime.prepare(&serves).await.unwrap();
        runtime.remove(serves.instance).await.unwrap();
    }
    let (kind, told) = refused(daemon, &job("1", PullPolicy::Always, Some("wrong"))).await;
    assert_eq!(kind, RuntimeErrorKind::Start(StartFailure::ImagePull), "{told}");
}

async fn a_registry_that_hangs(daemon: &Daemon, registry: &Registry) {
    let runtime = daemon.runtime();
    registry.signal(Signal::STOP);
    let (slow, quick) = (job("2", PullPolicy::Always, Some(PASSWORD)), workload(&["true"]));
    let begun = Instant::now();
    let others = async {
        runtime.prepare(&quick).await.unwrap();
        runtime.start(quick.instance).await.unwrap();
        let quick_ones = begun.elapsed();
        let here = job("1", PullPolicy::Always, Some(PASSWORD));
        runtime.prepare(&here).await.unwrap();
        runtime.remove(here.instance).await.unwrap();
        quick_ones
    };
    let taken = tokio::select! {
        pulled = runtime.prepare(&slow) => panic!("a registry that hangs answered {pulled:?}"),
        taken = others => taken,
    };
    registry.signal(Signal::CONT);
    println!("another instance started after {taken:?}; the image of the host served after {:?}", begun.elapsed());
    assert!(taken < Duration::from_secs(10), "a slow pull delayed another instance by {taken:?}");
    assert!(begun.elapsed() < Duration::from_mins(1));
    ring_runtime::conformance::outcome(&runtime, quick.instance).await;
    runtime.remove(quick.instance).await.unwrap();
}
