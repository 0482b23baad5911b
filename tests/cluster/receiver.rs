//! Receivers of webhooks on the host of the test.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

/// A receiver in a thread of its own; it ends with the test's process.
pub(crate) struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request that arrived.
struct Seen {
    signature: String,
    raw: Vec<u8>,
    body: Value,
}

impl Receiver {
    /// Takes everything.
    pub(crate) fn taking() -> Self {
        Self::new(|mut client, seen| {
            if let Some(request) = read(&mut client) {
                seen.lock().unwrap().push(request);
                let _gone = client.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
            }
        })
    }

    /// Takes connections, and never answers.
    pub(crate) fn hanging() -> Self {
        Self::new(|mut client, seen| {
            if let Some(request) = read(&mut client) {
                seen.lock().unwrap().push(request);
            }
            let _until_it_hangs_up = client.read(&mut [0]);
        })
    }

    fn new(serve: impl Fn(TcpStream, &Mutex<Vec<Seen>>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, all) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (serve, seen) = (Arc::new(serve), Arc::clone(&all));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (serve, seen) = (Arc::clone(&serve), Arc::clone(&seen));
                thread::spawn(move || serve(client, &seen));
            }
        });
        Self { address, seen: all }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/ring", self.address)
    }

    /// Each event once, by number.
    pub(crate) fn events(&self) -> BTreeMap<u64, Value> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|seen| (seen.body["number"].as_u64().unwrap(), seen.body.clone())).collect()
    }

    /// How many requests have arrived, all of which are signed with this secret.
    pub(crate) fn signed_with(&self, secret: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        for seen in seen.iter() {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
            mac.update(&seen.raw);
            assert_eq!(seen.signature, format!("sha256={}", hex::encode(mac.finalize().into_bytes())), "{}", seen.body);
        }
        seen.len()
    }

    /// The statuses of a deployment as they were told, and whether none is missing in between.
    pub(crate) fn statuses(&self, id: &str) -> Vec<String> {
        let events = self.events();
        let of = events.values().filter(|e| e["kind"] == "deployment.status_changed" && e["object"]["id"] == id);
        let mut told: Vec<String> = Vec::new();
        for event in of {
            assert_eq!(event["before"].as_str(), told.last().map(String::as_str), "{event}");
            told.push(event["after"].as_str().unwrap().to_owned());
        }
        told
    }
}

fn read(client: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 8192];
        let read = client.read(&mut part).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&part[..read]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let raw = &bytes[end + 4..];
        if raw.len() >= header("content-length")?.parse().ok()? {
            let (signature, body) = (header("x-ring-signature")?, serde_json::from_slice(raw).ok()?);
            return Some(Seen { signature, raw: raw.to_vec(), body });
        }
    }
}
