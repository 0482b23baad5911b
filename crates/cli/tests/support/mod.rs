//! A stand-in for control nodes, and the client run against it as a program.
#![allow(dead_code, clippy::unwrap_used, reason = "test support: each test program uses a part of it")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// What the stand-in does with it.
pub(crate) enum Answer {
    Json(u16, String),
    Problem(u16, String),
    /// Server-sent events; then the connection is cut in the middle, or closed in good order.
    Events(String, Cut),
    /// The request is taken, and the answer is lost.
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Abrupt,
    Orderly,
}

/// A control node that answers as it is told.
pub(crate) struct Stub {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Stub {
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, kept) = (Arc::new(answer), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, kept) = (Arc::clone(&answer), Arc::clone(&kept));
                std::thread::spawn(move || serve(stream, &*answer, &kept));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, answer: &dyn Fn(&Request) -> Answer, seen: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(request) = read(&mut reader) {
        seen.lock().unwrap().push(request.clone());
        let keep = match answer(&request) {
            Answer::Json(status, body) => whole(&mut writer, status, "application/json", &body),
            Answer::Problem(status, body) => whole(&mut writer, status, "application/problem+json", &body),
            Answer::Events(text, cut) => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                let end = if cut == Cut::Orderly { "0\r\n\r\n" } else { "" };
                let chunk = if text.is_empty() { String::new() } else { format!("{:x}\r\n{text}\r\n", text.len()) };
                writer.write_all(format!("{head}{chunk}{end}").as_bytes()).unwrap();
                cut == Cut::Orderly
            }
            Answer::Lost => false,
        };
        if !keep {
            return;
        }
    }
}

fn whole(writer: &mut TcpStream, status: u16, kind: &str, body: &str) -> bool {
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    writer.write_all((head + body).as_bytes()).is_ok()
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length: &String| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body: String::from_utf8(body).unwrap() })
}

/// What a run of the client left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The client as a program, with a home of its own.
pub(crate) struct Home(pub(crate) tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub(crate) fn command(&self, hosts: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.env_clear().env("RING_CONFIG_DIR", self.0.path()).env("RING_HOST", hosts).env("HOME", self.0.path());
        command.current_dir(self.0.path()).args(args).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, hosts: &str, args: &[&str]) -> Ran {
        let mut command = self.command(hosts, args);
        command.env("RING_TOKEN", "secret-token");
        finish(command)
    }
}

pub(crate) fn finish(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The example of this package, which cargo builds with the tests, next to them.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples/client")
}
