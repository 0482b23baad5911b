//! What a host is called, where it is reached, and how its parts are set.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring_controller::ControllerOptions;
use ring_store::{Compaction, Timing};
use ring_types::{Name, Span};

use super::{ApiSettings, NodeError};
use crate::pki::{DEFAULT_LIFETIME, HostFiles, SecretKey};
use crate::webhooks::WebhookOptions;

/// How the parts of a control node are set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Heartbeats and elections.
    pub timing: Timing,
    /// When the state is written as a whole.
    pub compaction: Compaction,
    /// Planner and leases.
    pub controllers: ControllerOptions,
    /// How long certificates are good.
    pub certificate_lifetime: Duration,
    /// The secret key of the environment; it wins over the file.
    pub secret_key: Option<SecretKey>,
    /// Longest time of a rolling update from one ready instance to the next, beside the start period of its checks.
    pub rollout_deadline: Span,
    /// How often uses of API tokens are committed; their last use is shown to twice this.
    pub note_uses_every: Duration,
    /// How webhooks are reached.
    pub webhooks: WebhookOptions,
    /// How the REST API is spoken to, and by how many.
    pub api: ApiSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timing: Timing::default(),
            compaction: Compaction::default(),
            controllers: ControllerOptions::default(),
            certificate_lifetime: DEFAULT_LIFETIME,
            secret_key: None,
            rollout_deadline: ring_state::limits::ROLLOUT_DEADLINE,
            note_uses_every: Duration::from_mins(1),
            webhooks: WebhookOptions::default(),
            api: ApiSettings::default(),
        }
    }
}

/// Where the REST API listens unless it is said: everywhere, or on loopback when nobody else is to reach this host.
pub(super) fn api_listen(wanted: Option<SocketAddr>, advertise: SocketAddr) -> SocketAddr {
    let ip = if advertise.ip().is_loopback() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { any(advertise.ip()) };
    wanted.unwrap_or(SocketAddr::new(ip, ring_api::API_PORT))
}

/// The host's own name, with what a name may not have taken out.
pub fn host_name() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let usable = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = text.trim().chars().take(100).map(usable).collect();
    let name = name.trim_start_matches(['-', '_', '.']);
    if name.is_empty() { "node".to_owned() } else { name.to_owned() }
}

pub(super) fn name(text: Option<&str>) -> Result<Name, NodeError> {
    let text = text.map_or_else(host_name, str::to_owned);
    Name::new(&text).map_err(|why| NodeError::Name { name: text, why })
}

/// Where the cluster port listens: on all addresses, unless others are to reach it on this host only.
pub(super) fn cluster_listen(advertise: SocketAddr) -> SocketAddr {
    if advertise.ip().is_loopback() { advertise } else { SocketAddr::new(any(advertise.ip()), advertise.port()) }
}

/// Where others reach the REST API.
pub(super) fn api_address(listen: SocketAddr, advertise: SocketAddr) -> String {
    let ip = if listen.ip().is_unspecified() { advertise.ip() } else { listen.ip() };
    SocketAddr::new(ip, listen.port()).to_string()
}

fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}

/// The address this host has towards another: no packet is sent.
pub(super) fn address_towards(other: &str) -> Result<IpAddr, NodeError> {
    let failed = |e: std::io::Error| NodeError::Advertise(e.to_string());
    let other: SocketAddr = std::net::ToSocketAddrs::to_socket_addrs(other)
        .map_err(failed)?
        .next()
        .ok_or_else(|| NodeError::Advertise(format!("'{other}' has no address")))?;
    let socket = UdpSocket::bind(SocketAddr::new(any(other.ip()), 0)).map_err(failed)?;
    socket.connect(other).map_err(failed)?;
    socket.local_addr().map(|own| own.ip()).map_err(failed)
}

pub(super) fn store_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

/// The secret key this host is to use: that of the environment, else that of its file.
pub(super) fn secret_key(files: &HostFiles, settings: &Settings) -> Result<SecretKey, NodeError> {
    if let Some(key) = &settings.secret_key {
        return Ok(key.clone());
    }
    files.secret_key()?.ok_or_else(|| NodeError::NoSecretKey(files.secret_key_path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_port_others_reach_listens_everywhere() {
        let listen = |text: &str| cluster_listen(text.parse().unwrap()).to_string();
        assert_eq!(listen("10.0.0.1:3031"), "0.0.0.0:3031");
        assert_eq!(listen("127.0.0.1:4000"), "127.0.0.1:4000");
        assert_eq!(listen("[2001:db8::1]:3031"), "[::]:3031");
    }

    #[test]
    fn a_host_for_itself_keeps_its_api_to_itself() {
        let listen = |advertise: &str| api_listen(None, advertise.parse().unwrap()).to_string();
        assert_eq!(listen("127.0.0.1:3031"), "127.0.0.1:3030");
        assert_eq!(listen("10.0.0.1:3031"), "0.0.0.0:3030");
    }

    #[test]
    fn an_api_that_listens_everywhere_is_reached_where_the_host_is() {
        let address = |listen: &str| api_address(listen.parse().unwrap(), "10.0.0.1:3031".parse().unwrap());
        assert_eq!(address("0.0.0.0:3030"), "10.0.0.1:3030");
        assert_eq!(address("10.0.0.9:80"), "10.0.0.9:80");
    }

    #[test]
    fn the_address_towards_this_host_is_this_host() {
        assert!(address_towards("127.0.0.1:9").unwrap().is_loopback());
    }

    #[test]
    fn the_host_has_a_name() {
        assert!(Name::new(&host_name()).is_ok());
        assert!(name(Some("a b")).is_err());
    }
}
