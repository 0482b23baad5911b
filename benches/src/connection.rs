//! One kept HTTP/1.1 connection: the leanest client there is, so that the load costs the machine little and all systems the same.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// After this long an answer is given up.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to one server, used by one caller at a time.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    /// Value of the `Authorization` header.
    authorization: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; an error unless the status says success.
    pub fn json(&self) -> Result<Value> {
        self.success()?;
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// An error with the body, unless the status says success.
    pub fn success(&self) -> Result<()> {
        if self.status.is_success() {
            return Ok(());
        }
        bail!("status {}: {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

impl Connection {
    /// Connects over TCP.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Self::over(stream, address.to_string()).await
    }

    /// Connects to a socket of this machine.
    pub async fn open_unix(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).await.with_context(|| format!("cannot connect to {}", path.display()))?;
        Self::over(stream, "localhost".to_owned()).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, host: String) -> Result<Self> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Its end shows as an error of the next request.
        tokio::spawn(connection);
        Ok(Self { sender, host, authorization: None })
    }

    /// Sends this token with every request.
    #[must_use]
    pub fn bearer(mut self, token: &str) -> Self {
        self.authorization = Some(format!("Bearer {token}"));
        self
    }

    /// Sends a request and reads the whole answer. Every status is an answer; an error means that there was none, and the
    /// connection is of no more use.
    pub async fn send(&mut self, method: Method, path: &str, body: impl Into<Bytes>) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.host);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(body.into()))?;
        tokio::time::timeout(TIMEOUT, self.exchange(request)).await.context("no answer in time")?
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        Ok(Answer { status, body: response.into_body().collect().await?.to_bytes() })
    }
}
