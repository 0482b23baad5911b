//! `ring doctor`: what this host offers a node.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::config::{RuntimeSection, read_secret_key};
use crate::context::Context;
use crate::error::CliError;
use crate::format::OutputArgs;
use crate::host::{Finding, HostChecks};
use crate::output::{Cell, ListView, Reply, Row, data, data_screen};

/// `ring doctor`
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Ok,
    /// Something is not there that may not be needed.
    Absent,
    Failed,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    check: String,
    result: Verdict,
    detail: String,
}

impl Row for Check {
    const COLUMNS: &'static [(&'static str, bool)] = &[("Check", false), ("Result", false), ("Detail", false)];

    fn cells(&self) -> Vec<Cell> {
        let result = match self.result {
            Verdict::Ok => Cell::good("ok"),
            Verdict::Absent => Cell::from("absent"),
            Verdict::Failed => Cell::status("failed"),
        };
        vec![self.check.as_str().into(), result, self.detail.as_str().into()]
    }
}

impl Check {
    fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { check: check.into(), result: Verdict::Ok, detail: detail.into() }
    }

    fn failed(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { check: check.into(), result: Verdict::Failed, detail: detail.into() }
    }

    /// A failure when the configuration asks for it, else just absent.
    fn missing(check: impl Into<String>, wanted: bool, detail: impl Into<String>) -> Self {
        let result = if wanted { Verdict::Failed } else { Verdict::Absent };
        Self { check: check.into(), result, detail: detail.into() }
    }
}

pub(crate) async fn run(context: &Context, host: Option<&dyn HostChecks>, args: &DoctorArgs) -> Result<Reply, CliError> {
    let checks = checks(context, host).await;
    let failed = checks.iter().filter(|check| check.result == Verdict::Failed).count();
    let reply = Reply::view(ListView(checks), args.output.format);
    if failed == 0 {
        return Ok(reply);
    }
    data(&reply.text(data_screen())?)?;
    Err(CliError::Doctor(failed))
}

/// A line a check, for `ring init`.
pub(super) fn told(checks: &[Check]) -> String {
    let word = |check: &Check| match check.result {
        Verdict::Ok => "ok",
        Verdict::Absent => "absent",
        Verdict::Failed => "FAILED",
    };
    let lines: Vec<_> = checks.iter().map(|c| format!("  {:<19} {:<7} {}", c.check, word(c), c.detail)).collect();
    format!("checks of this host:\n{}", lines.join("\n"))
}

/// Every check, in the order people read them.
pub(super) async fn checks(context: &Context, host: Option<&dyn HostChecks>) -> Vec<Check> {
    let runtime = &context.file.server.runtime;
    let port = context.file.context(None).map_or(ring_api::API_PORT, |(_, section)| section.api.port);
    let mut checks = vec![
        configuration(context),
        secret_key(context),
        data_dir(&context.paths.data_dir),
        disk(&context.paths.data_dir),
        clock(),
        api_port(context, port).await,
        free_port("cluster port", ring_api::CLUSTER_PORT),
        daemon("docker", runtime.docker.enabled == Some(true), &docker_sockets(runtime.docker.host.as_deref())),
        daemon("podman", runtime.podman.enabled == Some(true), &podman_sockets(runtime.podman.host.as_deref())),
        process(),
    ];
    checks.extend(micro_vms(host, runtime, &context.paths.data_dir).await);
    checks
}

fn configuration(context: &Context) -> Check {
    let path = context.paths.config_file.display();
    if !context.paths.config_file.exists() {
        return Check::missing("configuration", false, format!("{path} is not there; ring init writes it"));
    }
    let unknown = context.file.unknown_keys();
    if unknown.is_empty() {
        return Check::ok("configuration", path.to_string());
    }
    Check::ok("configuration", format!("{path}; keys that mean nothing: {}", unknown.join(", ")))
}

