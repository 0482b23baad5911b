//! The init as a process of this host, in namespaces of its own, and a host for it to talk to.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is test code, which clippy sees only in test functions; not every test needs all of it"
)]

#[path = "../../static_build.rs"]
mod static_build;

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ring_guest::{
    End, Exec, Failed, Hello, Source, Start, State, TerminalSize, ToGuest, ToHost, VERSION, Welcome, read_frame, write_frame,
};

/// Longest wait for anything.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Hardware address of the device a guest with a network finds.
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];

const APPLETS: [&str; 24] = [
    "sh", "sleep", "echo", "env", "true", "false", "cat", "id", "seq", "tail", "kill", "ls", "stty", "grep", "stat", "pwd", "ip",
    "hostname", "wc", "setsid", "yes", "head", "touch", "ps",
];

/// The init as a micro-VM has it: static, as it executes itself in a root that has no libraries.
fn init() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let whom = if cfg!(debug_assertions) { static_build::For::Debug } else { static_build::For::Release };
        static_build::build(&manifest, &target, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("init"), whom).unwrap()
    })
}

/// An init that runs.
pub(crate) struct Guest {
    child: Child,
    listener: UnixListener,
    pub(crate) dir: tempfile::TempDir,
}

impl Guest {
    /// None, with a word on why, where namespaces cannot be made.
    pub(crate) fn start(shares: &[(&str, &Path)]) -> Option<Self> {
        Self::start_after("true", shares)
    }

    /// With something done in its namespaces before.
    pub(crate) fn start_after(before: &str, shares: &[(&str, &Path)]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            // Past the harness, which keeps what is printed of tests that pass.
            let _ = std::io::stderr().write_all(b"\nSKIPPED: init of micro-VMs: namespaces of their own need root\n");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        image(&root);
        let listener = UnixListener::bind(dir.path().join("host.sock")).unwrap();
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net", "sh", "-c"])
            .args([&format!("{before} && exec \"$@\""), "sh"])
            .arg(init())
            .arg("--test-socket")
            .arg(dir.path().join("host.sock"))
            .arg("--test-root")
            .arg(root)
            .stdin(Stdio::null());
        for (tag, path) in shares {
            command.arg("--test-share").arg(format!("{tag}={}", path.display()));
        }
        Some(Self { child: command.spawn().unwrap(), listener, dir })
    }

