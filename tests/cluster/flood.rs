//! A flood on the API of the leader: thousands of connections, and requests as fast as they are answered, with a token and
//! without. The leader stays the leader, and writes through another control node go on.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ring_testkit::work::new_key;
use ring_testkit::{Cluster, wait};
use serde_json::{Value, json};

/// How long it lasts.
const LASTS: Duration = Duration::from_secs(8);
/// Connections that say nothing.
const SILENT: usize = 3000;
/// Threads that ask.
const ASKING: usize = 6;
/// Requests that are under way on each of their connections.
const AT_ONCE: usize = 50;
/// Longest silence of a server that is asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the flood saw.
#[derive(Default)]
struct Seen {
    answers: AtomicU64,
    refused: AtomicU64,
    connections: AtomicU64,
    over: AtomicBool,
}

impl Seen {
    fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

fn request(path: &str, token: Option<&str>) -> String {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nhost: flood\r\n{token}\r\n")
}

/// Asks over one connection after the other, many requests at once, until the flood is over.
fn ask(api: SocketAddr, request: &str, seen: &Seen) {
    let many = request.repeat(AT_ONCE);
    let mut buffer = vec![0; 256 << 10];
    while !seen.over() {
        let Ok(mut tcp) = TcpStream::connect_timeout(&api, PATIENCE) else { continue };
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        seen.connections.fetch_add(1, Ordering::Relaxed);
        while !seen.over() && tcp.write_all(many.as_bytes()).is_ok() {
            if !read_answers(&mut tcp, &mut buffer, seen) {
                break;
            }
        }
    }
}

/// Reads as many answers as were asked for; false when the server has hung up.
fn read_answers(tcp: &mut TcpStream, buffer: &mut [u8], seen: &Seen) -> bool {
    let (mut answers, mut left) = (0, Vec::new());
    while answers < AT_ONCE {
        match tcp.read(buffer) {
            Ok(0) | Err(_) => return false,
            Ok(count) => left.extend_from_slice(&buffer[..count]),
        }
        let text = String::from_utf8_lossy(&left);
        let found = text.matches("HTTP/1.1 ").count();
        seen.refused.fetch_add(text.matches("HTTP/1.1 429 ").count() as u64, Ordering::Relaxed);
        seen.answers.fetch_add(found as u64, Ordering::Relaxed);
        answers += found;
        // A status line that was cut is read with the next bytes.
        let keep = left.len().min("HTTP/1.1 429".len());
        let tail = left.split_off(left.len() - keep);
        left = if tail.windows(9).any(|window| window == b"HTTP/1.1 ") { Vec::new() } else { tail };
    }
    true
}

/// Opens connections and keeps them, as many as it is let.
fn hold(api: SocketAddr, seen: &Seen) {
    let mut held = Vec::with_capacity(SILENT);
    while !seen.over() {
        held.retain_mut(alive);
        while held.len() < SILENT && !seen.over() {
            let Ok(tcp) = TcpStream::connect_timeout(&api, PATIENCE) else { break };
            tcp.set_nonblocking(true).unwrap();
            seen.connections.fetch_add(1, Ordering::Relaxed);
            held.push(tcp);
            if held.len().is_multiple_of(100) {
                held.retain_mut(alive);
            }
            if seen.connections.load(Ordering::Relaxed) > 4 * SILENT as u64 {
                // Enough were turned away.
                return wait_over(seen);
            }
        }
    }
}

fn wait_over(seen: &Seen) {
    // The flood has a deadline of its own.
    let _ = wait::until(LASTS * 4, "the end of the flood", || seen.over());
}

fn alive(tcp: &mut TcpStream) -> bool {
    !matches!(tcp.read(&mut [0]), Ok(0))
        && tcp.take_error().is_ok_and(|error| error.is_none_or(|e| e.kind() == ErrorKind::WouldBlock))
}

/// Who leads, and in which term, as a control node knows it.
fn term(cluster: &Cluster, control: usize) -> (Value, String) {
    let leader = cluster.status_of(control).unwrap()["leader"].clone();
    let figures = cluster.get_from(control, "/metrics").unwrap().body;
    let term = figures.lines().find_map(|line| line.strip_prefix("ring_raft_term ")).expect("the term is a figure");
    (leader, term.to_owned())
}

#[test]
fn a_flood_on_the_leader_costs_the_cluster_neither_its_leader_nor_its_writes() {
    let cluster = Cluster::loopback(3, 0).unwrap();
    let leader = cluster.leader().unwrap();
    let other = (leader + 1) % 3;
    let before = term(&cluster, other);
    let (api, seen) = (cluster.control(leader).api(), Seen::default());
    let requests = [
        request("/deployments", Some(cluster.token())),
        request("/users/me", None),
        request("/users/me", Some("ring_pat_of_nobody")),
        request("/healthz", None),
        request("/cluster", Some(cluster.token())),
        request("/nothing/there", None),
    ];
    let mut took = Vec::new();
    std::thread::scope(|scope| {
        for number in 0..ASKING {
            let (request, seen) = (&requests[number % requests.len()], &seen);
            scope.spawn(move || ask(api, request, seen));
        }
        scope.spawn(|| hold(api, &seen));
        let start = Instant::now();
        while start.elapsed() < LASTS {
            let (begin, name) = (Instant::now(), format!("n{}", took.len()));
            let answer = cluster.post(other, "/namespaces", &json!({ "name": name }), &new_key());
            took.push((begin.elapsed(), answer.map(|answer| answer.status)));
        }
        seen.over.store(true, Ordering::Relaxed);
    });
    let (answers, refused) = (seen.answers.into_inner(), seen.refused.into_inner());
    let connections = seen.connections.into_inner();
    println!("{answers} answers, {refused} of them 429; {connections} connections; {} writes", took.len());
    // Few enough for a machine that does much else.
    assert!(answers > 1000 && refused > 300 && connections > 300, "this was no flood: {answers} {refused} {connections}");
    assert!(took.iter().all(|(_, status)| matches!(status, Ok(200))), "{took:?}");
    assert!(took.len() >= 8, "one write a second at least: {took:?}");
    assert_eq!(term(&cluster, other), before, "{}", cluster.tails());
    // The leader serves again whoever asks in good measure.
    wait::until(PATIENCE * 4, "the leader to answer", || cluster.get_from(leader, "/namespaces").is_ok_and(|a| a.status == 200))
        .unwrap();
}
