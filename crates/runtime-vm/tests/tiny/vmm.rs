//! The real VMM, driven over its socket.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest wait for anything.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Goes when it is dropped, with its machine.
pub(crate) struct Vmm {
    child: Child,
    dir: tempfile::TempDir,
    /// Where the guest calls.
    pub(crate) listener: UnixListener,
    pub(crate) since: Instant,
}

/// The real one, where it is.
pub(crate) fn program() -> Option<PathBuf> {
    let named = std::env::var_os("RING_TEST_CLOUD_HYPERVISOR").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    named.or_else(|| std::env::split_paths(&path).map(|dir| dir.join("cloud-hypervisor")).find(|path| path.exists()))
}

/// The real one, where it and the kernel's device are. Else None, with a word on why.
pub(crate) fn usable() -> Option<PathBuf> {
    let found = program();
    if found.is_none() {
        crate::loud::skipped("there is no cloud-hypervisor here; set RING_TEST_CLOUD_HYPERVISOR to where it is");
    } else if File::options().read(true).write(true).open("/dev/kvm").is_err() {
        crate::loud::skipped("/dev/kvm is not there or not ours");
        return None;
    }
    found
}

/// The guest, built anew.
pub(crate) fn kernel(dir: &Path) -> Option<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny/guest");
    let kernel = dir.join("kernel");
    let built = Command::new("cc")
        .args(["-m64", "-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-nostdlib", "-static"])
        .args(["-fno-stack-protector", "-fno-pic", "-fno-pie", "-mno-red-zone", "-mgeneral-regs-only"])
        .args(["-Wl,--no-warn-rwx-segments", "-Wl,--build-id=none", "-Wl,-T"])
        .arg(sources.join("link.ld"))
        .arg("-o")
        .arg(&kernel)
        .args([sources.join("start.S"), sources.join("guest.c")])
        .output();
    let Ok(output) = built else {
        crate::loud::skipped("there is no C compiler here");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(kernel)
}

impl Vmm {
    /// Boots the guest with this command line. None, with a word on why, where that cannot be.
    pub(crate) fn boot(cmdline: &str) -> Option<Self> {
        let program = usable()?;
        let dir = tempfile::tempdir().unwrap();
        let kernel = kernel(dir.path())?;
        let listener = UnixListener::bind(dir.path().join("vsock_1024")).unwrap();
        let since = Instant::now();
        let child = Command::new(program)
            .arg("--api-socket")
            .arg(dir.path().join("api"))
            .stdin(Stdio::null())
            .stdout(File::create(dir.path().join("console")).unwrap())
            .stderr(File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let vmm = Self { child, dir, listener, since };
        vmm.up();
        let config = json!({
            "payload": {"kernel": kernel, "cmdline": cmdline},
            "cpus": {"boot_vcpus": 1, "max_vcpus": 1},
            "memory": {"size": 128 << 20},
            "vsock": {"cid": 3, "socket": vmm.dir.path().join("vsock")},
            "serial": {"mode": "Tty"},
            "console": {"mode": "Off"},
        });
        vmm.call("vm.create", Some(&config));
        vmm.call("vm.boot", None);
        Some(vmm)
    }

    /// Waits until it answers.
    fn up(&self) {
        let asked = || self.ask("GET", "vmm.ping", None).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"));
        while !asked() {
            assert!(self.since.elapsed() < DEADLINE, "the VMM does not come up: {}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn call(&self, what: &str, body: Option<&Value>) {
        let answer = self.ask("PUT", what, body).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{what}: {answer}\n{}", self.log());
    }

    fn ask(&self, method: &str, what: &str, body: Option<&Value>) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.dir.path().join("api"))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let length = body.len();
        write!(stream, "{method} /api/v1/{what} HTTP/1.1\r\nHost: vmm\r\n{kind}Content-Length: {length}\r\n\r\n{body}")?;
        // The head comes in one piece, and says enough.
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it is gone, with its machine.
    pub(crate) fn gone(&mut self) {
        let begun = Instant::now();
        while self.runs() {
            assert!(begun.elapsed() < DEADLINE, "the machine does not go off: {}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What the guest has written on its console.
    pub(crate) fn console(&self) -> String {
        let bytes = std::fs::read(self.dir.path().join("console")).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
