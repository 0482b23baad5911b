//! A host for the runtime: directories of its own, and a stand-in for the VMM that boots what a test wants.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use ring_runtime::{LogRequest, Observed, Runtime, RuntimeError, Workload};
use ring_runtime_vm::shares::SharesConfig;
use ring_runtime_vm::{Host, Patience, RootImage, Roots, VmConfig, VmRuntime};
use ring_types::{DeploymentSpec, Generation, InstanceId, Kind, Memory, Name, Outcome, RuntimeKind};
use uuid::Uuid;

/// Longest wait for anything, also on a processor that is emulated.
pub(crate) const DEADLINE: Duration = Duration::from_mins(5);

/// Output to the end.
pub(crate) const FOLLOW: LogRequest = LogRequest { tail: None, since: None, follow: true };

/// A workload that runs until it is told to end.
pub(crate) const FOREVER: &str = "trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done";

const APPLETS: [&str; 20] = [
    "sh", "sleep", "echo", "env", "true", "false", "cat", "id", "seq", "tail", "kill", "ls", "stty", "grep", "stat", "pwd",
    "mkdir", "wc", "setsid", "head",
];

/// What is booted for an OCI image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boots {
    /// The real init.
    Init,
    /// Nothing: the test plays the guest.
    Nobody,
}

/// One host.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) config: VmConfig,
}

/// One root for all images.
struct OneRoot(PathBuf);

#[async_trait]
impl Roots for OneRoot {
    async fn ensure(&self, _: &Workload) -> Result<RootImage, RuntimeError> {
        let digest = "sha256:0000".to_owned();
        Ok(RootImage { disk: self.0.clone(), digest, env: vec!["PATH=/bin".to_owned()], ..RootImage::default() })
    }
}

impl World {
    pub(crate) fn new(boots: Boots) -> Self {
        Self::with(boots, &[])
    }

