//! The door of the cluster port: handshakes side by side, a plain word to whoever does not speak TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::HostTls;
use super::explain::explain;
use crate::pki::{Fingerprint, Identity};

/// Handshakes under way at once; more wait in the kernel's queue.
const HANDSHAKES: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// After an error of `accept` itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// First byte of a TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// From where.
    pub address: SocketAddr,
    /// What its certificate says; None when it showed none.
    pub identity: Option<Identity>,
    /// Which authority signed its certificate.
    pub issuer: Option<Fingerprint>,
}

/// An accepted connection.
#[derive(Debug)]
pub struct PeerStream {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    tls: Arc<HostTls>,
}

impl PeerStream {
    /// A connection does not outlive the authority of its certificate: whoever is at the other end dials again with another one.
    fn check(&self) -> io::Result<()> {
        match self.peer.issuer {
            Some(issuer) if !self.tls.trusts(issuer) => {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, "the authority of its certificate is not trusted any more"))
            }
            _ => Ok(()),
        }
    }
}

impl Connected for PeerStream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

/// Accepts connections until the stream is dropped.
pub fn accept(listener: TcpListener, tls: Arc<HostTls>) -> ReceiverStream<io::Result<PeerStream>> {
    let (ready, accepted) = mpsc::channel(HANDSHAKES);
    tokio::spawn(async move {
        let open = ready.clone();
        tokio::select! {
            () = accept_all(listener, tls, ready) => {}
            () = open.closed() => {}
        }
    });
    ReceiverStream::new(accepted)
}

async fn accept_all(listener: TcpListener, tls: Arc<HostTls>, ready: mpsc::Sender<io::Result<PeerStream>>) {
    let slots = Arc::new(Semaphore::new(HANDSHAKES));
    while let Ok(slot) = slots.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((tcp, address)) => {
                let (tls, ready) = (tls.clone(), ready.clone());
                tokio::spawn(async move {
                    if let Some(stream) = admit(tcp, address, &tls).await {
                        // The server has stopped when nobody takes it.
                        let _ = ready.send(Ok(stream)).await;
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the cluster port cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn admit(tcp: TcpStream, address: SocketAddr, tls: &Arc<HostTls>) -> Option<PeerStream> {
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(tcp, address, tls)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::warn!(%address, "refused a connection from {address}: {}", explain(&error));
            None
        }
        Err(_) => {
            tracing::warn!(%address, "refused a connection from {address}: no TLS handshake within {HANDSHAKE_TIMEOUT:?}");
            None
        }
    }
}

async fn handshake(mut tcp: TcpStream, address: SocketAddr, tls: &Arc<HostTls>) -> io::Result<Option<PeerStream>> {
    tcp.set_nodelay(true)?;
    let mut first = [0];
    if tcp.peek(&mut first).await? == 0 {
        // A port check: nothing was said, nothing is refused.
        return Ok(None);
    }
    if first[0] != TLS_HANDSHAKE {
        tracing::warn!(%address, "refused a plaintext connection from {address}: the cluster port speaks TLS only");
        answer_plaintext(&mut tcp).await?;
        return Ok(None);
    }
    let stream = TlsAcceptor::from(tls.server()).accept(tcp).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let identity = shown.map(Identity::of).transpose().map_err(io::Error::other)?;
    let issuer = shown.and_then(|shown| tls.issuer_of(shown));
    if shown.is_some() && issuer.is_none() {
        return Err(io::Error::other("the authority of its certificate is not trusted any more"));
    }
    Ok(Some(PeerStream { stream, peer: Peer { address, identity, issuer }, tls: tls.clone() }))
}

async fn answer_plaintext(tcp: &mut TcpStream) -> io::Result<()> {
    let text = "this is the cluster port of ring: it speaks TLS with certificates of the cluster only; the REST API is on another port\n";
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        text.len()
    );
    tcp.write_all(head.as_bytes()).await?;
    tcp.write_all(text.as_bytes()).await?;
    tcp.shutdown().await
}

impl AsyncRead for PeerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
