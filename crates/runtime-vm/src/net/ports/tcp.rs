//! Connections of a published tcp port.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::{Line, MOST};

/// Longest wait for the guest to take a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Pause when the agent cannot accept, as it has no file left: trying again at once would only burn time.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes in flight in one direction.
const BUFFER: usize = 16 * 1024;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

const IDLE: Duration = Duration::from_mins(1);
const PROBE: Duration = Duration::from_secs(15);
const PROBES: u32 = 5;

pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of before that linger in the kernel are no other program.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

pub(super) async fn serve(listener: TcpListener, line: Line) {
    let room = Arc::new(Semaphore::new(MOST));
    let ended = line.ended.clone();
    ended.run_until_cancelled_owned(accept_all(listener, room, line)).await;
}

async fn accept_all(listener: TcpListener, room: Arc<Semaphore>, line: Line) {
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((client, _)) => {
                let connection = carry(client, line.clone(), permit);
                line.tasks.spawn(line.ended.clone().run_until_cancelled_owned(connection));
            }
            Err(error) => {
                tracing::warn!(target = %line.target, %error, "a published port cannot accept");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Carries bytes both ways until both sides have ended theirs. What ends one direction ends that direction only.
async fn carry(client: TcpStream, line: Line, _room: OwnedSemaphorePermit) {
    let _open = line.counters.open();
    let guest = match timeout(CONNECT, TcpStream::connect(line.target)).await {
        Ok(Ok(guest)) => guest,
        refused => {
            tracing::debug!(target = %line.target, ?refused, "the guest does not take a connection");
            line.counters.refused.fetch_add(1, Ordering::Relaxed);
            return reset(&client);
        }
    };
    for side in [&client, &guest] {
        // A peer that is gone without a word is noticed; where this cannot be set, later.
        let _ = watch(side);
        let _ = side.set_nodelay(true);
    }
    let mut client = Counted { stream: client, written: &line.counters.sent };
    let mut guest = Counted { stream: guest, written: &line.counters.received };
    if copy_bidirectional_with_sizes(&mut client, &mut guest, BUFFER, BUFFER).await.is_err() {
        // One side broke off: the other is told so, and not that everything was said.
        reset(&client.stream);
        reset(&guest.stream);
    }
}

fn watch(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, IDLE)?;
    sockopt::set_tcp_keepintvl(stream, PROBE)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    Ok(())
}

/// Closing it will send a reset.
fn reset(stream: &TcpStream) {
    let _ = sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

/// A connection whose written bytes are counted.
struct Counted<'a> {
    stream: TcpStream,
    written: &'a AtomicU64,
}

impl AsyncRead for Counted<'_> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted<'_> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.written.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
