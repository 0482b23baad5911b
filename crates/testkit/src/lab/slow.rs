//! Slow and stalled lines between hosts, where the kernel has no `netem`: a proxy inside the sending host.
//!
//! While a line is slow, connections from one host to a port of another are redirected to the proxy, which carries both
//! directions and holds each piece back as long as it was told to. Connections that exist already are reset, so that they
//! are made anew through it. The proxy's own connections come from ports the kernel gives to nobody, and are left alone.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, connect, ipproto, socket};

use super::{Host, Lab};

/// Where the proxy's own connections come from. The kernel itself chooses below, see `ip_local_port_range`.
const OWN_PORTS: (u16, u16) = (61_000, 65_000);
/// How often a thread of the proxy looks whether it is over.
const LOOK: Duration = Duration::from_millis(20);
/// The delay of a line that is stalled: nothing comes through.
const STALLED: u64 = u64::MAX;
/// Pieces on their way in one direction of one connection; more are not read from the sender.
const ON_THE_WAY: usize = 256;

/// A slow line. Dropping it ends the fault: the rules go, and the connections through it are closed.
#[derive(Debug)]
pub struct SlowLine {
    host: Host,
    rules: Vec<Vec<String>>,
    line: Arc<Line>,
    proxy: Option<JoinHandle<Result<Result<()>>>>,
}

/// What the threads of a proxy share.
#[derive(Debug, Default)]
struct Line {
    /// Milliseconds a piece is held back.
    delay: AtomicU64,
    over: AtomicBool,
    /// Bytes that were held back and came through, or wait.
    held: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Lab {
    /// Makes the line from one host to a port of another slow: each piece, either way, takes `delay` longer.
    pub fn slow(&self, from: &str, to: &str, port: u16, delay: Duration) -> Result<SlowLine> {
        self.slowed(from, to, port, u64::try_from(delay.as_millis())?)
    }

    /// The same with a line that takes connections and carries nothing.
    pub fn stall(&self, from: &str, to: &str, port: u16) -> Result<SlowLine> {
        self.slowed(from, to, port, STALLED)
    }

    fn slowed(&self, from: &str, to: &str, port: u16, delay: u64) -> Result<SlowLine> {
        let (host, target) = (self.host(from).clone(), SocketAddrV4::new(self.host(to).ip(), port));
        let line = Arc::new(Line { delay: AtomicU64::new(delay), ..Line::default() });
        let (ready, listening) = channel();
        let shared = Arc::clone(&line);
        let proxy = host.inside(move || serve(&shared, target, &ready));
        let own = listening.recv_timeout(Duration::from_secs(10)).context("the proxy does not listen")?;
        // From here on dropping it takes back what was done.
        let mut slow = SlowLine { host, rules: Vec::new(), line, proxy: Some(proxy) };
        let (ip, port, own) = (target.ip().to_string(), port.to_string(), own.to_string());
        let ports = format!("{}:{}", OWN_PORTS.0, OWN_PORTS.1);
        let matches = ["--protocol", "tcp", "--destination", &ip, "--dport", &port, "!", "--sport", &ports];
        let rule = |table: &str, jump: &[&str]| -> Vec<String> {
            let start = ["--table", table, "OUTPUT"];
            start.iter().chain(&matches).chain(jump).map(|word| (*word).to_owned()).collect()
        };
        slow.add(rule("nat", &["--jump", "REDIRECT", "--to-ports", &own]))?;
        slow.add(rule("filter", &["--jump", "REJECT", "--reject-with", "tcp-reset"]))?;
        Ok(slow)
    }
}

impl SlowLine {
    /// Bytes that came to the proxy so far: what the fault was felt by.
    pub fn held(&self) -> u64 {
        self.line.held.load(Ordering::SeqCst)
    }

    fn add(&mut self, rule: Vec<String>) -> Result<()> {
        self.iptables("--insert", &rule)?;
        self.rules.push(rule);
        Ok(())
    }

    /// `rule` is `--table NAME CHAIN MATCHES…`; the verb goes before the chain.
    fn iptables(&self, verb: &str, rule: &[String]) -> Result<()> {
        let mut words = vec!["--wait".to_owned(), rule[0].clone(), rule[1].clone(), verb.to_owned()];
        words.extend_from_slice(&rule[2..]);
        self.host.exec("iptables", words)?.ok().map(drop)
    }

