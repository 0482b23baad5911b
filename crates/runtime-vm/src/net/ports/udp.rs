//! Clients of a published udp port.
//!
//! Each client has a socket of its own towards the guest, so that answers find back to it. On a port that is bound to every address
//! of a host with several, an answer leaves from the address that the route to the client says, which need not be the one it asked.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::{Line, MOST};

/// As large as a datagram can be.
const DATAGRAM: usize = 65_535;

/// The socket towards the guest, and when something went through it last.
struct Flow {
    guest: UdpSocket,
    /// Milliseconds after the port was bound.
    last: AtomicU64,
}

type Flows = Arc<Mutex<HashMap<SocketAddr, Arc<Flow>>>>;

pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

pub(super) async fn serve(socket: Arc<UdpSocket>, line: Line, idle: Duration) {
    let ended = line.ended.clone();
    ended.run_until_cancelled_owned(receive_all(socket, line, idle)).await;
}

async fn receive_all(socket: Arc<UdpSocket>, line: Line, idle: Duration) {
    let port = Port { flows: Flows::default(), born: Instant::now(), idle, socket, line };
    let mut buffer = vec![0; DATAGRAM];
    loop {
        // An error is that of an answer that was not taken: it belongs to nobody here.
        let Ok((length, client)) = port.socket.recv_from(&mut buffer).await else { continue };
        let sent = match port.flow(client) {
            Some(flow) => send(&flow.guest, &buffer[..length]).await.is_ok(),
            None => false,
        };
        let counters = &port.line.counters;
        if sent {
            counters.received.fetch_add(length as u64, Ordering::Relaxed);
        } else {
            counters.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Clone)]
struct Port {
    socket: Arc<UdpSocket>,
    line: Line,
    flows: Flows,
    born: Instant,
    idle: Duration,
}

impl Port {
    /// The flow of a client; None when there is no room for another.
    fn flow(&self, client: SocketAddr) -> Option<Arc<Flow>> {
        let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flow) = flows.get(&client) {
            self.touch(flow);
            return Some(Arc::clone(flow));
        }
        if flows.len() >= MOST {
            return None;
        }
        let flow = Arc::new(Flow { guest: towards(self.line.target).ok()?, last: AtomicU64::new(0) });
        self.touch(&flow);
        flows.insert(client, Arc::clone(&flow));
        let (port, ended) = (self.clone(), self.line.ended.clone());
        let answers = {
            let flow = Arc::clone(&flow);
            async move { port.answer(client, &flow).await }
        };
        self.line.tasks.spawn(ended.run_until_cancelled_owned(answers));
        Some(flow)
    }

    fn touch(&self, flow: &Flow) {
        flow.last.store(self.born.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Brings answers to a client until nothing went either way for too long.
    async fn answer(&self, client: SocketAddr, flow: &Arc<Flow>) {
        let _open = self.line.counters.open();
        loop {
            let last = Duration::from_millis(flow.last.load(Ordering::Relaxed));
            match timeout_at(self.born + last + self.idle, flow.guest.readable()).await {
                Ok(_) => self.drain(client, flow).await,
                Err(_) if self.forgotten(client, flow) => return,
                Err(_) => {}
            }
        }
    }

    /// Gives on what the guest sent. The buffer is there only while something is to be given.
    async fn drain(&self, client: SocketAddr, flow: &Flow) {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            match flow.guest.try_recv(&mut buffer) {
                Ok(length) => {
                    self.touch(flow);
                    if self.socket.send_to(&buffer[..length], client).await.is_ok() {
                        self.line.counters.sent.fetch_add(length as u64, Ordering::Relaxed);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Nobody listens in the guest, now. That need not stay so.
                Err(_) => return,
            }
        }
    }

    /// Takes a flow off the list, unless something went through it meanwhile.
    fn forgotten(&self, client: SocketAddr, flow: &Flow) -> bool {
        let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        let last = Duration::from_millis(flow.last.load(Ordering::Relaxed));
        let idle = self.born.elapsed() >= last + self.idle;
        if idle {
            flows.remove(&client);
        }
        idle
    }
}

/// The first error can be that of an earlier datagram, which nobody in the guest took.
async fn send(guest: &UdpSocket, datagram: &[u8]) -> io::Result<usize> {
    match guest.send(datagram).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => guest.send(datagram).await,
        other => other,
    }
}

fn towards(guest: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(guest)?;
    UdpSocket::from_std(socket)
}
