//! Mounts with a real daemon, beyond what every driver does.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is test code, which clippy sees only in test functions"
)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use common::{Daemon, workload};
use ring_runtime::conformance::exec::run;
use ring_runtime::conformance::mounts::{check, volume, with_files};
use ring_runtime::conformance::{launch, outcome, printed};
use ring_runtime::{Observed, Runtime, RuntimeErrorKind};
use ring_types::{Outcome, Permission, Span, StartFailure, VolumeDriver, VolumeKind};
use rustix::process::Signal;

const FOREVER: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done";

#[tokio::test(flavor = "multi_thread")]
async fn mounts_and_a_real_daemon() {
    let Some(mut daemon) = Daemon::get() else { return };
    let temp = tempfile::tempdir().unwrap();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    check(&daemon.runtime(), &workload, temp.path()).await;
    volumes_stay_or_go(&daemon).await;
    two_namespaces_that_spell_the_same_name(&daemon).await;
    a_file_server(&daemon).await;
    secrets_reach_no_disk_and_outlive_the_agent(&mut daemon).await;
}

async fn volumes_stay_or_go(daemon: &Daemon) {
    let runtime = daemon.runtime();
    let count = || daemon.docker(&["volume", "ls", "--quiet"]).lines().count();
    let before = count();
    let mut job = workload(&["sh", "-c", "echo 1 > /named/a; echo 2 > /scratch/b"]);
    Arc::make_mut(&mut job.spec).volumes = vec![
        volume(VolumeKind::Volume, "stays", Path::new("/named"), Permission::ReadWrite),
        volume(VolumeKind::Volume, "", Path::new("/scratch"), Permission::ReadWrite),
    ];
    launch(&runtime, &job).await;
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(0));
    assert_eq!(count(), before + 2);
    runtime.remove(job.instance).await.unwrap();
    assert_eq!(count(), before + 1, "the anonymous volume is still there, or the named one is not");
    let of = |format: &str| daemon.docker(&["volume", "inspect", "--format", format, "ring_shop_stays"]);
    assert_eq!(of("{{.Driver}} {{.Labels.ring_namespace}} {{.Labels.ring_volume}}"), "local shop stays");
}

async fn two_namespaces_that_spell_the_same_name(daemon: &Daemon) {
    let runtime = daemon.runtime();
    let of = |namespace: &str, source: &str| {
        let mut job = workload(&["true"]);
        let spec = Arc::make_mut(&mut job.spec);
        spec.namespace = ring_types::Name::new(namespace).unwrap();
        spec.volumes = vec![volume(VolumeKind::Volume, source, Path::new("/data"), Permission::ReadWrite)];
        job
    };
    let (first, second) = (of("a_b", "c"), of("a", "b_c"));
    runtime.prepare(&first).await.unwrap();
    let refused = runtime.prepare(&second).await.unwrap_err();
    assert_eq!(refused.kind, RuntimeErrorKind::Start(StartFailure::FileSystem));
    assert!(refused.message.contains("namespace 'a_b'"), "{refused}");
    runtime.remove(first.instance).await.unwrap();
}

/// The engine is asked for the mount; whether it can be done is the kernel's and the server's to say.
async fn a_file_server(daemon: &Daemon) {
    let runtime = daemon.runtime();
    let mut job = workload(&["true"]);
    let mut shared = volume(VolumeKind::Volume, "127.0.0.1:/export/shop", Path::new("/shared"), Permission::ReadWrite);
    shared.driver = VolumeDriver::Nfs;
    Arc::make_mut(&mut job.spec).volumes = vec![shared];
    runtime.prepare(&job).await.unwrap();
    let name = daemon.docker(&["volume", "ls", "--quiet", "--filter", "label=ring_volume=127.0.0.1:/export/shop"]);
    let options = daemon.docker(&["volume", "inspect", "--format", "{{json .Options}}", &name]);
    assert_eq!(options, r#"{"device":":/export/shop","o":"addr=127.0.0.1,rw,nfsvers=4","type":"nfs"}"#);
    if fs::read_to_string("/proc/filesystems").unwrap().contains("nfs") {
        println!("not run: a mount of nfs that fails at once, as this kernel would try");
    } else {
        let refused = runtime.start(job.instance).await.unwrap_err();
        assert_eq!(refused.kind, RuntimeErrorKind::Start(StartFailure::FileSystem), "{refused}");
    }
    runtime.remove(job.instance).await.unwrap();
}

async fn secrets_reach_no_disk_and_outlive_the_agent(daemon: &mut Daemon) {
    let files = tempfile::tempdir_in("/dev/shm").unwrap();
    let at = files.path().to_owned();
    let open = |daemon: &Daemon| daemon.runtime_with(|config| config.files = Some(at.clone()));
    let job = with_files(&workload, FOREVER, Path::new("/etc/app.conf"), Path::new("/run/key"));
    launch(&open(daemon), &job).await;
    printed(&open(daemon), job.instance, "ready").await;
    let next = open(daemon);
    assert_eq!(run(&next, job.instance, &["cat", "/run/key"]).await.0, "hunter-2\n");
    next.prepare(&job).await.unwrap();
    if let Some(data) = daemon.data() {
        let grep = std::process::Command::new("grep").args(["-rl", "hunter-2"]).arg(data).output().unwrap();
        assert_eq!(String::from_utf8(grep.stdout).unwrap(), "", "a secret is on a disk");
    }
    let kept = files.path().join(job.instance.to_string());
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o700);
    // The daemon takes its containers down with it; what is left of them can be looked at and removed.
    if daemon.restart(Signal::TERM) {
        let next = open(daemon);
        assert!(matches!(next.inspect(job.instance).await.unwrap(), Observed::Exited { .. }));
        assert!(kept.exists());
    }
    let next = open(daemon);
    next.stop(job.instance, Span::seconds(10)).await.unwrap();
    next.remove(job.instance).await.unwrap();
    assert!(!kept.exists(), "the files of a removed instance are still there");
}
