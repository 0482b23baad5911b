//! The VMM's interface: HTTP over a unix socket, and no call without a limit on its time.
//!
//! The VMM serves one call after another on one thread. A call that takes long, such as a boot that waits for a helper, holds up
//! every other; so a call that times out says nothing about whether it was done.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};

use crate::config::Patience;

/// Longest answer that is read, bytes: the description of a VM has some 10 KiB.
const ANSWER: usize = 4 << 20;

/// Between two attempts to reach a VMM that is about to come up.
const AGAIN: Duration = Duration::from_millis(5);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// There is nobody, or the connection broke.
    #[error("{call}: the VMM cannot be reached: {cause}")]
    Unreachable { call: &'static str, cause: String },
    /// No answer in time. It may be done later.
    #[error("{call}: the VMM has not answered for {} seconds", after.as_secs())]
    TimedOut { call: &'static str, after: Duration },
    /// The VMM said no.
    #[error("{call}: the VMM refused: {said}")]
    Refused { call: &'static str, said: String },
    /// The VMM said something else than what is documented.
    #[error("{call}: the VMM's answer is not understood: {cause}")]
    Answer { call: &'static str, cause: String },
}

/// What `vmm.ping` says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Ping {
    pub(crate) version: String,
    /// The VMM's process.
    #[serde(default)]
    pub(crate) pid: i64,
}

/// How a VM is. After a shutdown it is `Created` again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum VmState {
    Created,
    Running,
    Shutdown,
    Paused,
    BreakPoint,
}

#[derive(Deserialize)]
struct Info {
    state: VmState,
}

/// The VMM behind one socket.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    socket: PathBuf,
    patience: Patience,
}

impl Api {
    pub(crate) fn new(socket: &Path, patience: Patience) -> Self {
        Self { socket: socket.to_owned(), patience }
    }

    /// Asks until there is an answer: the socket is there before it is listened on.
    pub(crate) async fn ready(&self) -> Result<Ping, ApiError> {
        let deadline = Instant::now() + self.patience.call;
        loop {
            match self.get("vmm.ping", deadline.saturating_duration_since(Instant::now())).await {
                Err(ApiError::Unreachable { .. }) if Instant::now() < deadline => tokio::time::sleep(AGAIN).await,
                other => return other,
            }
        }
    }

    pub(crate) async fn create(&self, config: &Value) -> Result<(), ApiError> {
        self.call("vm.create", Method::PUT, Some(config), self.patience.call).await.map(drop)
    }

    pub(crate) async fn boot(&self) -> Result<(), ApiError> {
        self.call("vm.boot", Method::PUT, None, self.patience.boot).await.map(drop)
    }

    pub(crate) async fn state(&self) -> Result<VmState, ApiError> {
        self.get::<Info>("vm.info", self.patience.call).await.map(|info| info.state)
    }

    /// Counters of the devices, by the names of the devices.
    pub(crate) async fn counters(&self) -> Result<Value, ApiError> {
        self.get("vm.counters", self.patience.call).await
    }

    /// Tells the guest that its power button was pressed. What it does about it is its own affair.
    pub(crate) async fn power_button(&self) -> Result<(), ApiError> {
        self.call("vm.power-button", Method::PUT, None, self.patience.call).await.map(drop)
    }

    /// Ends the VMM, and with it the guest, at once.
    pub(crate) async fn shutdown(&self, patience: Duration) -> Result<(), ApiError> {
        self.call("vmm.shutdown", Method::PUT, None, patience).await.map(drop)
    }

    async fn get<T: DeserializeOwned>(&self, call: &'static str, patience: Duration) -> Result<T, ApiError> {
        let body = self.call(call, Method::GET, None, patience).await?;
        serde_json::from_slice(&body).map_err(|error| ApiError::Answer { call, cause: error.to_string() })
    }

