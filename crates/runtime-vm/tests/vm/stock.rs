//! The runtime as a whole: the real VMM, the kernel of a distribution, our init, an image of a registry, a network, volumes.
//!
//! Where `RING_TEST_KERNEL` names the kernel and `RING_TEST_MODULES` its modules, separated by colons, in the order in which they
//! are loaded. `scripts/test-micro-vms` makes such a place out of any x86-64 Linux.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring_runtime::conformance::{self, exec::whole};
use ring_runtime::{ExecRequest, LogSource, Observed, Runtime, Workload};
use ring_runtime_vm::image::{EngineAt, ImagesConfig};
use ring_runtime_vm::net::NetworkConfig;
use ring_runtime_vm::shares::SharesConfig;
use ring_runtime_vm::{Host, Patience, VmConfig, VmRuntime};
use ring_types::{Memory, Outcome, Port, Protocol, Span, UnknownExit};

use crate::registry::{Registry, layered};
use crate::tiny;
use crate::world::{Boots, FOLLOW, FOREVER, World, outcome, printed, swept, within};

/// What an emulated processor needs for what a real one does at once.
const PATIENCE: Patience = Patience { call: Duration::from_mins(1), boot: Duration::from_mins(2), guest: Duration::from_mins(4) };

/// Memory of a guest: a kernel of a distribution is larger than one that was built for guests.
const MEMORY: Memory = Memory(256 << 20);

/// A host with a registry that has one image.
struct Stock {
    world: World,
    registry: Registry,
}

impl Stock {
    /// None, with a word on why, where there is no such kernel.
    fn new() -> Option<Self> {
        let Some(kernel) = std::env::var_os("RING_TEST_KERNEL") else {
            crate::loud::skipped("there is no whole kernel here; scripts/test-micro-vms runs the test where there is one");
            return None;
        };
        let binary = tiny::usable()?;
        let mut world = World::new(Boots::Nobody);
        let registry = Registry::start();
        registry.put("ring-test/busybox", "1", &busybox());
        let data = world.dir.path().join("data");
        world.config = VmConfig {
            binary,
            kernel: Some(kernel.into()),
            modules: modules(),
            cmdline: "mitigations=off".to_owned(),
            socket_dir: world.dir.path().join("s"),
            network: Some(NetworkConfig::new(data.join("network"))),
            shares: SharesConfig {
                program: std::env::var_os("RING_TEST_VIRTIOFSD").map(PathBuf::from),
                patience: Duration::from_mins(1),
                ..SharesConfig::new(data.join("volumes"))
            },
            images: ImagesConfig { engine: EngineAt::None, ..ImagesConfig::new(data.join("images")) },
            host: Host::this(),
            patience: PATIENCE,
            ..VmConfig::new(data)
        };
        Some(Self { world, registry })
    }

    async fn open(&self) -> VmRuntime {
        VmRuntime::new(self.world.config.clone()).await.unwrap()
    }

    fn workload(&self, command: &[&str]) -> Workload {
        let mut workload = self.world.workload(command);
        let spec = Arc::make_mut(&mut workload.spec);
        spec.image = format!("{}/ring-test/busybox:1", self.registry.address);
        spec.resources.limits.memory = Some(MEMORY);
        workload
    }

    fn shell(&self, script: &str) -> Workload {
        self.workload(&["sh", "-c", script])
    }

    /// It runs; how long that took is told.
    async fn launched(&self, runtime: &VmRuntime, workload: &Workload) {
        within(runtime.prepare(workload)).await.unwrap();
        let begun = Instant::now();
        let started = within(runtime.start(workload.instance)).await;
        started.unwrap_or_else(|error| panic!("{error}\n{}", self.console(workload)));
        println!("from start to a workload that runs: {:.1} s", begun.elapsed().as_secs_f32());
    }

    fn console(&self, workload: &Workload) -> String {
        let console = std::fs::read(self.world.file(workload.instance, "run/console")).unwrap_or_default();
        String::from_utf8_lossy(&console).into_owned()
    }

    /// Runs to its end, after which nothing of it is left.
    async fn ended(&self, runtime: &VmRuntime, workload: &Workload) -> Outcome {
        let outcome = outcome(runtime, workload.instance).await;
        swept(&self.world, runtime, workload.instance).await;
        outcome
    }
}

fn modules() -> Vec<PathBuf> {
    let named = std::env::var_os("RING_TEST_MODULES").unwrap_or_default();
    std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// An image with a shell, a page and a user in it.
fn busybox() -> crate::registry::Image {
    let found = ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|path| std::path::Path::new(path).exists());
    let busybox = std::fs::read(found.expect("the tests need a static busybox")).unwrap();
    let mut layer = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind: tar::EntryType, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(if kind == tar::EntryType::Symlink { 0 } else { content.len() as u64 });
        if kind == tar::EntryType::Symlink {
            layer.append_link(&mut header, name, "busybox").unwrap();
        } else {
            layer.append_data(&mut header, name, content).unwrap();
        }
    };
    add("bin/busybox", tar::EntryType::Regular, &busybox);
    for applet in APPLETS {
        add(&format!("bin/{applet}"), tar::EntryType::Symlink, b"");
    }
    add("etc/passwd", tar::EntryType::Regular, b"root:x:0:0:root:/root:/bin/sh\nann:x:1000:100:ann:/srv:/bin/sh\n");
    add("etc/group", tar::EntryType::Regular, b"root:x:0:\nusers:x:100:\n");
    add("srv/index.html", tar::EntryType::Regular, b"a page of the guest\n");
    let run = serde_json::json!({ "Cmd": ["sh"], "Env": ["PATH=/bin", "COLOUR=green"], "WorkingDir": "/srv" });
    layered(&run, &[layer.into_inner().unwrap()])
}

