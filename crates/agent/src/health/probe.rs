//! One probe: what is asked, of whom, and what the answer means.

mod command;
mod http;
mod native;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ring_runtime::Runtime;
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
}

impl Found {
    pub(super) fn of(result: Result<String, String>) -> Self {
        let (healthy, message) = match result {
            Ok(message) => (true, message),
            Err(message) => (false, message),
        };
        Self { seen: Seen { healthy, message }, written: String::new(), late: false }
    }

    /// There was no answer in time.
    pub(super) fn late(message: String) -> Self {
        Self { late: true, ..Self::of(Err(message)) }
    }

    /// All of it, for the history.
    pub(super) fn text(&self) -> String {
        if self.written.is_empty() { self.seen.message.clone() } else { format!("{}: {}", self.seen.message, self.written) }
    }
}

/// Probes once, and waits no longer than the check says.
pub(super) async fn probe(subject: &Subject, check: &HealthCheck) -> Found {
    let probing = async {
        match &check.kind {
            CheckKind::Tcp { port } => Found::of(connect(subject, *port).await.map(|_| "connected".to_owned())),
            CheckKind::Http { url } => Found::of(http::get(subject, url).await),
            CheckKind::Command { command } => command::run(subject, command).await,
        }
    };
    let late = |_| Found::late(format!("no answer within {}", check.timeout));
    timeout(check.timeout.duration(), probing).await.unwrap_or_else(late)
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