    async fn call(
        &self,
        call: &'static str,
        method: Method,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<Bytes, ApiError> {
        let asked = timeout(patience, self.ask(call, method, body)).await;
        asked.unwrap_or(Err(ApiError::TimedOut { call, after: patience }))
    }

    /// Every call has a connection of its own, so that one that was given up leaves nothing behind for the next.
    async fn ask(&self, call: &'static str, method: Method, body: Option<&Value>) -> Result<Bytes, ApiError> {
        let lost = |error: &dyn std::error::Error| ApiError::Unreachable { call, cause: chain(error) };
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| lost(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| lost(&error))?;
        let request = request(call, method, body)?;
        let asking = async {
            let answer = sender.send_request(request).await.map_err(|error| lost(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER).collect().await;
            let body = body.map_err(|error| ApiError::Answer { call, cause: error.to_string() })?.to_bytes();
            understood(call, status, body)
        };
        tokio::pin!(asking);
        tokio::select! {
            answer = &mut asking => answer,
            // The connection ends when the VMM closes it, which it may do with the answer already read.
            _ = connection => asking.await,
        }
    }
}

fn request(call: &'static str, method: Method, body: Option<&Value>) -> Result<Request<Full<Bytes>>, ApiError> {
    let body = body.map(ToString::to_string).unwrap_or_default();
    let request = Request::builder().method(method).uri(format!("/api/v1/{call}")).header(header::HOST, "localhost");
    let request = if body.is_empty() { request } else { request.header(header::CONTENT_TYPE, "application/json") };
    request.body(Full::from(body)).map_err(|error| ApiError::Answer { call, cause: error.to_string() })
}

fn understood(call: &'static str, status: StatusCode, body: Bytes) -> Result<Bytes, ApiError> {
    if status.is_success() {
        return Ok(body);
    }
    // Outermost first; older versions sent plain text.
    let said = serde_json::from_slice::<Vec<String>>(&body).map(|all| all.join(": "));
    let said = said.unwrap_or_else(|_| String::from_utf8_lossy(&body).trim().to_owned());
    Err(ApiError::Refused { call, said: if said.is_empty() { status.to_string() } else { said } })
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    const SHORT: Patience =
        Patience { call: Duration::from_millis(50), boot: Duration::from_millis(50), guest: Duration::from_millis(50) };

    /// Serves one connection with this answer and gives what was asked.
    fn serve(dir: &Path, answer: &'static str) -> (Api, tokio::task::JoinHandle<String>) {
        let socket = dir.join("api");
        let listener = UnixListener::bind(&socket).unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let read = stream.read(&mut asked).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(asked[..read].to_vec()).unwrap()
        });
        (Api::new(&socket, SHORT), serving)
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_all_its_causes() {
        let dir = tempfile::tempdir().unwrap();
        let body = r#"["Error from API","The disk is locked"]"#;
        let answer = format!("HTTP/1.1 500 Internal Server Error\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let (api, _) = serve(dir.path(), answer.leak());
        let error = api.boot().await.unwrap_err();
        assert!(matches!(error, ApiError::Refused { .. }));
        assert_eq!(error.to_string(), "vm.boot: the VMM refused: Error from API: The disk is locked");
    }

    #[tokio::test]
    async fn a_call_is_what_the_vmm_expects() {
        let dir = tempfile::tempdir().unwrap();
        let (api, serving) = serve(dir.path(), "HTTP/1.1 204 No Content\r\n\r\n");
        api.create(&serde_json::json!({"a": 1})).await.unwrap();
        let asked = serving.await.unwrap();
        assert!(asked.starts_with("PUT /api/v1/vm.create HTTP/1.1\r\n"), "{asked}");
        assert!(asked.ends_with("\r\n\r\n{\"a\":1}"), "{asked}");
    }

    #[tokio::test]
    async fn a_vmm_that_hangs_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("api");
        let _listener = UnixListener::bind(&socket).unwrap();
        let api = Api::new(&socket, SHORT);
        assert!(matches!(api.ready().await.unwrap_err(), ApiError::TimedOut { .. }));
        assert!(matches!(api.boot().await.unwrap_err(), ApiError::TimedOut { call: "vm.boot", .. }));
    }

    #[tokio::test]
    async fn nobody_there_is_said_when_patience_ends() {
        let dir = tempfile::tempdir().unwrap();
        let error = Api::new(&dir.path().join("api"), SHORT).ready().await.unwrap_err();
        assert!(matches!(error, ApiError::Unreachable { .. }), "{error}");
    }
}
