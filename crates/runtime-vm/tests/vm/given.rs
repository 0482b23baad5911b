//! What a guest is given: directories of the host, its seed disk, its network. All of it is gone when it is.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use ring_runtime::{MountedFile, Observed, Runtime, RuntimeErrorKind, Workload};
use ring_runtime_vm::net::NetworkConfig;
use ring_types::{
    DeploymentSpec, Outcome, Permission, Port, Protocol, Span, StartFailure, UnknownExit, Volume, VolumeDriver, VolumeKind,
};

use crate::apart::{apart, taps};
use crate::world::{Boots, FOLLOW, World, is_root, launch, outcome, printed, swept, texts, until, within};

/// Does what is seen of a `virtiofsd` from outside. Waits for a writer that never comes.
const SHARES: &str = r#"#!/bin/sh
[ "$1" = --version ] && { echo 'virtiofsd 1.13.0'; exit; }
while [ $# -gt 0 ]; do case $1 in --socket-path) socket=$2;; esac; shift; done
: > "$socket"; mkfifo "$0.fifo" 2>/dev/null; read nothing < "$0.fifo"
"#;

fn world() -> World {
    let mut world = World::new(Boots::Nobody);
    let program = world.dir.path().join("virtiofsd");
    fs::write(&program, SHARES).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    world.config.shares.program = Some(program);
    let seeds = world.dir.path().join("seeds");
    fs::create_dir(&seeds).unwrap();
    world.config.seed_dir = Some(seeds);
    world
}

/// A disk image that runs until it is ended.
fn disk(world: &World, change: impl FnOnce(&mut DeploymentSpec)) -> Workload {
    let path = world.dir.path().join("system.raw");
    fs::write(&path, "echo up; trap 'exit 0' TERM; while :; do sleep 0.05; done").unwrap();
    let mut workload = world.shell("is not run");
    let spec = Arc::make_mut(&mut workload.spec);
    spec.image = path.display().to_string();
    change(spec);
    workload
}

fn volume(kind: VolumeKind, source: &str, destination: &str) -> Volume {
    let (source, destination) = (source.to_owned(), destination.to_owned());
    Volume { kind, source, destination, key: None, driver: VolumeDriver::Local, permission: Permission::ReadOnly }
}

fn on_seed(path: &Path, name: &str) -> String {
    let disk = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let volume = fatfs::FileSystem::new(disk, fatfs::FsOptions::new()).unwrap();
    let mut text = String::new();
    volume.root_dir().open_file(name).unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Does a file below this directory have these bytes in it?
fn holds(dir: &Path, words: &str) -> Option<std::path::PathBuf> {
    fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()).find_map(|path| {
        if path.is_dir() {
            return holds(&path, words);
        }
        let content = if path.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        content.windows(words.len()).any(|window| window == words.as_bytes()).then_some(path)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_image_has_shares_and_a_seed_disk_while_it_runs() {
    if !is_root() {
        return;
    }
    let world = world();
    let runtime = world.open().await;
    let mut job = disk(&world, |spec| {
        spec.volumes = vec![volume(VolumeKind::Bind, "/etc", "/host/etc"), volume(VolumeKind::Secret, "key", "/run/key")];
    });
    job.environment = BTreeMap::from([("TOKEN".to_owned(), "s3cr3t-of-the-environment".to_owned())]);
    job.files = vec![MountedFile { destination: "/run/key".to_owned(), content: "s3cr3t-of-a-file".into(), secret: true }];
    launch(&runtime, &job).await;
    let seed = world.dir.path().join("seeds").join(job.instance.to_string());
    assert_eq!(on_seed(&seed, "ring-environment"), "TOKEN=\"s3cr3t-of-the-environment\"\n");
    assert_eq!(on_seed(&seed, "ring-file-0"), "s3cr3t-of-a-file");
    assert!(on_seed(&seed, "ring-setup.sh").contains("share 'ring0' ro '/host/etc'\n"));
    assert_eq!(holds(&world.config.data_dir, "s3cr3t"), None);
    assert!(world.socket(job.instance, "ring0").exists());
    within(runtime.stop(job.instance, Span::seconds(5))).await.unwrap();
    world.assert_swept(job.instance);
    assert!(!seed.exists() && !world.file(job.instance, "shares").exists());
    assert!(matches!(runtime.inspect(job.instance).await.unwrap(), Observed::Exited { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_cannot_be_had_is_told_and_leaves_nothing() {
    let world = world();
    let runtime = world.open().await;
    let place = world.dir.path().join("shown");
    let source = place.display().to_string();
    let job = disk(&world, |spec| spec.volumes = vec![volume(VolumeKind::Bind, &source, "/x")]);
    let told = |refused: ring_runtime::RuntimeError| {
        assert_eq!(refused.kind, RuntimeErrorKind::Start(StartFailure::FileSystem));
        assert!(refused.message.contains(&source), "{refused}");
    };
    told(runtime.prepare(&job).await.unwrap_err());
    assert_eq!(runtime.inspect(job.instance).await.unwrap(), Observed::Absent);
    // It goes after it was looked at.
    fs::create_dir(&place).unwrap();
    runtime.prepare(&job).await.unwrap();
    fs::remove_dir(&place).unwrap();
    told(within(runtime.start(job.instance)).await.unwrap_err());
    world.assert_swept(job.instance);
    assert_eq!(runtime.inspect(job.instance).await.unwrap(), Observed::Created);
}

/// The first `virtiofsd` of an instance.
fn kill_share(world: &World, job: &Workload) {
    let pid = world.record(job.instance, "shares/ring0.json")["process"]["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// What it would touch next hangs for ever: it ends, and its log says why. Also when nobody looked at the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_whose_virtiofsd_dies_is_lost_with_a_word_on_why() {
    if !is_root() {
        return;
    }
    let world = World::new(Boots::Init);
    for agent_is_away in [false, true] {
        let mut runtime = world.open().await;
        let mut job = world.shell("echo ready; exec sleep 1000");
        Arc::make_mut(&mut job.spec).volumes = vec![volume(VolumeKind::Bind, "/etc", "/host/etc")];
        launch(&runtime, &job).await;
        printed(&runtime, job.instance, "ready").await;
        if agent_is_away {
            drop(runtime);
            kill_share(&world, &job);
            runtime = world.open().await;
        } else {
            kill_share(&world, &job);
        }
        assert_eq!(outcome(&runtime, job.instance).await, Outcome::Unknown(UnknownExit::VmLost));
        swept(&world, &runtime, job.instance).await;
        let told = texts(&runtime, job.instance, FOLLOW).await;
        let told = told.iter().find(|line| line.contains("virtiofsd")).unwrap_or_else(|| panic!("{told:?}"));
        assert!(told.contains("'/host/etc' has ended") && told.contains("not known"), "{told}");
        runtime.remove(job.instance).await.unwrap();
    }
    world.assert_no_process("");
}

/// It goes with its VM: that is no loss.
#[tokio::test(flavor = "multi_thread")]
async fn a_virtiofsd_that_ends_with_its_guest_is_no_loss() {
    if !is_root() {
        return;
    }
    let world = world();
    let runtime = world.open().await;
    let go = world.dir.path().join("go");
    let job = disk(&world, |spec| spec.volumes = vec![volume(VolumeKind::Bind, "/etc", "/host/etc")]);
    fs::write(&job.spec.image, format!("while [ ! -e {0} ]; do sleep 0.01; done; kill -9 $(cat {0}); exit 0", go.display()))
        .unwrap();
    launch(&runtime, &job).await;
    let pid = world.record(job.instance, "shares/ring0.json")["process"]["pid"].to_string();
    fs::write(go.with_extension("new"), pid).unwrap();
    fs::rename(go.with_extension("new"), go).unwrap();
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(0));
    swept(&world, &runtime, job.instance).await;
    runtime.remove(job.instance).await.unwrap();
}

fn is_free(port: u16) -> bool {
    std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()
}

#[test]
fn its_network_stays_over_a_restart_of_the_agent_and_ends_with_it() {
    apart(|| async {
        let mut world = world();
        world.config.network = Some(NetworkConfig::new(world.dir.path().join("net")));
        let port = Port { published: 8080, target: 80, host_ip: "127.0.0.1".to_owned(), protocol: Protocol::Tcp };
        let job = disk(&world, |spec| spec.ports = vec![port.clone()]);
        let second = disk(&world, |spec| spec.ports = vec![port]);
        let runtime = world.open().await;
        launch(&runtime, &job).await;
        let Observed::Running { address: Some(address), .. } = runtime.inspect(job.instance).await.unwrap() else {
            panic!("it has no address")
        };
        assert_eq!(taps(), 1);
        runtime.prepare(&second).await.unwrap();
        let refused = within(runtime.start(second.instance)).await.unwrap_err();
        assert_eq!(refused.kind, RuntimeErrorKind::Start(StartFailure::Network));
        assert!(refused.message.contains("127.0.0.1:8080/tcp"), "{refused}");
        assert_eq!(taps(), 1, "nothing is left of what was refused");
        drop(runtime);
        within(async {
            while !is_free(8080) {
                tokio::task::yield_now().await;
            }
        })
        .await;

        let runtime = world.open().await;
        until(&runtime, job.instance, |seen| matches!(seen, Observed::Running { .. })).await;
        within(async {
            while is_free(8080) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let Observed::Running { address: same, .. } = runtime.inspect(job.instance).await.unwrap() else {
            panic!("it does not run")
        };
        assert_eq!(same, Some(address));
        within(runtime.stop(job.instance, Span::seconds(5))).await.unwrap();
        world.assert_swept(job.instance);
        assert_eq!((taps(), is_free(8080)), (0, true));
        assert_eq!(fs::read_dir(world.dir.path().join("net")).unwrap().count(), 0);
        for instance in [job.instance, second.instance] {
            runtime.remove(instance).await.unwrap();
        }
    });
}

/// As in a rolling update of a deployment that publishes a port: the next one has it as soon as the one before is stopped.
#[test]
fn a_port_goes_from_one_instance_to_the_next() {
    apart(|| async {
        let mut world = world();
        world.config.network = Some(NetworkConfig::new(world.dir.path().join("net")));
        let ports: Vec<Port> = [(8080, Protocol::Tcp), (8053, Protocol::Udp)]
            .map(|(published, protocol)| Port { published, target: 80, host_ip: "127.0.0.1".to_owned(), protocol })
            .into();
        let runtime = world.open().await;
        let mut old = disk(&world, |spec| spec.ports.clone_from(&ports));
        launch(&runtime, &old).await;
        for _ in 0..5 {
            let new = disk(&world, |spec| spec.ports.clone_from(&ports));
            within(runtime.prepare(&new)).await.unwrap();
            assert!(!is_free(8080), "the old one has its port while the new one is made");
            within(runtime.stop(old.instance, Span::seconds(5))).await.unwrap();
            within(runtime.start(new.instance)).await.unwrap();
            assert!(!is_free(8080), "the new one has it when it runs");
            assert!(std::net::UdpSocket::bind("127.0.0.1:8053").is_err());
            assert_eq!(taps(), 1, "the old one has nothing of the network any more");
            within(runtime.remove(old.instance)).await.unwrap();
            old = new;
        }
        within(runtime.stop(old.instance, Span::seconds(5))).await.unwrap();
        assert!(is_free(8080));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn where_guests_have_no_network_nothing_is_published() {
    let world = world();
    let runtime = world.open().await;
    let port = Port { published: 8080, target: 80, host_ip: "127.0.0.1".to_owned(), protocol: Protocol::Tcp };
    let job = disk(&world, |spec| spec.ports = vec![port]);
    let refused = runtime.prepare(&job).await.unwrap_err();
    assert_eq!(refused.kind, RuntimeErrorKind::Start(StartFailure::Network));
    assert!(refused.message.contains("network.enabled"), "{refused}");
    assert_eq!(runtime.inspect(job.instance).await.unwrap(), Observed::Absent);
}