    /// Takes its next call, and has its first words.
    pub(crate) fn call(&self) -> (Host, Hello) {
        self.listener.set_nonblocking(true).unwrap();
        let begun = Instant::now();
        let stream = loop {
            match self.listener.accept() {
                Ok((stream, _)) => break stream,
                Err(_) => assert!(begun.elapsed() < DEADLINE, "the guest does not call"),
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut host = Host { stream, output: Vec::new(), end: 0 };
        match host.receive() {
            ToHost::Hello(hello) => (host, hello),
            other => panic!("it begins with {other:?}"),
        }
    }

    /// The same, answered.
    pub(crate) fn talk(&self, offset: u64) -> (Host, Hello) {
        let (mut host, hello) = self.call();
        assert_eq!(hello.version, VERSION);
        host.end = offset;
        host.send(&ToGuest::Welcome(Welcome { version: VERSION, offset }));
        (host, hello)
    }

    /// A first conversation in which this is started.
    pub(crate) fn launch(&self, start: Start) -> Host {
        let (mut host, hello) = self.talk(0);
        assert_eq!(hello.state, State::Waiting);
        host.send(&ToGuest::Start(Box::new(start)));
        host
    }

    /// Waits until it is gone, as after a power-off.
    pub(crate) fn gone(mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < DEADLINE, "the guest does not power off");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The host's side of one connection.
pub(crate) struct Host {
    pub(crate) stream: UnixStream,
    /// Output that came, by source, in order.
    pub(crate) output: Vec<(Source, Vec<u8>)>,
    /// Place after it.
    pub(crate) end: u64,
}

impl Host {
    pub(crate) fn send(&mut self, message: &ToGuest) {
        write_frame(&mut self.stream, message).unwrap();
    }

    /// The next frame.
    pub(crate) fn receive(&mut self) -> ToHost {
        read_frame(&mut self.stream).unwrap().expect("the guest hung up")
    }

    /// The next frame that is neither output nor figures; output is kept and acknowledged.
    pub(crate) fn next(&mut self) -> ToHost {
        loop {
            match self.receive() {
                ToHost::Output { source, offset, bytes } => self.keep(source, offset, bytes, true),
                ToHost::Heartbeat(_) => {}
                other => return other,
            }
        }
    }

    pub(crate) fn keep(&mut self, source: Source, offset: u64, bytes: Vec<u8>, acknowledged: bool) {
        assert_eq!(offset, self.end, "the output has a gap or repeats itself");
        assert!(!bytes.is_empty() && bytes.len() <= ring_guest::CHUNK);
        self.end += bytes.len() as u64;
        match self.output.last_mut().filter(|last| last.0 == source) {
            Some(last) => last.1.extend_from_slice(&bytes),
            None => self.output.push((source, bytes)),
        }
        if acknowledged {
            self.send(&ToGuest::OutputAck { offset: self.end });
        }
    }

    pub(crate) fn started(&mut self) -> u32 {
        match self.next() {
            ToHost::Started { pid, at } => {
                assert!(at > 1_600_000_000_000);
                pid
            }
            other => panic!("it does not start: {other:?}"),
        }
    }

    /// Reads on to the end.
    pub(crate) fn ended(&mut self) -> End {
        loop {
            match self.next() {
                ToHost::Ended(end) => return end,
                ToHost::Started { .. } => {}
                other => panic!("it does not end: {other:?}"),
            }
        }
    }

    pub(crate) fn code(&mut self) -> i32 {
        match self.ended() {
            End::Exited { code, .. } => code,
            other => panic!("it ended otherwise: {other:?}"),
        }
    }

    pub(crate) fn failed(&mut self) -> Failed {
        match self.next() {
            ToHost::Failed(failed) => failed,
            other => panic!("it did not fail: {other:?}"),
        }
    }

    /// Reads on until this is printed.
    pub(crate) fn printed(&mut self, wanted: &str) {
        while !self.text(Source::Stdout).contains(wanted) {
            match self.receive() {
                ToHost::Output { source, offset, bytes } => self.keep(source, offset, bytes, true),
                ToHost::Heartbeat(_) | ToHost::Started { .. } => {}
                other => panic!("{other:?} came before {wanted:?}"),
            }
        }
    }

    pub(crate) fn text(&self, wanted: Source) -> String {
        let all = self.output.iter().filter(|(source, _)| *source == wanted).flat_map(|(_, bytes)| bytes.clone());
        String::from_utf8(all.collect()).unwrap()
    }

    /// Runs a command to its end: standard output, standard error, code.
    pub(crate) fn run(&mut self, words: &[&str]) -> (String, String, i32) {
        self.send(&ToGuest::Exec { id: 1, exec: exec(words) });
        self.finish(1)
    }

    /// Reads on to the end of a command.
    pub(crate) fn finish(&mut self, wanted: u32) -> (String, String, i32) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        loop {
            match self.next() {
                ToHost::ExecOutput { id, source, bytes } if id == wanted => {
                    self.send(&ToGuest::ExecTaken { id, bytes: bytes.len() as u32 });
                    if source == Source::Stdout { &mut out } else { &mut err }.extend(bytes);
                }
                ToHost::ExecExited { id, code } if id == wanted => {
                    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
                    return (text(out), text(err), code);
                }
                ToHost::ExecTaken { .. } => {}
                other => panic!("{other:?} came before the end of command {wanted}"),
            }
        }
    }
}

/// A start of these words, as root, without anything else.
pub(crate) fn start(words: &[&str]) -> Start {
    Start { argv: words.iter().map(ToString::to_string).collect(), ..Start::default() }
}

pub(crate) fn shell(script: &str) -> Start {
    start(&["sh", "-c", script])
}

/// Runs until it is told to end.
pub(crate) fn lasting() -> Start {
    shell("trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done")
}

pub(crate) fn exec(words: &[&str]) -> Exec {
    Exec { argv: words.iter().map(ToString::to_string).collect(), stdin: false, terminal: None }
}

pub(crate) fn on_terminal(words: &[&str], rows: u16, columns: u16) -> Exec {
    Exec { terminal: Some(TerminalSize { rows, columns }), stdin: true, ..exec(words) }
}

/// A root with a shell in it.
fn image(root: &Path) {
    let (bin, etc) = (root.join("bin"), root.join("etc"));
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(&etc).unwrap();
    std::fs::copy(busybox(), bin.join("busybox")).unwrap();
    for applet in APPLETS {
        symlink("busybox", bin.join(applet)).unwrap();
    }
    std::fs::write(bin.join("no-program"), "this is none").unwrap();
    std::fs::write(etc.join("passwd"), "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100:Ann:/home/ann:/bin/sh\n").unwrap();
    std::fs::write(etc.join("group"), "root:x:0:\nusers:x:100:\nwheel:x:10:ann\n").unwrap();
    symlink("/run/nowhere/resolv.conf", etc.join("resolv.conf")).unwrap();
}

fn busybox() -> PathBuf {
    let found = ["/usr/bin/busybox", "/bin/busybox"].iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("the tests need a static busybox (package busybox-static)")
}
