//! How the REST API of a control node is spoken to: plain or TLS, with whose certificate, and what a person is told of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::NodeError;
use crate::door::DoorLimits;
use crate::pki::{Fingerprint, MemberRecord};
use crate::rest::CallerLimits;
use crate::tls::{ApiTls, HostTls, LOOK_EVERY, OwnFiles, Signer, keep_signed, keep_up};

/// How the REST API speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ApiTlsMode {
    /// TLS with a certificate of the cluster's authority where it listens beyond loopback, else plain HTTP.
    #[default]
    Auto,
    /// TLS with a certificate of the cluster's authority, everywhere.
    Cluster,
    /// TLS with this certificate, everywhere; the files are read again when they change.
    Own {
        /// PEM, with the chain to the authority behind it.
        certificate: PathBuf,
        /// PEM.
        key: PathBuf,
    },
    /// Plain HTTP everywhere, beyond loopback too.
    Plain,
}

/// How the REST API is set.
#[derive(Clone, Debug, Default)]
pub struct ApiSettings {
    /// Plain or TLS.
    pub tls: ApiTlsMode,
    /// Names it is reached by beside its own, for the certificate of the cluster's authority.
    pub names: Vec<String>,
    /// Connections.
    pub door: DoorLimits,
    /// Requests and streams.
    pub callers: CallerLimits,
}

impl ApiSettings {
    /// Fails when a certificate of the operator's own cannot be used: better before a cluster is made than after.
    pub(super) fn check(&self) -> Result<(), NodeError> {
        let ApiTlsMode::Own { certificate, key } = &self.tls else { return Ok(()) };
        let files = OwnFiles { certificate: certificate.clone(), key: key.clone() };
        files.open().map(drop).map_err(NodeError::ApiCertificate)
    }
}

/// What of it is open.
pub(super) struct ApiFront {
    listen: SocketAddr,
    address: IpAddr,
    kind: Kind,
}

enum Kind {
    Plain,
    Cluster(Arc<ApiTls>, Fingerprint),
    Own(Arc<ApiTls>, OwnFiles),
}

/// What a person is told about the REST API of this control node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiWords {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// It is plain HTTP, and others can reach it.
    pub exposed: bool,
    /// What to type to log in from another host, and on this one.
    pub login: String,
}

impl ApiWords {
    /// What is said of an API that is exposed.
    pub const EXPOSED: &'static str = "the REST API is plain HTTP beyond loopback: whoever is on the way reads and changes what is \
        sent, passwords and tokens too. Start it without --plain-http (and without mode = \"plain\" in [server.tls]) for TLS";
}

impl ApiFront {
    /// What `settings` ask for, at an address that is listened on.
    pub(super) fn open(
        settings: &ApiSettings,
        member: &MemberRecord,
        listen: SocketAddr,
        host: &HostTls,
    ) -> Result<Self, NodeError> {
        let cluster = || -> Result<Kind, NodeError> {
            // Until the authority is known, which a control node that has just joined waits for, its own certificate is shown.
            let (chain, key) = host.shown();
            let tls = ApiTls::new(chain, key).map_err(NodeError::ApiCertificate)?;
            Ok(Kind::Cluster(Arc::new(tls), host.authority()?))
        };
        let kind = match &settings.tls {
            ApiTlsMode::Plain => Kind::Plain,
            ApiTlsMode::Auto if listen.ip().to_canonical().is_loopback() => Kind::Plain,
            ApiTlsMode::Auto | ApiTlsMode::Cluster => cluster()?,
            ApiTlsMode::Own { certificate, key } => {
                let files = OwnFiles { certificate: certificate.clone(), key: key.clone() };
                Kind::Own(Arc::new(files.open().map_err(NodeError::ApiCertificate)?), files)
            }
        };
        let reached = member.api_address.parse().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address: SocketAddr| address.ip());
        Ok(Self { listen, address: reached, kind })
    }

    /// Where others reach it.
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    pub(super) fn tls(&self) -> Option<Arc<ApiTls>> {
        match &self.kind {
            Kind::Plain => None,
            Kind::Cluster(tls, _) | Kind::Own(tls, _) => Some(tls.clone()),
        }
    }

    /// What keeps its certificate good until `stop`.
    pub(super) fn keep(&self, host: Arc<HostTls>, signer: Signer, stop: CancellationToken) -> Option<BoxFuture<'static, ()>> {
        match &self.kind {
            Kind::Plain => None,
            Kind::Cluster(tls, _) => Some(Box::pin(keep_signed(tls.clone(), host, signer, stop))),
            Kind::Own(tls, files) => Some(Box::pin(keep_up(tls.clone(), files.clone(), LOOK_EVERY, stop))),
        }
    }

    pub(super) fn words(&self, member: &MemberRecord) -> ApiWords {
        let beyond = !self.listen.ip().to_canonical().is_loopback();
        let at = &member.api_address;
        let (scheme, login) = match &self.kind {
            Kind::Plain if !beyond && self.listen.port() == ring_api::API_PORT => ("http", "ring login -u admin".to_owned()),
            Kind::Plain => ("http", format!("ring login --host http://{at} -u admin")),
            Kind::Cluster(_, authority) => {
                ("https", format!("ring login --host https://{at} --ca-fingerprint {authority} -u admin"))
            }
            Kind::Own(..) => ("https", format!("ring login --host https://{at} -u admin")),
        };
        ApiWords { scheme, exposed: beyond && scheme == "http", login }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(api: &str) -> MemberRecord {
        let api_listen = api.parse().unwrap();
        let id = ring_types::MemberId(1);
        MemberRecord { id, name: "c1".into(), address: "10.0.0.1:3031".into(), api_address: api.into(), api_listen }
    }

    fn words(listen: &str, api: &str) -> ApiWords {
        let front = ApiFront { listen: listen.parse().unwrap(), address: IpAddr::V4(Ipv4Addr::LOCALHOST), kind: Kind::Plain };
        front.words(&member(api))
    }

    #[test]
    fn plain_http_is_called_exposed_where_others_reach_it() {
        assert_eq!(words("127.0.0.1:3030", "127.0.0.1:3030").login, "ring login -u admin");
        assert!(!words("[::1]:3030", "[::1]:3030").exposed);
        let open = words("0.0.0.0:3030", "10.0.0.1:3030");
        assert!(open.exposed && open.login.contains("--host http://10.0.0.1:3030 "), "{open:?}");
    }
}