fn secret_key(context: &Context) -> Check {
    let path = context.paths.secret_key();
    let open = std::fs::metadata(&path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0);
    match read_secret_key(&path) {
        Ok(Some(_)) if open => Check::failed("secret key", format!("others may read {}: chmod 600 it", path.display())),
        Ok(Some(_)) => Check::ok("secret key", "there"),
        Ok(None) => Check::missing("secret key", false, "none yet; ring init or the first start makes it"),
        Err(error) => Check::failed("secret key", error.to_string()),
    }
}

fn data_dir(dir: &Path) -> Check {
    let probe = dir.join(format!(".doctor.{}", std::process::id()));
    let tried =
        std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&probe, b"x")).and_then(|()| std::fs::remove_file(&probe));
    match tried {
        Ok(()) => Check::ok("data directory", dir.display().to_string()),
        Err(error) => Check::failed("data directory", format!("cannot write in {}: {error}", dir.display())),
    }
}

/// Less than this stops a control node soon.
const MIN_FREE: u64 = 512 << 20;

fn disk(dir: &Path) -> Check {
    match rustix::fs::statvfs(dir) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let detail = format!("{} MiB free under {}", free >> 20, dir.display());
            if free < MIN_FREE { Check::failed("disk", detail) } else { Check::ok("disk", detail) }
        }
        Err(error) => Check::failed("disk", format!("{}: {error}", dir.display())),
    }
}

/// 2025-01-01 UTC: a clock before that was never set, and certificates would not be valid yet.
const CLOCK_FLOOR: i64 = 1_735_689_600_000;

fn clock() -> Check {
    let now = crate::time::now();
    let shown = crate::time::shown(now);
    if now.0 < CLOCK_FLOOR {
        return Check::failed("clock", format!("it says {shown} UTC: set it, best with NTP"));
    }
    let synchronised = Path::new("/run/systemd/timesync/synchronized").exists();
    Check::ok("clock", format!("{shown} UTC{}", if synchronised { ", synchronised" } else { "" }))
}

/// Free, or in use by ring itself.
async fn api_port(context: &Context, port: u16) -> Check {
    let free = free_port("api port", port);
    if free.result == Verdict::Ok {
        return free;
    }
    let target = crate::context::Target {
        context: String::new(),
        hosts: format!("127.0.0.1:{port}"),
        api: context.target().map(|target| target.api).unwrap_or_default(),
    };
    match target.client(None) {
        Ok(client) if client.health().await.is_ok() => Check::ok("api port", format!("{port}: ring answers there")),
        _ => free,
    }
}

fn free_port(check: &'static str, port: u16) -> Check {
    match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
        Ok(_) => Check::ok(check, format!("{port} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && check == "cluster port" => {
            Check::missing(check, false, format!("{port} is in use, perhaps by ring itself"))
        }
        Err(error) => Check::failed(check, format!("{port}: {error}")),
    }
}

/// Addresses a container daemon may be at.
enum Socket {
    Unix(PathBuf),
    Tcp(String),
}

fn docker_sockets(configured: Option<&str>) -> Vec<Socket> {
    let env = std::env::var("DOCKER_HOST").ok();
    match configured.or(env.as_deref()) {
        Some(host) => vec![socket(host)],
        None => vec![Socket::Unix("/var/run/docker.sock".into())],
    }
}

fn podman_sockets(configured: Option<&str>) -> Vec<Socket> {
    if let Some(host) = configured {
        return vec![socket(host)];
    }
    let user = std::env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("podman/podman.sock"));
    let system = PathBuf::from("/run/podman/podman.sock");
    user.into_iter().chain([system]).map(Socket::Unix).collect()
}

fn socket(host: &str) -> Socket {
    match host.strip_prefix("unix://") {
        Some(path) => Socket::Unix(path.into()),
        None => Socket::Tcp(host.trim_start_matches("tcp://").trim_start_matches("http://").to_owned()),
    }
}

fn daemon(check: &'static str, wanted: bool, sockets: &[Socket]) -> Check {
    let mut reasons = Vec::new();
    for socket in sockets {
        let (place, answer) = match socket {
            Socket::Unix(path) => (path.display().to_string(), UnixStream::connect(path).and_then(ping_unix)),
            Socket::Tcp(address) => (address.clone(), TcpStream::connect(address).and_then(ping_tcp)),
        };
        match answer {
            Ok(()) => return Check::ok(check, format!("answers at {place}")),
            Err(error) => reasons.push(format!("{place}: {error}")),
        }
    }
    Check::missing(check, wanted, reasons.join("; "))
}