const APPLETS: [&str; 27] = [
    "sh", "sleep", "echo", "env", "true", "false", "cat", "id", "seq", "tail", "kill", "ls", "stty", "grep", "stat", "pwd",
    "mkdir", "wc", "setsid", "head", "uname", "ip", "httpd", "wget", "sed", "sync", "dd",
];

fn vm_lost() -> Outcome {
    Outcome::Unknown(UnknownExit::VmLost)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_with_its_own_code_and_both_outputs_come_apart() {
    let Some(stock) = Stock::new() else { return };
    let runtime = stock.open().await;
    let job = stock.shell("uname -r; pwd; echo $COLOUR; echo to the other >&2; exit 42");
    stock.launched(&runtime, &job).await;
    assert_eq!(stock.ended(&runtime, &job).await, Outcome::Code(42));
    let lines = conformance::lines(&runtime, job.instance, FOLLOW).await;
    let of = |source| {
        let lines = lines.iter().filter(move |line| line.source == source);
        lines.map(|line| String::from_utf8_lossy(&line.line).into_owned()).collect::<Vec<_>>()
    };
    let out = of(LogSource::Stdout);
    println!("the kernel of the guest: {}", out[0]);
    assert_eq!(
        (&out[1..], of(LogSource::Stderr)),
        (&["/srv".to_owned(), "green".to_owned()][..], vec!["to the other".to_owned()])
    );
    runtime.remove(job.instance).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_and_a_want_of_memory_are_told() {
    let Some(stock) = Stock::new() else { return };
    let runtime = stock.open().await;
    let job = stock.shell("kill -SEGV $$");
    stock.launched(&runtime, &job).await;
    assert_eq!(stock.ended(&runtime, &job).await, Outcome::Signal { signal: 11, oom_killed: false });
    let job = stock.shell("exec tail /dev/zero");
    stock.launched(&runtime, &job).await;
    assert_eq!(stock.ended(&runtime, &job).await, Outcome::Signal { signal: 9, oom_killed: true });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_runs_commands_goes_on_without_its_agent_and_is_stopped_in_its_grace() {
    let Some(stock) = Stock::new() else { return };
    let runtime = stock.open().await;
    let mut service = stock.shell(FOREVER);
    Arc::make_mut(&mut service.spec).config.user.id = Some(1000);
    stock.launched(&runtime, &service).await;
    printed(&runtime, service.instance, "ready").await;
    let command = ["sh", "-c", "echo in; id -un; echo err >&2; exit 7"].map(ToOwned::to_owned).to_vec();
    let run = ExecRequest { command, stdin: false, terminal: None };
    let begun = Instant::now();
    let told = within(async { whole(runtime.exec(service.instance, run.clone()).await.unwrap()).await }).await;
    println!("a command took {:?}", begun.elapsed());
    assert_eq!(told, ("in\nann\n".to_owned(), "err\n".to_owned(), 7));
    let used = within(runtime.stats(service.instance)).await.unwrap();
    assert!(used.memory > Memory(0) && used.memory < MEMORY && used.cpu_time_us > 0, "{used:?}");
    assert!(used.block_read.is_some_and(|bytes| bytes > 0), "{used:?}");

    drop(runtime);
    let runtime = stock.open().await;
    assert!(matches!(runtime.inspect(service.instance).await.unwrap(), Observed::Running { .. }));
    // Its guest is connected again when it has dialled.
    let told = within(async {
        loop {
            match runtime.exec(service.instance, run.clone()).await {
                Ok(session) => return whole(session).await,
                Err(error) => assert_eq!(error.kind, ring_runtime::RuntimeErrorKind::Unavailable, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(told.2, 7);
    let begun = Instant::now();
    within(runtime.stop(service.instance, Span::seconds(50))).await.unwrap();
    assert_eq!(stock.ended(&runtime, &service).await, Outcome::Code(4));
    println!("from stop to nothing left: {:.1} s", begun.elapsed().as_secs_f32());
    runtime.remove(service.instance).await.unwrap();
    stock.world.assert_no_process("");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_published_and_the_way_out_is_open() {
    let Some(stock) = Stock::new() else { return };
    let runtime = stock.open().await;
    let outside = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = outside.local_addr().unwrap().port();
    let script = format!(
        "gateway=$(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'); wget -q -O - http://$gateway:{port}/ && exec httpd -f -p 80"
    );
    let mut service = stock.shell(&script);
    let published = Port { published: 8080, target: 80, host_ip: "127.0.0.1".to_owned(), protocol: Protocol::Tcp };
    Arc::make_mut(&mut service.spec).ports = vec![published];
    let answering = std::thread::spawn(move || {
        let (mut client, address) = outside.accept().unwrap();
        let mut head = [0; 1024];
        let read = client.read(&mut head).unwrap();
        client.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\noutside\n").unwrap();
        (String::from_utf8_lossy(&head[..read]).into_owned(), address)
    });
    stock.launched(&runtime, &service).await;
    printed(&runtime, service.instance, "outside").await;
    let (asked, from) = answering.join().unwrap();
    assert!(asked.starts_with("GET / "), "{asked}");
    let Observed::Running { address, .. } = runtime.inspect(service.instance).await.unwrap() else { panic!("it does not run") };
    assert_eq!(address, Some(from.ip().to_string()));
    let page = within(async {
        loop {
            // The port is served before the guest's program is.
            let asked = tokio::task::spawn_blocking(page).await.unwrap();
            match asked {
                Ok(page) if !page.is_empty() => return page,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await;
    assert!(page.contains("200 OK") && page.ends_with("a page of the guest\n"), "{page}");
    let used = within(runtime.stats(service.instance)).await.unwrap();
    assert!(used.network_received.is_some_and(|bytes| bytes > 0) && used.network_sent.is_some_and(|bytes| bytes > 0), "{used:?}");
    within(runtime.stop(service.instance, Span::seconds(1))).await.unwrap();
    stock.ended(&runtime, &service).await;
    assert!(TcpStream::connect("127.0.0.1:8080").is_err(), "the port is still there");
    let listed = std::fs::read_dir("/sys/class/net").unwrap().flatten().map(|entry| entry.file_name());
    let taps: Vec<_> = listed.filter(|name| name.to_string_lossy().starts_with("rvm-")).collect();
    assert!(taps.is_empty(), "{taps:?}");
}

fn page() -> std::io::Result<String> {
    let mut stream = TcpStream::connect("127.0.0.1:8080")?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// Whatever takes the machine away under its workload.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_panics_begins_anew_or_is_killed_is_lost() {
    let Some(stock) = Stock::new() else { return };
    let runtime = stock.open().await;
    for (key, told) in [("c", "panicked"), ("b", "reset")] {
        let job = stock.shell(&format!("echo ready; sync; echo {key} > /proc/sysrq-trigger; sleep 1000"));
        stock.launched(&runtime, &job).await;
        assert_eq!(stock.ended(&runtime, &job).await, vm_lost(), "{told}");
        let detail = stock.world.record(job.instance, "exit")["detail"].to_string();
        assert!(detail.contains(told), "{detail}\n{}", stock.console(&job));
        println!("{detail}");
    }
    let job = stock.shell("echo ready; sleep 1000");
    stock.launched(&runtime, &job).await;
    stock.world.kill_vmm(job.instance, rustix::process::Signal::KILL);
    assert_eq!(stock.ended(&runtime, &job).await, vm_lost());
    stock.world.assert_no_process("");
}

/// The init says what it lacks: to the host, and where there is no way to that, on the console.
#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_that_lacks_something_is_told_with_its_name() {
    let Some(mut stock) = Stock::new() else { return };
    let all = modules();
    let without = |name: &str| all.iter().filter(|path| !path.to_string_lossy().contains(name)).cloned().collect();
    stock.world.config.modules = without("overlay");
    let runtime = stock.open().await;
    let job = stock.shell("true");
    runtime.prepare(&job).await.unwrap();
    within(runtime.start(job.instance)).await.unwrap();
    let Outcome::NotStarted { message, .. } = stock.ended(&runtime, &job).await else { panic!("it was started") };
    assert!(message.contains("overlay"), "{message}");
    println!("{message}");
    drop(runtime);

    stock.world.config.modules = without("vsock");
    let runtime = stock.open().await;
    let job = stock.shell("true");
    runtime.prepare(&job).await.unwrap();
    let error = within(runtime.start(job.instance)).await.unwrap_err();
    assert!(error.message.contains("the VMM ended") && error.message.contains("no way to the host"), "{error}");
    println!("{error}");
    stock.world.assert_no_process("");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_driver_does_this_one_does_with_a_whole_kernel() {
    let Some(stock) = Stock::new() else { return };
    let runtime = stock.open().await;
    conformance::check(&runtime, &|command| stock.workload(command)).await;
    stock.world.assert_no_process("");
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_are_as_with_every_driver_with_a_real_virtiofsd() {
    let Some(stock) = Stock::new() else { return };
    if stock.world.config.shares.program.is_none() {
        crate::loud::skipped("there is no virtiofsd here; set RING_TEST_VIRTIOFSD to where it is");
        return;
    }
    let runtime = stock.open().await;
    let dir = stock.world.dir.path().join("mounts");
    std::fs::create_dir(&dir).unwrap();
    conformance::mounts::check(&runtime, &|command| stock.workload(command), &dir).await;
    stock.world.assert_no_process("");
}