    /// With what the stand-in does wrong.
    pub(crate) fn with(boots: Boots, faults: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            fs::write(&path, name).unwrap();
            path
        };
        let config = VmConfig {
            binary: dir.path().join("vmm.sh"),
            kernel: Some(file("vmlinux")),
            kvm: file("kvm"),
            shares: SharesConfig {
                program: Some(dir.path().join("virtiofsd.sh")),
                ..SharesConfig::new(dir.path().join("volumes"))
            },
            socket_dir: dir.path().join("s"),
            host: Host { cpus: 64, memory: Memory(1 << 50) },
            network: None,
            keeper_command: vec![env!("CARGO_BIN_EXE_ring-vm-standin").into(), "--standin-keeper".into()],
            patience: Patience { call: Duration::from_secs(5), boot: Duration::from_secs(5), guest: Duration::from_secs(20) },
            ..VmConfig::new(dir.path().join("data"))
        };
        file("root.ext4");
        let world = Self { dir, config };
        world.install(boots, faults);
        let virtiofsd = format!("#!/bin/sh\nexec {} --standin-virtiofsd \"$@\"\n", env!("CARGO_BIN_EXE_ring-vm-standin"));
        world.program("virtiofsd.sh", &virtiofsd);
        world
    }

    fn program(&self, name: &str, script: &str) {
        // Renamed into its place: one that is being executed cannot be written to.
        let (fresh, path) = (self.dir.path().join("fresh"), self.dir.path().join(name));
        fs::write(&fresh, script).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(fresh, path).unwrap();
    }

    /// Puts the stand-in where the runtime finds its VMM. What runs already stays as it is.
    pub(crate) fn install(&self, boots: Boots, faults: &[&str]) {
        let mut script = format!("#!/bin/sh\nexec {}", env!("CARGO_BIN_EXE_ring-vm-standin"));
        if boots == Boots::Init {
            let root = self.dir.path().join("root");
            if !root.exists() {
                image(&root);
            }
            script += &[" --standin-root ", &root.display().to_string()].concat();
        }
        for fault in faults {
            script += &[" --standin-fault ", fault].concat();
        }
        script.push_str(" \"$@\"\n");
        self.program("vmm.sh", &script);
    }

    pub(crate) async fn open(&self) -> VmRuntime {
        let roots = Arc::new(OneRoot(self.dir.path().join("root.ext4")));
        VmRuntime::with_roots(self.config.clone(), roots).await.unwrap()
    }

    #[expect(clippy::unused_self, reason = "a workload of this world, whatever that is made of")]
    pub(crate) fn workload(&self, command: &[&str]) -> Workload {
        let name = |text| Name::new(text).unwrap();
        let mut spec = DeploymentSpec::new(name("ns"), name("job"), Kind::Job, RuntimeKind::CloudHypervisor, "test:1");
        spec.command = command.iter().map(ToString::to_string).collect();
        Workload {
            instance: InstanceId(Uuid::new_v4()),
            deployment: "00000000-0000-0000-0000-000000000001".parse().unwrap(),
            generation: Generation(1),
            spec: Arc::new(spec),
            environment: BTreeMap::new(),
            files: Vec::new(),
            registry: None,
        }
    }

    pub(crate) fn shell(&self, script: &str) -> Workload {
        self.workload(&["sh", "-c", script])
    }

    /// A file of an instance.
    pub(crate) fn file(&self, instance: InstanceId, name: &str) -> PathBuf {
        self.config.data_dir.join("instances").join(instance.to_string()).join(name)
    }

    /// A socket of an instance.
    pub(crate) fn socket(&self, instance: InstanceId, name: &str) -> PathBuf {
        self.config.socket_dir.join(instance.to_string()).join(name)
    }

    pub(crate) fn record(&self, instance: InstanceId, name: &str) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.file(instance, name)).unwrap()).unwrap()
    }

    /// The VMM's process.
    pub(crate) fn vmm(&self, instance: InstanceId) -> rustix::process::Pid {
        let pid = self.record(instance, "vmm")["process"]["pid"].as_i64().unwrap();
        rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    }

    pub(crate) fn kill_vmm(&self, instance: InstanceId, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.vmm(instance), signal).unwrap();
    }

    /// Calls the VMM, without waiting for an answer.
    pub(crate) fn call(&self, instance: InstanceId, call: &str) {
        let mut stream = UnixStream::connect(self.socket(instance, "api")).unwrap();
        write!(stream, "PUT /api/v1/{call} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    }

    /// The same, with the answer.
    pub(crate) fn ask(&self, instance: InstanceId, call: &str) -> String {
        let mut stream = UnixStream::connect(self.socket(instance, "api")).unwrap();
        write!(stream, "PUT /api/v1/{call} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Processes that have to do with this world.
    pub(crate) fn processes(&self) -> Vec<String> {
        let mark = self.dir.path().display().to_string();
        let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            entry.file_name().to_str()?.parse::<u32>().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        });
        lines.filter(|line| line.contains(&mark)).collect()
    }

    /// Nothing of this instance is left but, perhaps, its directory.
    pub(crate) fn assert_swept(&self, instance: InstanceId) {
        assert!(!self.socket(instance, "").exists(), "its sockets are still there");
        self.assert_no_process(&instance.to_string());
    }

    /// What is killed with its parent is gone a moment after it.
    pub(crate) fn assert_no_process(&self, mark: &str) {
        let begun = std::time::Instant::now();
        loop {
            let left: Vec<String> = self.processes().into_iter().filter(|line| line.contains(mark)).collect();
            if left.is_empty() {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "still there: {left:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A VMM outlives its agent, and a test may end with one that runs. It is a process of this world alone, whose directory is in its
/// arguments.
impl Drop for World {
    fn drop(&mut self) {
        let mark = self.dir.path().display().to_string();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(rustix::process::Pid::from_raw);
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if let Some(pid) = pid.filter(|_| String::from_utf8_lossy(&line).contains(&mark)) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// A root with a shell in it.
fn image(root: &Path) {
    let (bin, etc) = (root.join("bin"), root.join("etc"));
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(&etc).unwrap();
    let busybox = ["/usr/bin/busybox", "/bin/busybox"].iter().find(|path| Path::new(path).exists());
    fs::copy(busybox.expect("the tests need a static busybox (package busybox-static)"), bin.join("busybox")).unwrap();
    for applet in APPLETS {
        symlink("busybox", bin.join(applet)).unwrap();
    }
    fs::write(etc.join("passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
}

pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        crate::loud::skipped("guests need namespaces, and those need root");
    }
    root
}

pub(crate) async fn launch(runtime: &VmRuntime, workload: &Workload) {
    within(runtime.prepare(workload)).await.unwrap();
    within(runtime.start(workload.instance)).await.unwrap();
}

/// Waits for the end, by hints.
pub(crate) async fn outcome(runtime: &VmRuntime, instance: InstanceId) -> Outcome {
    within(async {
        let mut hints = runtime.hints();
        while hints.next().await.is_some() {
            if let Observed::Exited { outcome, .. } = runtime.inspect(instance).await.unwrap() {
                return outcome;
            }
        }
        unreachable!("hints have no end")
    })
    .await
}

/// Waits, by hints, until this is so.
pub(crate) async fn until(runtime: &VmRuntime, instance: InstanceId, wanted: impl Fn(&Observed) -> bool) {
    within(async {
        let mut hints = runtime.hints();
        while hints.next().await.is_some() {
            if wanted(&runtime.inspect(instance).await.unwrap()) {
                return;
            }
        }
    })
    .await;
}

/// The hint that nothing of an instance is left comes after its end.
pub(crate) async fn swept(world: &World, runtime: &VmRuntime, instance: InstanceId) {
    within(async {
        let mut hints = runtime.hints();
        while world.socket(instance, "").exists() {
            hints.next().await;
        }
    })
    .await;
    world.assert_swept(instance);
}

pub(crate) async fn texts(runtime: &VmRuntime, instance: InstanceId, request: LogRequest) -> Vec<String> {
    let lines = runtime.logs(instance, request).await.unwrap().map(Result::unwrap);
    let lines: Vec<_> = within(lines.collect()).await;
    lines.into_iter().map(|line| String::from_utf8_lossy(&line.line).into_owned()).collect()
}

pub(crate) async fn printed(runtime: &VmRuntime, instance: InstanceId, wanted: &str) {
    ring_runtime::conformance::printed(runtime, instance, wanted).await;
}

pub(crate) async fn within<T>(waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, waiting).await.expect("it did not happen in time")
}
