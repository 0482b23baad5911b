//! A connection as it is served: plain or TLS, with its place, and with an end for a client that does not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;

use super::slots::Slot;

/// A client that takes nothing of what is written to it for so long is cut off.
pub(super) const STALLED: Duration = Duration::from_mins(1);

/// The bytes of a connection.
pub(super) enum Wire {
    /// As they are.
    Plain(TcpStream),
    /// Under TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that has a place.
pub(super) struct Stream {
    wire: Wire,
    _slot: Slot,
    /// Runs while something that was written is not taken.
    stalled: Pin<Box<Sleep>>,
    waiting: bool,
    patience: Duration,
}

impl Stream {
    /// `patience`: how long a client may take nothing.
    pub(super) fn new(wire: Wire, slot: Slot, patience: Duration) -> Self {
        Self { wire, _slot: slot, stalled: Box::pin(sleep(patience)), waiting: false, patience }
    }

    fn wire(&mut self) -> Pin<&mut (dyn Both + '_)> {
        match &mut self.wire {
            Wire::Plain(tcp) => Pin::new(tcp),
            Wire::Tls(tls) => Pin::new(tls.as_mut()),
        }
    }

    /// What came of a write, or that nothing comes any more.
    fn taken<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = false;
            return written;
        }
        if !self.waiting {
            self.waiting = true;
            self.stalled.as_mut().reset(Instant::now() + self.patience);
        }
        ready!(self.stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer")))
    }
}

trait Both: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.wire().poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.wire().poll_write(cx, buf);
        self.taken(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.wire().poll_flush(cx);
        self.taken(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = self.wire().poll_shutdown(cx);
        self.taken(cx, ended)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = self.wire().poll_write_vectored(cx, bufs);
        self.taken(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(tcp) => tcp.is_write_vectored(),
            Wire::Tls(tls) => tls.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::super::DoorLimits;
    use super::super::slots::Slots;
    use super::*;
    use crate::origin::Origin;

    #[tokio::test]
    async fn a_client_that_does_not_read_is_cut_off() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, from) = listener.accept().await.unwrap();
        let slot = Slots::new(DoorLimits::default()).take(Origin::of(from.ip())).unwrap();
        let mut stream = Stream::new(Wire::Plain(server), slot, Duration::from_millis(100));
        let block = vec![0; 1 << 20];
        let error = async {
            loop {
                if let Err(error) = stream.write_all(&block).await {
                    break error;
                }
            }
        };
        let error = tokio::time::timeout(STALLED / 2, error).await.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        drop(client);
    }
}
