//! Reaching another control node.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use ring_store::{ConnectError, PeerConnector};
use ring_types::MemberId;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::HostTls;
use super::explain::{explain, refusal};
use super::host::{client_builder, finish};
use crate::pki::{Expect, Fingerprint, PkiError, ServerVerifier, Trust};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Room for what is under way on one stream: a snapshot chunk, a batch of log entries.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// A host could not be reached, or is not the one it should be.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DialError {
    /// No connection.
    #[error("cannot reach {address}: {why}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why not.
        why: String,
    },
    /// A connection, but not to be trusted, or not trusting us.
    #[error("no trust between this host and {address}: {why}")]
    Untrusted {
        /// Where.
        address: String,
        /// Why not.
        why: String,
    },
    /// The address makes no sense.
    #[error("'{0}' is not an address; write IP:PORT")]
    Address(String),
    /// This host's own certificate cannot be used.
    #[error("this host's own certificate cannot be used: {0}")]
    Own(String),
}

/// Dials control nodes with this host's certificate.
#[derive(Clone, Debug)]
pub struct Dialer {
    tls: Arc<HostTls>,
}

impl Dialer {
    /// A dialer that shows what `tls` has.
    pub fn new(tls: Arc<HostTls>) -> Self {
        Self { tls }
    }

    /// A channel to the control node at `address`; it is connected, and connects again by itself.
    ///
    /// # Errors
    /// [`DialError`] when the first connection fails.
    pub async fn dial(&self, address: &str, expect: Expect) -> Result<Channel, DialError> {
        let tls = self.tls.clone();
        connect(address, move || tls.client(expect)).await
    }
}

#[async_trait]
impl PeerConnector for Dialer {
    async fn connect(&self, peer: MemberId, address: &str) -> Result<Channel, ConnectError> {
        let failed = |e: DialError| ConnectError { peer, address: address.to_owned(), cause: e.to_string() };
        self.dial(address, Expect::Member(peer)).await.map_err(failed)
    }
}

/// A channel for a host that has no certificate yet, to a control node of the cluster whose authority has this fingerprint.
///
/// # Errors
/// [`DialError`] when the connection fails.
pub async fn dial_pinned(address: &str, pin: Fingerprint) -> Result<Channel, DialError> {
    connect(address, move || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(ServerVerifier::new(Trust::Pinned(pin), &provider));
        Ok(finish(client_builder(provider, verifier)?.with_no_client_auth()))
    })
    .await
}

async fn connect<F>(address: &str, config: F) -> Result<Channel, DialError>
where
    F: Fn() -> Result<ClientConfig, PkiError> + Clone + Send + Sync + 'static,
{
    let uri: Uri = format!("http://{address}").parse().map_err(|_| DialError::Address(address.to_owned()))?;
    let endpoint = Endpoint::from(uri)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let target: Arc<str> = address.into();
    let connector = tower::service_fn(move |_: Uri| {
        let (target, config) = (target.clone(), config.clone());
        async move { open(target, config().map_err(|e| DialError::Own(e.to_string()))?).await.map(TokioIo::new) }
    });
    let failed = |e: tonic::transport::Error| dial_error(address, &e);
    endpoint.connect_with_connector(connector).await.map_err(failed)
}

/// The error of our own connector, which the transport wraps.
fn dial_error(address: &str, error: &tonic::transport::Error) -> DialError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = source {
        if let Some(ours) = one.downcast_ref::<DialError>() {
            return ours.clone();
        }
        source = one.source();
    }
    DialError::Unreachable { address: address.to_owned(), why: error.to_string() }
}

async fn open(address: Arc<str>, config: ClientConfig) -> Result<TrustedStream, DialError> {
    let opening = async {
        let unreachable = |e: io::Error| DialError::Unreachable { address: address.to_string(), why: e.to_string() };
        let tcp = TcpStream::connect(&*address).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let name = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
        let untrusted = |e: io::Error| DialError::Untrusted { address: address.to_string(), why: explain(&e) };
        let inner = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(untrusted)?;
        Ok(TrustedStream { inner, address: address.clone() })
    };
    let late = || DialError::Unreachable { address: address.to_string(), why: "no answer in time".to_owned() };
    tokio::time::timeout(CONNECT_TIMEOUT, opening).await.map_err(|_| late())?
}

/// A TLS connection that says in clear words when the other side refuses this host: in TLS 1.3 that comes after the
/// handshake, as an error of the first read.
struct TrustedStream {
    inner: TlsStream<TcpStream>,
    address: Arc<str>,
}

impl AsyncRead for TrustedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        read.map_err(|e| match refusal(&e) {
            Some(why) => {
                tracing::warn!(address = %self.address, "{}: {why}", self.address);
                io::Error::new(io::ErrorKind::PermissionDenied, format!("{}: {why}", self.address))
            }
            None => e,
        })
    }
}

impl AsyncWrite for TrustedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
