//! One probe: what is asked, of whom, and what the answer means.

mod command;
mod http;
mod native;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ring_runtime::{Runtime, RuntimeError, RuntimeErrorKind};
use ring_types::{CheckKind, DeploymentSpec, HealthCheck, InstanceId, NetworkMode, RuntimeKind, Span, Timestamp};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::checks::Seen;

pub(super) use native::Native;

/// Characters kept of what an instance wrote.
const WRITTEN: usize = 200;

/// The instance that is probed.
pub(crate) struct Subject {
    pub(crate) instance: InstanceId,
    pub(crate) spec: Arc<DeploymentSpec>,
    pub(crate) runtime: Arc<dyn Runtime>,
    /// Its own network address, when it has one.
    pub(crate) address: Option<String>,
    /// When its process was started.
    pub(crate) started_at: Timestamp,
}

/// What one probe found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) seen: Seen,
    /// What the instance wrote; stays on this node.
    pub(super) written: String,
    /// There was no answer in time.
    pub(super) late: bool,
    /// It says something of the instance; not so when its runtime could not be asked.
    pub(super) counts: bool,
}

impl Found {
    fn of(result: Result<String, String>) -> Self {
        let (healthy, message) = match result {
            Ok(message) => (true, message),
            Err(message) => (false, message),
        };
        Self { seen: Seen { healthy, message }, written: String::new(), late: false, counts: true }
    }

    /// There was no answer in time.
    fn late(patience: Span) -> Self {
        Self { late: true, ..Self::of(Err(format!("no answer within {patience}"))) }
    }

    /// The runtime could not be asked about the instance. That is no fault of the instance.
    pub(super) fn unasked(message: String) -> Self {
        Self { counts: false, ..Self::of(Err(message)) }
    }

    /// The runtime did not answer at all.
    pub(super) fn silent(subject: &Subject, patience: Span) -> Self {
        let message = format!("the {} runtime did not answer within {patience}", subject.runtime.kind());
        Self { late: true, ..Self::unasked(message) }
    }

    /// What a runtime said instead of doing it.
    pub(super) fn refused(error: RuntimeError) -> Self {
        match error.kind {
            RuntimeErrorKind::Unavailable | RuntimeErrorKind::NotFound => Self::unasked(error.message),
            RuntimeErrorKind::Start(_) | RuntimeErrorKind::Other => Self::of(Err(error.message)),
        }
    }

    /// All of it, for the history.
    pub(super) fn text(&self) -> String {
        if self.written.is_empty() { self.seen.message.clone() } else { format!("{}: {}", self.seen.message, self.written) }
    }
}

/// Probes once, and waits no longer than the check says.
pub(super) async fn probe(subject: &Subject, check: &HealthCheck) -> Found {
    let patience = check.timeout;
    match &check.kind {
        CheckKind::Tcp { port } => {
            within(patience, async { connect(subject, *port).await.map(|_| "connected".to_owned()) }).await
        }
        CheckKind::Http { url } => within(patience, http::get(subject, url)).await,
        CheckKind::Command { command } => command::run(subject, command, patience).await,
    }
}

async fn within(patience: Span, probing: impl Future<Output = Result<String, String>>) -> Found {
    match timeout(patience.duration(), probing).await {
        Ok(result) => Found::of(result),
        Err(_) => Found::late(patience),
    }
}

async fn connect(subject: &Subject, port: u16) -> Result<TcpStream, String> {
    let addresses = subject.addresses(port)?;
    TcpStream::connect(addresses.as_slice()).await.map_err(|error| format!("port {port}: {}", reason(&error)))
}

impl Subject {
    /// Where a port of the instance is: at its own address, or at the host's own when it shares the host's network.
    fn addresses(&self, port: u16) -> Result<Vec<SocketAddr>, String> {
        let shares = self.spec.runtime == RuntimeKind::Process || self.spec.network == NetworkMode::Host;
        if shares {
            return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
        }
        let address = self.address.as_deref().and_then(|address| address.parse::<IpAddr>().ok());
        let address = address.ok_or("the instance has no network address that this node knows")?;
        Ok(vec![(address, port).into()])
    }

    /// A time of the host's clock as an age of the instance.
    pub(super) fn age(&self, at: Timestamp) -> Span {
        at.since(self.started_at)
    }
}

/// The words of the system for an error, without its number.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    words.to_lowercase()
}

/// One line of what an instance wrote, cut to what is kept.
fn line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(WRITTEN).collect()
}

#[cfg(test)]
mod tests;
