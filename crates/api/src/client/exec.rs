//! A command in an instance: the WebSocket it is talked to over.
//!
//! A command is begun once. What can be tried again without the danger of running it twice is; after that the connection it has is
//! the only one.

use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use reqwest::{Method, StatusCode, Upgraded, Version, header};
use ring_types::DeploymentId;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::error::{ClientError, chain};
use super::send::{Miss, Request, accepted, unreachable};
use super::{Client, builder, built};
use crate::errors::ErrorCode;
use crate::exec::{Frame, FrameError, LONGEST, PROTOCOL};
use crate::query::ExecQuery;

/// Longest silence of a server, which pings every five seconds.
const SILENT: Duration = Duration::from_secs(20);
/// Longest wait for a connection to take a message.
const STUCK: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<Upgraded>;

/// A command that was begun. Dropping both parts ends it.
pub struct ExecSession {
    /// What comes from it.
    pub receiver: ExecReceiver,
    /// What goes to it.
    pub sender: ExecSender,
}

/// What comes from a command. It has to be read all the time, also while what came is not used yet: the server wants to hear that
/// its client is there.
pub struct ExecReceiver {
    host: String,
    stream: SplitStream<Socket>,
}

/// The way to a command.
pub struct ExecSender {
    host: String,
    sink: SplitSink<Socket, Message>,
}

impl ExecReceiver {
    /// The next message; the last is [`ExitCode`](crate::exec::Control::ExitCode) or
    /// [`Error`](crate::exec::Control::Error).
    ///
    /// # Errors
    /// [`ClientError::Broken`] when the connection ends before that, or the server is silent.
    pub async fn next(&mut self) -> Result<Frame, ClientError> {
        loop {
            let broken = |reason: &str| ClientError::Broken { host: self.host.clone(), reason: reason.to_owned() };
            let heard = timeout(SILENT, self.stream.next()).await;
            let heard = heard.map_err(|_| broken("it has been silent for 20 seconds"))?;
            match heard.ok_or_else(|| broken("it hung up"))? {
                Ok(Message::Binary(bytes)) => match Frame::decode(bytes) {
                    // A word of a later release.
                    Err(FrameError::Control(_)) => {}
                    Err(error) => return Err(broken(&format!("it sent {error}"))),
                    Ok(frame) => return Ok(frame),
                },
                Ok(Message::Close(_)) => return Err(broken("it hung up")),
                Ok(_) => {}
                Err(error) => return Err(broken(&chain(&error))),
            }
        }
    }

    /// Reads on to the end of the connection, so that the goodbyes of both sides arrive.
    pub async fn finish(mut self) {
        let _ = timeout(Duration::from_secs(1), async { while let Some(Ok(_)) = self.stream.next().await {} }).await;
    }
}

impl ExecSender {
    /// Sends a message.
    ///
    /// # Errors
    /// [`ClientError::Broken`] when it cannot be sent.
    pub async fn send(&mut self, frame: Frame) -> Result<(), ClientError> {
        let sent = timeout(STUCK, self.sink.send(Message::Binary(frame.encode()))).await;
        let broken = |reason: String| ClientError::Broken { host: self.host.clone(), reason };
        sent.map_err(|_| broken("it takes nothing".to_owned()))?.map_err(|error| broken(chain(&error)))
    }

    /// Says goodbye.
    pub async fn close(&mut self) {
        // A server that is gone need not be told.
        let _ = timeout(Duration::from_secs(1), self.sink.close()).await;
    }
}

impl Client {
    /// Begins a command in an instance of a deployment.
    ///
    /// # Errors
    /// [`ClientError`] when no node serves it, or it is refused. After [`ClientError::Broken`] it may have been run.
    pub async fn exec(&self, id: DeploymentId, query: &ExecQuery) -> Result<ExecSession, ClientError> {
        // Connections of HTTP/2 are not turned into something else in this way.
        let tls = self.trust.config(&[b"http/1.1"])?;
        let http = built(builder(self.patience).http1_only().tls_backend_preconfigured(tls))?;
        let path = format!("/deployments/{id}/exec?{}", query.encode());
        let request = Request::new(Method::GET, &path);
        self.until_answered(|index| self.begin(&http, &request, index)).await
    }

    async fn begin(&self, http: &reqwest::Client, request: &Request<'_>, index: usize) -> Result<ExecSession, Miss> {
        let (host, url) = self.address(index, request.path)?;
        let key = generate_key();
        let asked = self.builder_of(http, request, url).version(Version::HTTP_11);
        let asked = asked.header(header::CONNECTION, "upgrade").header(header::UPGRADE, "websocket");
        let asked = asked.header(header::SEC_WEBSOCKET_VERSION, "13").header(header::SEC_WEBSOCKET_KEY, &key);
        let sent = timeout(self.patience.attempt, asked.header(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL).send()).await;
        let broken = |reason: String| Miss::Final(ClientError::Broken { host: host.clone(), reason });
        let response = match sent {
            Ok(Ok(response)) => once(accepted(&host, response).await)?,
            Ok(Err(error)) if error.is_connect() => return Err(unreachable(&host, &error)),
            Ok(Err(error)) => return Err(broken(chain(&error))),
            Err(_) => return Err(broken("no answer in time".to_owned())),
        };
        let of_header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let agreed = of_header(header::SEC_WEBSOCKET_ACCEPT) == Some(&derive_accept_key(key.as_bytes()))
            && of_header(header::SEC_WEBSOCKET_PROTOCOL) == Some(PROTOCOL);
        if response.status() != StatusCode::SWITCHING_PROTOCOLS || !agreed {
            let reason = format!("{} where {PROTOCOL} was asked for", response.status());
            return Err(Miss::Final(ClientError::Unexpected { host, reason }));
        }
        let upgraded = response.upgrade().await.map_err(|error| broken(chain(&error)))?;
        let config = WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        let (sink, stream) = socket.split();
        Ok(ExecSession { receiver: ExecReceiver { host: host.clone(), stream }, sender: ExecSender { host, sink } })
    }
}

/// An answer after which the command may have been run is final: one of something between here and a control node, too, which
/// does not say whether it had passed the request on.
fn once<T>(answer: Result<T, Miss>) -> Result<T, Miss> {
    match answer {
        Err(Miss::Unavailable(problem, _)) if problem.is(ErrorCode::ExecInterrupted) || matches!(problem.status, 502 | 504) => {
            Err(Miss::Final(ClientError::Problem(problem)))
        }
        other => other,
    }
}
