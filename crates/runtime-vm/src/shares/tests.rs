//! Shares, with the real `virtiofsd` where there is one, and with a stand-in everywhere.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use ring_types::{Kind, Name, Permission, RuntimeKind, Volume, VolumeDriver, VolumeKind};

use super::*;
use ring_runtime_host::proc;

const INSTANCE: &str = "01890000-0000-7000-8000-0000deadbeef";

/// A host with directories of its own.
struct World {
    dir: tempfile::TempDir,
    config: SharesConfig,
}

impl World {
    /// With a program in place of `virtiofsd`, which is told what the real one is.
    fn new(script: &str) -> Self {
        let mut world = Self::bare();
        let program = world.dir.path().join("virtiofsd");
        fs::write(&program, format!("#!/bin/sh\n[ \"$1\" = --version ] && {{ echo 'virtiofsd 1.13.0'; exit; }}\n{script}\n"))
            .expect("a script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
        world.config.program = Some(program);
        world
    }

    /// With the real one; None and a word about it where there is none.
    async fn real() -> Option<Self> {
        let world = Self::bare();
        let missing = match find(&world.config) {
            Ok(program) => version(&program).await.err(),
            Err(missing) => Some(missing),
        };
        if let Some(missing) = &missing {
            println!("NOT RUN: {missing}");
        }
        missing.is_none().then_some(world)
    }

    fn bare() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["instance", "sockets", "host/inner"] {
            fs::create_dir_all(dir.path().join(name)).expect("a directory");
        }
        fs::write(dir.path().join("host/one"), "1").expect("a file");
        fs::write(dir.path().join("host/two"), "2").expect("a file");
        let config = SharesConfig { patience: Duration::from_secs(30), ..SharesConfig::new(dir.path().join("volumes")) };
        Self { dir, config }
    }

    fn places(&self) -> (PathBuf, PathBuf) {
        (self.dir.path().join("instance"), self.dir.path().join("sockets"))
    }

    async fn start(&self, spec: &DeploymentSpec) -> Result<Vec<Share>, RuntimeError> {
        let (instance, sockets) = self.places();
        let places = Places { instance: &instance, sockets: &sockets };
        start(&self.config, places, INSTANCE.parse().expect("an id"), spec).await
    }

    async fn stop(&self) {
        let (instance, sockets) = self.places();
        stop(Places { instance: &instance, sockets: &sockets }, INSTANCE.parse().expect("an id")).await.expect("it is gone");
        assert!(!instance.join("shares").exists());
        assert_eq!(fs::read_dir(&sockets).expect("the directory").count(), 0);
    }

    fn alive(&self) -> Vec<Share> {
        let (instance, sockets) = self.places();
        alive(Places { instance: &instance, sockets: &sockets })
    }

    fn host(&self, name: &str) -> String {
        self.dir.path().join("host").join(name).display().to_string()
    }
}

fn volume(kind: VolumeKind, source: &str, destination: &str, permission: Permission) -> Volume {
    let (source, destination) = (source.to_owned(), destination.to_owned());
    Volume { kind, source, destination, key: None, driver: VolumeDriver::Local, permission }
}

fn spec(volumes: Vec<Volume>) -> DeploymentSpec {
    let name = |text: &str| Name::new(text).expect("a name");
    let mut spec = DeploymentSpec::new(name("shop"), name("web"), Kind::Worker, RuntimeKind::CloudHypervisor, "app:1");
    spec.volumes = volumes;
    spec
}

/// Does what is seen of a `virtiofsd` from outside. Waits for a writer that never comes.
const SERVES: &str = r#"while [ $# -gt 0 ]; do case $1 in --socket-path) socket=$2;; esac; shift; done
    : > "$socket"; : > "$socket.pid"; mkfifo "$0.fifo" 2>/dev/null; read nothing < "$0.fifo""#;

#[tokio::test]
async fn every_kind_of_volume_becomes_a_share_and_configs_and_secrets_do_not() {
    if !rustix::process::geteuid().is_root() {
        println!("NOT RUN: mount namespaces need root");
        return;
    }
    let world = World::new(SERVES);
    let mut spec = spec(vec![
        volume(VolumeKind::Bind, &world.host(""), "/host", Permission::ReadWrite),
        volume(VolumeKind::Config, "settings", "/etc/app", Permission::ReadOnly),
        volume(VolumeKind::Bind, &world.host("one"), "/one", Permission::ReadOnly),
        volume(VolumeKind::Volume, "data", "/data", Permission::ReadWrite),
        volume(VolumeKind::Secret, "token", "/run/token", Permission::ReadOnly),
        volume(VolumeKind::Volume, "", "/scratch", Permission::ReadWrite),
    ]);
    spec.config.user.id = Some(1234);
    assert!(needed(&spec));
    let shares = world.start(&spec).await.unwrap();
    let told: Vec<_> = shares.iter().map(|one| (&*one.tag, &*one.path, &*one.destination, one.read_only)).collect();
    let expected = [
        ("ring0", "", "/host", false),
        ("ring2", "one", "/one", true),
        ("ring3", "", "/data", false),
        ("ring5", "", "/scratch", false),
    ];
    assert_eq!(told, expected);
    assert_eq!(world.alive(), shares);
    for volume in ["volumes/shop/data", "instance/volumes/5"] {
        assert_eq!(fs::metadata(world.dir.path().join(volume)).unwrap().uid(), 1234, "{volume}");
    }
    let again = world.start(&spec).await.unwrap();
    assert!(shares.iter().all(|share| proc::stat(share.pid).is_none_or(|stat| stat.zombie)), "the first ones are gone");
    assert_eq!(again.len(), 4);
    world.stop().await;
    world.stop().await;
    assert!(again.iter().all(|share| proc::stat(share.pid).is_none_or(|stat| stat.zombie)));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&world.dir.path().display().to_string()), "the host has no mount of it");
}

