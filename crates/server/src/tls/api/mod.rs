//! TLS of the REST API: what it shows can be replaced while it runs. It asks for no client certificate: who calls is known by a
//! token.

mod own;
mod signed;

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::pki::PkiError;
pub(crate) use own::{LOOK_EVERY, OwnFiles, keep_up};
pub(crate) use signed::{Signer, keep_signed};

/// What a client may speak, the best first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificate the REST API shows, and how it speaks TLS.
pub(crate) struct ApiTls {
    provider: Arc<CryptoProvider>,
    shown: Arc<Shown>,
    server: Arc<ServerConfig>,
}

#[derive(Debug)]
struct Shown(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl ApiTls {
    /// Shows a certificate, the chain that leads to its authority behind it.
    ///
    /// # Errors
    /// [`PkiError::Tls`] when the key is another one's.
    pub(crate) fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, PkiError> {
        let provider = Arc::new(default_provider());
        let shown = CertifiedKey::from_der(chain, key, &provider).map_err(PkiError::Tls)?;
        let shown = Arc::new(Shown(ArcSwap::from_pointee(shown)));
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(PkiError::Tls)?
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        server.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        Ok(Self { provider, shown, server: Arc::new(server) })
    }

    /// Shows another one from now on; connections there are stay.
    ///
    /// # Errors
    /// [`PkiError::Tls`] when the key is another one's; then nothing changes.
    pub(crate) fn replace(&self, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<(), PkiError> {
        let shown = CertifiedKey::from_der(chain, key, &self.provider).map_err(PkiError::Tls)?;
        self.shown.0.store(Arc::new(shown));
        Ok(())
    }

    /// How a connection is accepted.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }
}
