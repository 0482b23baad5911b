//! The HTTP client: several control nodes, of which any answers any request.
//!
//! A request that meets a dead node, or one without a leader, goes to the next. A change carries one idempotency key through
//! all its attempts, so trying again after a lost reply is safe.

mod download;
mod endpoints;
mod error;
mod exec;
mod hosts;
mod send;
mod sse;
mod tls;
mod webhooks;

pub use download::Download;
pub use error::{ClientError, Failure};
pub use exec::{ExecReceiver, ExecSender, ExecSession};
pub use hosts::{BY_HOST, HostError, Hosts};
pub use sse::Follow;
pub use tls::{Trust, TrustError};

pub use crate::tls::{Fingerprint, FingerprintError, TlsFailure};

use std::sync::Arc;
use std::time::Duration;

use tls::Trusted;

/// How patient a client is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To make a connection.
    pub connect: Duration,
    /// For the answer to one attempt.
    pub attempt: Duration,
    /// In all, while no node can be reached.
    pub unreachable: Duration,
    /// In all, while nodes answer that they cannot serve now.
    pub unavailable: Duration,
    /// Without a byte on a stream, before it is taken up elsewhere.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            attempt: Duration::from_secs(15),
            unreachable: Duration::from_secs(3),
            unavailable: Duration::from_secs(10),
            idle: Duration::from_secs(45),
        }
    }
}

/// A client of the REST interface. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    hosts: Arc<Hosts>,
    token: Option<Arc<str>>,
    patience: Patience,
    trust: Trusted,
}

impl Client {
    /// A client of the control nodes `hosts`, with a bearer token where there is one; it believes the certificates this system does.
    ///
    /// # Errors
    /// [`ClientError::Setup`] when there is no TLS (the program has to install a rustls provider first).
    pub fn new(hosts: Hosts, token: Option<String>, patience: Patience) -> Result<Self, ClientError> {
        Self::trusting(hosts, token, patience, Trust::System)
    }

    /// The same, and it believes what `trust` says.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn trusting(hosts: Hosts, token: Option<String>, patience: Patience, trust: Trust) -> Result<Self, ClientError> {
        let trust = Trusted::new(trust, hosts.speak_tls())?;
        let http = built(builder(patience).tls_backend_preconfigured(trust.config(&[b"h2", b"http/1.1"])?))?;
        Ok(Self { http, hosts: Arc::new(hosts), token: token.map(Into::into), patience, trust })
    }

    /// The control nodes it asks.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Does it have a token?
    pub const fn has_token(&self) -> bool {
        self.token.is_some()
    }
}

/// How every request is made.
fn builder(patience: Patience) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(patience.connect)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("ring/", env!("CARGO_PKG_VERSION")))
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, ClientError> {
    builder.build().map_err(|error| ClientError::Setup(error::chain(&error)))
}