/// How long a daemon may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

fn ping_unix(stream: UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(ANSWER))?;
    ping(stream)
}

fn ping_tcp(stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(ANSWER))?;
    ping(stream)
}

fn ping(mut stream: impl Read + Write) -> io::Result<()> {
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    if status.ends_with(b"200") { Ok(()) } else { Err(io::Error::other("it answers, but not as a container daemon")) }
}

/// Where nobody said that micro-VMs are wanted, nothing about them is a failure.
async fn micro_vms(host: Option<&dyn HostChecks>, runtime: &RuntimeSection, data_dir: &Path) -> Vec<Check> {
    let wanted = runtime.cloud_hypervisor.enabled == Some(true);
    let Some(host) = host else {
        return vec![Check::missing("micro-VMs", wanted, "this program is the client alone, which runs none and cannot say")];
    };
    let findings = host.micro_vms(runtime, data_dir).await;
    let told = |finding: Finding| {
        let name = format!("vm {}", finding.name);
        match finding.found {
            Ok(detail) => Check::ok(name, detail),
            Err(lack) => Check::missing(name, wanted && finding.needed, lack),
        }
    };
    findings.into_iter().map(told).collect()
}

fn process() -> Check {
    let limits = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    Check::ok(
        "process runtime",
        if limits { "built in, with limits (cgroup v2)" } else { "built in, without limits (no cgroup v2)" },
    )
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;

    use super::*;

    #[test]
    fn a_directory_that_cannot_be_written_fails() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(data_dir(&dir.path().join("new")).result, Verdict::Ok);
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(data_dir(&dir.path().join("file/x")).result, Verdict::Failed);
    }

    #[test]
    fn a_daemon_is_known_by_its_answer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 10];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nOK").unwrap();
        });
        assert_eq!(daemon("docker", true, &[Socket::Unix(path.clone())]).result, Verdict::Ok);
        server.join().unwrap();
        let gone = [Socket::Unix(dir.path().join("gone.sock"))];
        assert_eq!(daemon("docker", true, &gone).result, Verdict::Failed);
        assert_eq!(daemon("docker", false, &gone).result, Verdict::Absent);
    }

    /// A host that has one thing and lacks two.
    #[derive(Debug)]
    struct Poor;

    impl HostChecks for Poor {
        fn micro_vms<'a>(&'a self, _: &'a RuntimeSection, data_dir: &'a Path) -> BoxFuture<'a, Vec<Finding>> {
            let finding = |name: &str, found, needed| Finding { name: name.to_owned(), found, needed };
            let dir = data_dir.display().to_string();
            Box::pin(async move {
                let lack = |what: &str| Err(format!("no {what}"));
                vec![finding("a", Ok(dir), true), finding("b", lack("b"), true), finding("c", lack("c"), false)]
            })
        }
    }

    #[tokio::test]
    async fn what_micro_vms_lack_is_a_failure_where_they_are_wanted() {
        let mut runtime = RuntimeSection::default();
        let dir = Path::new("/data");
        for (enabled, verdict) in [(None, Verdict::Absent), (Some(false), Verdict::Absent), (Some(true), Verdict::Failed)] {
            runtime.cloud_hypervisor.enabled = enabled;
            let told = micro_vms(Some(&Poor), &runtime, dir).await;
            let results: Vec<_> = told.iter().map(|check| (check.check.as_str(), check.result, check.detail.as_str())).collect();
            let expected = [("vm a", Verdict::Ok, "/data"), ("vm b", verdict, "no b"), ("vm c", Verdict::Absent, "no c")];
            assert_eq!(results, expected, "enabled: {enabled:?}");
            let alone = micro_vms(None, &runtime, dir).await;
            assert_eq!(alone.iter().map(|check| check.result).collect::<Vec<_>>(), [verdict]);
        }
    }

    #[test]
    fn a_port_in_use_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(free_port("api port", port).result, Verdict::Failed);
    }
}