    /// Ends the fault.
    pub fn heal(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let mut first = Ok(());
        for rule in std::mem::take(&mut self.rules) {
            first = first.and(self.iptables("--delete", &rule));
        }
        self.line.over.store(true, Ordering::SeqCst);
        for stream in self.line.open().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(proxy) = self.proxy.take() {
            first = first.and(proxy.join().map_err(|_| anyhow!("the proxy panicked")).flatten().flatten());
        }
        first
    }
}

impl Drop for SlowLine {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            crate::report::line(&format!("a slow line could not be taken away: {error:#}"));
        }
    }
}

impl Line {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// Takes connections until it is over. Runs, with all it starts, in the network of the sending host.
fn serve(line: &Arc<Line>, target: SocketAddrV4, ready: &Sender<u16>) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    listener.set_nonblocking(true)?;
    ready.send(listener.local_addr()?.port())?;
    while !line.over() {
        match listener.accept() {
            Ok((client, _)) => {
                let line = Arc::clone(line);
                thread::spawn(move || carry(&line, &client, target));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A connection the rules of this module leave alone.
fn own_connection(target: SocketAddrV4) -> Result<TcpStream> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = OWN_PORTS.1 - OWN_PORTS.0;
    for _ in 0..count {
        let port = OWN_PORTS.0 + NEXT.fetch_add(1, Ordering::Relaxed) % count;
        let socket = socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::TCP))?;
        // Another one may still have it.
        if bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            match connect(&socket, &target) {
                Err(Errno::ADDRINUSE | Errno::ADDRNOTAVAIL) => continue,
                connected => connected?,
            }
            return Ok(TcpStream::from(socket));
        }
    }
    bail!("no port is free for a connection of the proxy")
}

/// Carries both directions of one connection; an error of either ends it.
fn carry(line: &Arc<Line>, client: &TcpStream, target: SocketAddrV4) -> Result<()> {
    client.set_nonblocking(false)?;
    // Known before it connects, which may take long: ending the fault closes it.
    line.open().push(client.try_clone()?);
    let server = own_connection(target)?;
    line.open().push(server.try_clone()?);
    if line.over() {
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    }
    let (back_from, back_to) = (server.try_clone()?, client.try_clone()?);
    let back = Arc::clone(line);
    thread::spawn(move || one_way(&back, &back_from, &back_to));
    one_way(line, client, &server)
}

fn one_way(line: &Arc<Line>, mut from: &TcpStream, to: &TcpStream) -> Result<()> {
    let (pieces, arriving) = channel::<(Instant, Vec<u8>)>();
    let waiting = Arc::new(AtomicU64::new(0));
    let (shared, left, onward) = (Arc::clone(line), Arc::clone(&waiting), to.try_clone()?);
    thread::spawn(move || deliver(&shared, &arriving, &left, &onward));
    let mut buffer = vec![0; 16 * 1024];
    while !line.over() {
        if waiting.load(Ordering::SeqCst) >= ON_THE_WAY as u64 {
            thread::sleep(LOOK);
            continue;
        }
        let read = from.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        line.held.fetch_add(read as u64, Ordering::SeqCst);
        waiting.fetch_add(1, Ordering::SeqCst);
        pieces.send((Instant::now(), buffer[..read].to_vec()))?;
    }
    Ok(())
}

/// Passes each piece on when its time has come, and the end of the stream after the last.
fn deliver(line: &Line, arriving: &Receiver<(Instant, Vec<u8>)>, waiting: &AtomicU64, mut to: &TcpStream) {
    let mut queue = VecDeque::new();
    let mut ended = false;
    while !line.over() && (!ended || !queue.is_empty()) {
        match arriving.recv_timeout(Duration::from_millis(1)) {
            Ok(piece) => queue.push_back(piece),
            Err(RecvTimeoutError::Disconnected) => {
                ended = true;
                thread::sleep(Duration::from_millis(1));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let delay = line.delay.load(Ordering::SeqCst);
        while queue.front().is_some_and(|(since, _)| delay != STALLED && since.elapsed().as_millis() >= u128::from(delay)) {
            let Some((_, piece)) = queue.pop_front() else { break };
            waiting.fetch_sub(1, Ordering::SeqCst);
            if to.write_all(&piece).is_err() {
                return;
            }
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