#[tokio::test]
async fn what_stands_in_the_way_is_named() {
    let world = World::new("echo 'no such luck' >&2; exit 1");
    let of = |volume| spec(vec![volume]);
    let read = Permission::ReadOnly;
    let missing = world.start(&of(volume(VolumeKind::Bind, "/no/such/path", "/x", read))).await.unwrap_err();
    assert!(missing.message.contains("/no/such/path") && missing.message.contains("placement.nodes"), "{missing}");
    let device = world.start(&of(volume(VolumeKind::Bind, "/dev/null", "/x", read))).await.unwrap_err();
    assert!(device.message.contains("/dev/null") && device.message.contains("neither"), "{device}");
    let nfs = Volume { driver: VolumeDriver::Nfs, ..volume(VolumeKind::Volume, "files.example:/srv", "/x", read) };
    let nfs = world.start(&of(nfs)).await.unwrap_err();
    assert_eq!(nfs.kind, RuntimeErrorKind::Start(StartFailure::FileSystem));
    assert!(nfs.message.contains("nfs"), "{nfs}");
    let none = World { config: SharesConfig { program: Some("/no/virtiofsd".into()), ..world.config.clone() }, ..World::bare() };
    let none = none.start(&of(volume(VolumeKind::Bind, "/etc", "/x", read))).await.unwrap_err();
    assert!(none.message.contains("/no/virtiofsd") && none.message.contains("install"), "{none}");
    if rustix::process::geteuid().is_root() {
        let dies = world.start(&of(volume(VolumeKind::Bind, "/etc", "/x", read))).await.unwrap_err();
        assert!(dies.message.contains("/etc") && dies.message.contains("no such luck"), "{dies}");
        assert!(world.alive().is_empty());
        let mut silent = World::new("exec sleep 1000");
        silent.config.patience = Duration::from_millis(200);
        let silent = silent.start(&of(volume(VolumeKind::Bind, "/etc", "/x", read))).await.unwrap_err();
        assert!(silent.message.contains("does not listen"), "{silent}");
    }
    assert_eq!(world.start(&spec(Vec::new())).await.unwrap(), []);
}

#[tokio::test]
async fn the_older_program_of_the_same_name_is_refused() {
    let world = World::bare();
    let program = world.dir.path().join("virtiofsd");
    let old = "#!/bin/sh\necho 'virtiofsd version 7.2.0 (Debian)'\necho 'using FUSE kernel interface version 7.36'\n";
    fs::write(&program, old).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = version(&program).await.unwrap_err();
    assert!(refused.contains("in C") && refused.contains(&program.display().to_string()), "{refused}");
}

#[tokio::test]
async fn one_that_nobody_wrote_down_is_ended_too() {
    if !rustix::process::geteuid().is_root() {
        println!("NOT RUN: mount namespaces need root");
        return;
    }
    let world = World::new(SERVES);
    let spec = spec(vec![volume(VolumeKind::Bind, &world.host(""), "/host", Permission::ReadWrite)]);
    let shares = world.start(&spec).await.unwrap();
    fs::remove_file(world.dir.path().join("instance/shares/ring0.json")).unwrap();
    assert_eq!(world.alive(), []);
    world.stop().await;
    assert!(proc::stat(shares[0].pid).is_none_or(|stat| stat.zombie));
}

#[tokio::test]
async fn the_real_one_serves_what_it_was_told_and_nothing_else() {
    let Some(world) = World::real().await else { return };
    let spec = spec(vec![
        volume(VolumeKind::Bind, &world.host(""), "/host", Permission::ReadWrite),
        volume(VolumeKind::Bind, &world.host("one"), "/one", Permission::ReadOnly),
    ]);
    let shares = world.start(&spec).await.unwrap();
    assert!(fs::metadata(&shares[0].socket).unwrap().mode() & 0o170_000 == 0o140_000, "it is a socket");
    let processes: Vec<_> = shares.iter().map(|share| proc::with_argument(share.socket.as_os_str())).collect();
    // What it sees once it is locked in. The process that is locked in is the youngest.
    let seen = |all: &[proc::ProcessId]| {
        let inner = all.iter().max_by_key(|process| process.start).expect("it runs");
        let root = format!("/proc/{}/root", inner.pid);
        let mut names: Vec<_> = fs::read_dir(&root)
            .expect("its root")
            .flatten()
            .map(|entry| entry.file_name().into_string().expect("a name"))
            .collect();
        names.sort();
        (root, names)
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while seen(&processes[1]).1 != ["one"] {
        assert!(std::time::Instant::now() < deadline, "it sees {:?}", seen(&processes[1]));
        tokio::task::yield_now().await;
    }
    let (root, names) = seen(&processes[0]);
    assert_eq!(names, ["inner", "one", "two"]);
    fs::write(format!("{root}/new"), "3").unwrap();
    assert_eq!(fs::read_to_string(world.host("new")).unwrap(), "3");
    let refused = fs::write(format!("{}/one", seen(&processes[1]).0), "x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(world.alive(), shares);
    world.stop().await;
    for process in processes.into_iter().flatten() {
        tokio::time::timeout(Duration::from_secs(30), proc::gone(process)).await.expect("all of it ends");
    }
    assert_eq!(fs::read_to_string(world.host("one")).unwrap(), "1");
}
