//! Published ports: forwarded inside the agent, so that they are bound before a guest starts and are gone with it.
//!
//! The guest sees the gateway as its peer. While the agent is away nothing is forwarded, and what was connected is cut off; the
//! agent that follows binds the ports again.
//!
//! | what | limit | reaching it |
//! |---|---|---|
//! | connections of one port at once | 4,096 | more wait in the kernel's queue |
//! | time for a guest to take a connection | 10 s | the client is reset |
//! | a peer that is gone without a word | 60 s, then 5 probes 15 s apart | the connection ends |
//! | clients of one udp port at once | 4,096 | datagrams of more are dropped, and counted |
//! | silence of a udp client | as configured, 90 s | it is forgotten |

mod tcp;
mod udp;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ring_types::{Port, Protocol};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Connections or clients of one port.
const MOST: usize = 4096;

/// What went through one published port since it was bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortCounters {
    /// Which.
    pub port: Port,
    /// Connections, or clients of a udp port, so far.
    pub accepted: u64,
    /// Those there are now.
    pub open: u64,
    /// Connections the guest did not take; datagrams that were dropped.
    pub refused: u64,
    /// Bytes to the guest.
    pub received: u64,
    /// Bytes from the guest.
    pub sent: u64,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    open: AtomicU64,
    refused: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Counters {
    /// One more, until what is given back is dropped.
    fn open(self: &Arc<Self>) -> Open {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }
}

struct Open(Arc<Counters>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The bound ports of one instance. Dropping it ends them, too, but does not wait.
#[derive(Debug)]
pub(super) struct Published {
    ports: Vec<(Port, Arc<Counters>)>,
    tasks: TaskTracker,
    ended: CancellationToken,
    _end: DropGuard,
}

/// What the tasks of a port work with.
#[derive(Clone)]
struct Line {
    /// The guest.
    target: SocketAddr,
    counters: Arc<Counters>,
    tasks: TaskTracker,
    ended: CancellationToken,
}

/// A socket that is bound.
enum Bound {
    Tcp(tokio::net::TcpListener),
    Udp(tokio::net::UdpSocket),
}

impl Published {
    /// Binds all of them or none.
    pub(super) fn bind(ports: &[Port], guest: Ipv4Addr, udp_idle: Duration) -> io::Result<Self> {
        let bound: Vec<(Port, Bound)> = ports.iter().map(|port| Ok((port.clone(), bind(port)?))).collect::<io::Result<_>>()?;
        let (tasks, ended) = (TaskTracker::new(), CancellationToken::new());
        let mut all = Vec::with_capacity(bound.len());
        for (port, socket) in bound {
            let counters = Arc::new(Counters::default());
            let target = SocketAddr::new(guest.into(), port.target);
            let line = Line { target, counters: Arc::clone(&counters), tasks: tasks.clone(), ended: ended.clone() };
            match socket {
                Bound::Tcp(listener) => drop(tasks.spawn(tcp::serve(listener, line))),
                Bound::Udp(socket) => drop(tasks.spawn(udp::serve(Arc::new(socket), line, udp_idle))),
            }
            all.push((port, counters));
        }
        tasks.close();
        Ok(Self { ports: all, tasks, _end: ended.clone().drop_guard(), ended })
    }

    /// Ends every connection; the ports are free on return.
    pub(super) async fn close(self) {
        self.ended.cancel();
        self.tasks.wait().await;
    }

    pub(super) fn counters(&self) -> Vec<PortCounters> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let one = |(port, counters): &(Port, Arc<Counters>)| PortCounters {
            port: port.clone(),
            accepted: read(&counters.accepted),
            open: read(&counters.open),
            refused: read(&counters.refused),
            received: read(&counters.received),
            sent: read(&counters.sent),
        };
        self.ports.iter().map(one).collect()
    }
}

fn bind(port: &Port) -> io::Result<Bound> {
    let address: IpAddr = port.host_ip.parse().map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("ports: host_ip '{}' is not an IP address", port.host_ip))
    })?;
    let address = SocketAddr::new(address, port.published);
    let bound = match port.protocol {
        Protocol::Tcp => tcp::bind(address).map(Bound::Tcp),
        Protocol::Udp => udp::bind(address).map(Bound::Udp),
    };
    bound.map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "it is taken by another program of this host: publish another, or end that one".to_owned()
            }
            io::ErrorKind::AddrNotAvailable => "host_ip is not an address of this host".to_owned(),
            io::ErrorKind::PermissionDenied => {
                "the agent may not bind it (ports below 1024 need CAP_NET_BIND_SERVICE)".to_owned()
            }
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("published port {address}/{} cannot be bound: {why}", port.protocol))
    })
}
