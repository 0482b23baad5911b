//! The VMM as somebody starts it who has read its manual.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ring_guest::{Start, ToGuest, ToHost, VERSION, Welcome, read_frame, write_frame};
use serde_json::json;

use crate::{Booted, CMDLINE, MEMORY};

/// How the VMM is told what to boot.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// By calls, as the runtime does it.
    Api,
    /// By its arguments.
    CommandLine,
}

/// One machine whose guest runs something.
pub(crate) struct ByHand {
    child: Child,
    guest: UnixStream,
    _dir: tempfile::TempDir,
}

impl ByHand {
    /// Starts one; how long it took until the guest said that it runs.
    pub(crate) fn start(booted: &Booted, how: How) -> (Duration, Self) {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("vsock_1024")).unwrap();
        let begun = Instant::now();
        let mut command = Command::new(&booted.program);
        command.stdin(Stdio::null());
        command.stdout(File::create(dir.path().join("console")).unwrap());
        command.stderr(File::create(dir.path().join("log")).unwrap());
        match how {
            How::Api => _ = command.arg("--api-socket").arg(dir.path().join("api")),
            How::CommandLine => arguments(&mut command, booted, dir.path()),
        }
        let child = command.spawn().unwrap();
        if matches!(how, How::Api) {
            calls(booted, dir.path());
        }
        let (mut guest, _) = listener.accept().unwrap();
        assert!(matches!(hear(&mut guest), ToHost::Hello(_)));
        say(&mut guest, &ToGuest::Welcome(Welcome { version: VERSION, offset: 0 }));
        say(&mut guest, &ToGuest::Start(Box::new(Start { argv: vec!["app".to_owned()], ..Start::default() })));
        assert!(matches!(hear(&mut guest), ToHost::Started { .. }));
        (begun.elapsed(), Self { child, guest, _dir: dir })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends what it runs, and waits until the VMM is gone; how long that took.
    pub(crate) fn stop(mut self) -> Duration {
        let begun = Instant::now();
        say(&mut self.guest, &ToGuest::Stop { signal: 15 });
        assert!(matches!(hear(&mut self.guest), ToHost::Ended(_)));
        say(&mut self.guest, &ToGuest::ExitAck);
        assert!(self.child.wait().unwrap().success());
        begun.elapsed()
    }
}

fn say(guest: &mut UnixStream, message: &ToGuest) {
    write_frame(guest, message).unwrap();
}

fn hear(guest: &mut UnixStream) -> ToHost {
    read_frame(guest).unwrap().expect("the guest hung up")
}

fn arguments(command: &mut Command, booted: &Booted, dir: &Path) {
    command.arg("--kernel").arg(&booted.kernel).args(["--cmdline", CMDLINE, "--cpus", "boot=1"]);
    command.arg("--memory").arg(format!("size={MEMORY},shared=on"));
    command.arg("--disk").arg(format!("path={},readonly=on,image_type=raw", booted.disk.display()));
    command.arg("--vsock").arg(format!("cid=3,socket={}", dir.join("vsock").display()));
    command.args(["--serial", "tty", "--console", "off", "--pvpanic"]);
}

fn calls(booted: &Booted, dir: &Path) {
    let socket = dir.join("api");
    while !ask(&socket, "GET", "vmm.ping", "").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let config = json!({
        "payload": { "kernel": booted.kernel, "cmdline": CMDLINE },
        "cpus": { "boot_vcpus": 1, "max_vcpus": 1 },
        "memory": { "size": MEMORY, "shared": true },
        "disks": [{ "path": booted.disk, "readonly": true, "image_type": "Raw" }],
        "vsock": { "cid": 3, "socket": dir.join("vsock") },
        "serial": { "mode": "Tty" },
        "console": { "mode": "Off" },
        "pvpanic": true,
    });
    for (call, body) in [("vm.create", config.to_string()), ("vm.boot", String::new())] {
        let answer = ask(&socket, "PUT", call, &body).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{call}: {answer}");
    }
}

fn ask(socket: &Path, method: &str, call: &str, body: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    write!(stream, "{method} /api/v1/{call} HTTP/1.1\r\nHost: vmm\r\n{kind}Content-Length: {length}\r\n\r\n{body}")?;
    // The head comes in one piece, and says enough.
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
}
