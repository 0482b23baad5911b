//! What a guest is given: directories of the host, its seed disk, its network. All of it is gone when it is.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use ring_runtime::{MountedFile, Observed, Runtime, RuntimeErrorKind, Workload};
use ring_runtime_vm::net::NetworkConfig;
use ring_types::{DeploymentSpec, Permission, Port, Protocol, Span, StartFailure, Volume, VolumeDriver, VolumeKind};
use rustix::thread::UnshareFlags;

use crate::world::{Boots, World, is_root, launch, until, within};

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

#[expect(deprecated, reason = "its successor is unsafe for the sake of another flag than this one")]
fn leave_the_network() -> std::io::Result<()> {
    Ok(rustix::thread::unshare(UnshareFlags::NEWNET)?)
}

/// Runs a test where there is no network but a loopback.
fn apart<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let done = std::thread::spawn(move || {
        if let Err(error) = leave_the_network() {
            crate::loud::skipped(&format!("no network namespace can be made here: {error}"));
            return;
        }
        if !Path::new("/dev/net/tun").exists() {
            crate::loud::skipped("there is no /dev/net/tun");
            return;
        }
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.unwrap().success());
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    });
    done.join().unwrap();
}

fn taps() -> usize {
    let listed = std::process::Command::new("ip").args(["-o", "link", "show"]).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).matches(": rvm-").count()
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
