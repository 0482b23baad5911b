//! Mounts and commands inside instances of the process runtime, beyond what every driver does.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is test code, which clippy sees only in test functions"
)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use common::{DEADLINE, launch, open, outcome, printed, shell, workload};
use ring_runtime::conformance::exec::run;
use ring_runtime::conformance::mounts::{self, volume, with_files};
use ring_runtime::{Runtime, RuntimeErrorKind};
use ring_types::{Cpu, Memory, Outcome, Permission, Span, StartFailure, VolumeDriver, VolumeKind};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

const FOREVER: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done";

fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not run: mount namespaces need root");
    }
    root
}

fn readable(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn mounts_are_as_with_every_driver() {
    if !root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    readable(temp.path());
    let runtime = open(temp.path()).await;
    mounts::check(&runtime, &workload, temp.path()).await;
}

#[tokio::test]
async fn what_is_mounted_is_seen_by_the_instance_alone_and_secrets_reach_no_disk() {
    if !root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let first = open(temp.path()).await;
    let (config, secret) = (temp.path().join("app.conf"), temp.path().join("key"));
    let job = with_files(&workload, FOREVER, &config, &secret);
    first.prepare(&job).await.unwrap();
    // Another agent starts what this one prepared.
    drop(first);
    let runtime = open(temp.path()).await;
    runtime.start(job.instance).await.unwrap();
    printed(&runtime, job.instance, "ready").await;
    assert_eq!(run(&runtime, job.instance, &["cat", secret.to_str().unwrap()]).await.0, "hunter-2\n");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "", "the host sees the empty file it was mounted on");
    let grep = std::process::Command::new("grep").args(["-rl", "hunter-2"]).arg(temp.path()).output().unwrap();
    assert_eq!(String::from_utf8(grep.stdout).unwrap(), "");
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(&job.instance.to_string()), "a mount of an instance is one of the host");
    runtime.stop(job.instance, Span::seconds(10)).await.unwrap();
    runtime.remove(job.instance).await.unwrap();
    assert!(!kept(&job.instance.to_string()), "what was kept of it outlives it");
}

/// Is something of an instance on the tmpfs of environments?
fn kept(instance: &str) -> bool {
    let user = rustix::process::geteuid().as_raw();
    let dirs = ["/run/ring-env".to_owned(), format!("/dev/shm/ring-env-{user}")];
    dirs.iter().any(|dir| Path::new(dir).join(instance).exists())
}

#[tokio::test]
async fn named_volumes_stay_and_anonymous_ones_go() {
    if !root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    readable(temp.path());
    let runtime = open(temp.path()).await;
    let (named, scratch) = (temp.path().join("named"), temp.path().join("scratch"));
    let mut job = shell(&format!("echo 1 > {}/a && echo 2 > {}/b && id -u", named.display(), scratch.display()));
    let spec = Arc::make_mut(&mut job.spec);
    spec.config.user.id = Some(65534);
    spec.volumes = vec![
        volume(VolumeKind::Volume, "pages", &named, Permission::ReadWrite),
        volume(VolumeKind::Volume, "", &scratch, Permission::ReadWrite),
    ];
    launch(&runtime, &job).await;
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(0));
    assert!(temp.path().join("instances").join(job.instance.to_string()).join("volumes/1/b").exists());
    runtime.remove(job.instance).await.unwrap();
    assert_eq!(fs::read_to_string(temp.path().join("volumes/ns/pages/a")).unwrap(), "1\n");
    assert_eq!(fs::read_dir(temp.path().join("instances")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_cannot_be_mounted_is_said() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    let refused = async |change: &dyn Fn(&mut ring_types::Volume)| {
        let mut job = shell("true");
        let mut one = volume(VolumeKind::Volume, "files:/export", &temp.path().join("at"), Permission::ReadWrite);
        change(&mut one);
        Arc::make_mut(&mut job.spec).volumes = vec![one];
        let refused = runtime.prepare(&job).await.unwrap_err();
        assert_eq!(refused.kind, RuntimeErrorKind::Start(StartFailure::FileSystem), "{refused}");
        refused.message
    };
    assert!(refused(&|volume| volume.driver = VolumeDriver::Nfs).await.contains("cannot mount nfs"));
    assert!(refused(&|volume| volume.source = "../up".to_owned()).await.contains("'../up'"));
    let over = temp.path().display().to_string();
    let covering = |volume: &mut ring_types::Volume| {
        (volume.source, volume.destination) = ("pages".to_owned(), over.clone());
    };
    assert!(refused(&covering).await.contains("over"));
}

#[tokio::test]
async fn a_path_as_it_is_needs_no_mount() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    let mut job = shell("true");
    let same = temp.path().to_str().unwrap();
    Arc::make_mut(&mut job.spec).volumes = vec![volume(VolumeKind::Bind, same, temp.path(), Permission::ReadWrite)];
    runtime.prepare(&job).await.unwrap();
    assert_eq!(common::record(temp.path(), job.instance, "record")["mounts"], serde_json::json!([]));
}

