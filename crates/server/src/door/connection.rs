//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse as _, Response};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::DoorLimits;
use super::slots::Slot;
use super::stream::{STALLED, Stream, Wire};
use crate::refusals::{Limit, Refusals};
use crate::rest::{Api, plain_refused};
use crate::tls::{ApiTls, explain};

/// Largest head of a request, bytes. Header lines of HTTP/1.1 are at most 100: that is what the library takes.
const HEAD_BYTES: usize = 64 << 10;
/// Requests under way on one connection: HTTP/2.
const STREAMS: u32 = 128;
/// Between two signs of life, and the longest wait for one: HTTP/2.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// First byte of a TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// How a connection is spoken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Http1,
    Http2,
    /// Plain HTTP where TLS is spoken.
    Mistaken,
}

/// Serves connections.
pub(super) struct Connections {
    api: Api,
    tls: Option<Arc<ApiTls>>,
    handshake: Duration,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    refusals: Arc<Refusals>,
}

impl Connections {
    pub(super) fn new(api: Api, tls: Option<Arc<ApiTls>>, limits: DoorLimits, refusals: Arc<Refusals>) -> Self {
        Self { api, tls, handshake: limits.handshake, http1: http1(limits.head), http2: http2(), refusals }
    }

    /// Serves one to its end; once `stop` is cancelled, to the end of the request under way.
    pub(super) async fn serve(self: Arc<Self>, tcp: TcpStream, address: SocketAddr, slot: Slot, stop: &CancellationToken) {
        // Without it a reply may wait for the acknowledgement of the one before.
        let _ = tcp.set_nodelay(true);
        let Some((wire, speech)) = self.open(tcp, address).await else { return };
        let stream = TokioIo::new(Stream::new(wire, slot, STALLED));
        let answering = self.clone();
        let answer = service_fn(move |request| answering.clone().answer(request, address, speech));
        let ended = if speech == Speech::Http2 {
            let connection = self.http2.serve_connection(stream, answer);
            until_end(connection, http2::Connection::graceful_shutdown, stop).await
        } else {
            let connection = self.http1.serve_connection(stream, answer).with_upgrades();
            until_end(connection, http1::UpgradeableConnection::graceful_shutdown, stop).await
        };
        if let Err(error) = ended {
            if error.is_parse_too_large() || error.is_timeout() {
                self.refusals.count(Limit::Head);
            }
            tracing::debug!(%address, "a connection from {address} ended: {error}");
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        address: SocketAddr,
        speech: Speech,
    ) -> Result<Response, Infallible> {
        if speech == Speech::Mistaken {
            return Ok(plain_refused(request.headers()).into_response());
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(address));
        Ok(self.api.answer(request).await)
    }

    async fn open(&self, tcp: TcpStream, address: SocketAddr) -> Option<(Wire, Speech)> {
        let Some(tls) = &self.tls else { return Some((Wire::Plain(tcp), Speech::Http1)) };
        match tokio::time::timeout(self.handshake, shake_hands(tcp, tls)).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => {
                tracing::debug!(%address, "no TLS with {address}: {}", explain(&error));
                None
            }
            Err(_) => {
                tracing::debug!(%address, "no TLS handshake of {address} within {:?}", self.handshake);
                None
            }
        }
    }
}

async fn shake_hands(tcp: TcpStream, tls: &ApiTls) -> io::Result<Option<(Wire, Speech)>> {
    let mut first = [0];
    if tcp.peek(&mut first).await? == 0 {
        // A port check: nothing was said, nothing is refused.
        return Ok(None);
    }
    if first[0] != TLS_HANDSHAKE {
        return Ok(Some((Wire::Plain(tcp), Speech::Mistaken)));
    }
    let stream = TlsAcceptor::from(tls.server()).accept(tcp).await?;
    let speech = if stream.get_ref().1.alpn_protocol() == Some(b"h2") { Speech::Http2 } else { Speech::Http1 };
    Ok(Some((Wire::Tls(Box::new(stream)), speech)))
}

/// Serves to the end; once `stop` is cancelled, to the end of the requests under way.
async fn until_end<C>(connection: C, shut_down: impl FnOnce(Pin<&mut C>), stop: &CancellationToken) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            shut_down(connection.as_mut());
            connection.await
        }
    }
}

fn http1(head: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(HEAD_BYTES).max_header_size(HEAD_BYTES);
    builder
}

fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES as u32)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}
