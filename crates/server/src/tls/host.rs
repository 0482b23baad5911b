//! What this host shows and whom it believes.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ring_types::ClusterId;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use crate::pki::{
    Expect, Fingerprint, HostFiles, HostKey, Identity, PkiError, ServerVerifier, Trust, TrustStore, Validity, client_verifier,
};

const ALPN: &[u8] = b"h2";

/// The certificate of this host and everything derived from it. Shared by all its connections.
#[derive(Debug)]
pub struct HostTls {
    cluster: ClusterId,
    key: HostKey,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<Material>,
    /// How often the certificate was replaced.
    replaced: watch::Sender<u64>,
}

#[derive(Debug)]
struct Material {
    certificate: CertificateDer<'static>,
    trust: TrustStore,
    /// Which authority signed its certificate.
    issuer: Option<Fingerprint>,
    server: Arc<ServerConfig>,
}

impl HostTls {
    /// Reads the files of a host that has joined.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn load(files: &HostFiles) -> Result<Self, PkiError> {
        let (own, authority) = files.certificates()?;
        Self::new(files.key()?, &own, &authority)
    }

    /// From a key, its certificate and those of the authorities it trusts, PEM.
    ///
    /// # Errors
    /// When they do not fit together.
    pub fn new(key: HostKey, own: &str, authority: &str) -> Result<Self, PkiError> {
        let provider = Arc::new(default_provider());
        let material = Material::new(&key, own, authority, &provider)?;
        let cluster = Identity::of(&material.certificate)?.cluster;
        Ok(Self { cluster, key, provider, current: ArcSwap::from_pointee(material), replaced: watch::Sender::default() })
    }

    /// Shows another certificate of the same key from now on, and trusts these authorities.
    ///
    /// # Errors
    /// When it does not fit the key.
    pub fn replace(&self, own: &str, authority: &str) -> Result<(), PkiError> {
        self.current.store(Arc::new(Material::new(&self.key, own, authority, &self.provider)?));
        self.replaced.send_modify(|times| *times += 1);
        Ok(())
    }

    /// Tells of each replacement from now on.
    pub(crate) fn replacements(&self) -> watch::Receiver<u64> {
        self.replaced.subscribe()
    }

    /// Its certificate with those of the authorities, and its key.
    pub(crate) fn shown(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let material = self.current.load();
        (material.chain(), self.key.der())
    }

    /// What names the authority that signed its certificate; of one that is not good now, the authority that signs.
    ///
    /// # Errors
    /// When it trusts none.
    pub(crate) fn authority(&self) -> Result<Fingerprint, PkiError> {
        let material = self.current.load();
        let signs = material.issuer.or_else(|| material.trust.fingerprints().first().copied());
        signs.ok_or_else(|| PkiError::malformed("the authorities", "there is none"))
    }

    /// Who this host is.
    ///
    /// # Errors
    /// When its own certificate names nobody.
    pub fn identity(&self) -> Result<Identity, PkiError> {
        Identity::of(&self.current.load().certificate)
    }

    /// From when to when its certificate is good.
    ///
    /// # Errors
    /// When its own certificate cannot be read.
    pub fn validity(&self) -> Result<Validity, PkiError> {
        Identity::validity(&self.current.load().certificate)
    }

    /// A request for a new certificate of the same key.
    ///
    /// # Errors
    /// When signing fails.
    pub fn request(&self) -> Result<String, PkiError> {
        self.key.request()
    }

    /// The authorities it trusts.
    pub fn authorities(&self) -> Vec<Fingerprint> {
        self.current.load().trust.fingerprints()
    }

    /// It trusts these and no others, and has a certificate of the first.
    pub fn is_current(&self, wanted: &[Fingerprint]) -> bool {
        let material = self.current.load();
        let trusted = material.trust.fingerprints();
        trusted.len() == wanted.len()
            && wanted.iter().all(|one| material.trust.has(*one))
            && material.issuer == wanted.first().copied()
    }

    /// Does it trust that authority now?
    pub(crate) fn trusts(&self, authority: Fingerprint) -> bool {
        self.current.load().trust.has(authority)
    }

    /// Which authority it trusts signed a certificate.
    pub(crate) fn issuer_of(&self, certificate: &CertificateDer<'_>) -> Option<Fingerprint> {
        self.current.load().trust.issuer_of(certificate, &self.provider)
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.current.load().server.clone()
    }

    pub(crate) fn client(&self, expect: Expect) -> Result<ClientConfig, PkiError> {
        let material = self.current.load();
        let verifier = ServerVerifier::new(Trust::of_cluster(self.cluster, &material.trust, expect)?, &self.provider);
        let builder = client_builder(self.provider.clone(), Arc::new(verifier))?;
        let chain = material.chain();
        let config = builder.with_client_auth_cert(chain, self.key.der()).map_err(PkiError::Tls)?;
        Ok(finish(config))
    }
}

impl Material {
    fn new(key: &HostKey, own: &str, authority: &str, provider: &Arc<CryptoProvider>) -> Result<Self, PkiError> {
        let certificate = crate::pki::certificate_from_pem(own)?;
        let trust = TrustStore::from_pem(authority)?;
        let verifier = client_verifier(&trust, provider.clone())?;
        let chain = chain(&certificate, &trust);
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(PkiError::Tls)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key.der())
            .map_err(PkiError::Tls)?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        // Connections live long and every one of them is to be checked anew.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let issuer = trust.issuer_of(&certificate, provider);
        Ok(Self { certificate, trust, issuer, server: Arc::new(server) })
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        chain(&self.certificate, &self.trust)
    }
}

fn chain(certificate: &CertificateDer<'static>, trust: &TrustStore) -> Vec<CertificateDer<'static>> {
    std::iter::once(certificate.clone()).chain(trust.certificates()).collect()
}

type ClientBuilder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

pub(super) fn client_builder(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientBuilder, PkiError> {
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(PkiError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

pub(super) fn finish(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = rustls::client::Resumption::disabled();
    config
}