#[tokio::test]
async fn a_command_is_the_instances_user_in_its_directory_group_and_environment() {
    if !root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    readable(temp.path());
    let runtime = open(temp.path()).await;
    let mut job = shell(FOREVER);
    job.environment.insert("GREETING".to_owned(), "hello".to_owned());
    let spec = Arc::make_mut(&mut job.spec);
    (spec.config.user.id, spec.config.user.group) = (Some(65534), Some(65533));
    (spec.resources.limits.memory, spec.resources.limits.cpu) = (Some(Memory(64 << 20)), Some(Cpu(1000)));
    launch(&runtime, &job).await;
    printed(&runtime, job.instance, "ready").await;
    let (out, ..) = run(&runtime, job.instance, &["sh", "-c", "id -u; id -g; pwd; echo $GREETING; cat /proc/self/cgroup"]).await;
    let lines: Vec<&str> = out.lines().collect();
    let work = temp.path().join("instances").join(job.instance.to_string()).join("work");
    assert_eq!(lines[..4], ["65534", "65533", work.to_str().unwrap(), "hello"]);
    if runtime.probe().await.version.contains("cpu and memory limits") {
        assert!(out.contains(&job.instance.to_string()), "it is outside the instance's control group: {out}");
    }
    // The next agent knows the environment too.
    drop(runtime);
    let next = open(temp.path()).await;
    assert_eq!(run(&next, job.instance, &["sh", "-c", "echo $GREETING"]).await.0, "hello\n");
    next.stop(job.instance, Span::seconds(10)).await.unwrap();
}

/// The parent of a command is spoken to as an agent does it, and then left alone as by one that was killed.
#[tokio::test]
async fn a_command_does_not_outlive_the_agent_that_ran_it() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    let job = shell(FOREVER);
    launch(&runtime, &job).await;
    let order = serde_json::json!({
        "record": common::record(temp.path(), job.instance, "record"),
        "environment": {},
        "process": common::record(temp.path(), job.instance, "started")["process"],
        "command": ["sh", "-c", "trap '' TERM HUP; sleep 1000 & echo $$ $!; while :; do sleep 0.1; done"],
        "stdin": true,
        "terminal": null,
    });
    let order = serde_json::to_vec(&order).unwrap();
    let dir = temp.path().join("instances").join(job.instance.to_string());
    let mut parent = Command::new(env!("CARGO_BIN_EXE_ring-shim"))
        .arg(dir)
        .arg("exec")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = parent.stdin.take().unwrap();
    let frame = [&b"o"[..], &(order.len() as u32).to_be_bytes(), &order].concat();
    pipe.write_all(&frame).await.unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let pids = lines.next_line().await.unwrap().unwrap();
    drop(pipe);
    let status = tokio::time::timeout(DEADLINE, parent.wait()).await.expect("it stays").unwrap();
    assert_eq!(status.code(), Some(137));
    for pid in pids.split(' ') {
        assert!(!Path::new("/proc").join(pid).exists(), "{pid} of {pids} is still there");
    }
    runtime.stop(job.instance, Span::seconds(10)).await.unwrap();
}
