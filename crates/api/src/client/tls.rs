//! Whom a client believes over TLS. Nothing is trusted on first use: a certificate nobody vouches for is refused, with the
//! fingerprint that was seen, so that a person can compare it with the one they were given.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, Error, RootCertStore};
use rustls_pki_types::CertificateDer;

use super::ClientError;
use crate::tls::{self, Fingerprint, FingerprintError, Judge, Shown, System, TlsFailure, Verifier, of_nobody_known};

/// Whom a client believes.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// The authorities this system believes.
    #[default]
    System,
    /// Whoever shows one of these certificates: its own, or that of the authority that signed its own.
    Pinned(Vec<Fingerprint>),
    /// Whom one of these authorities signed.
    Authorities(Vec<CertificateDer<'static>>),
}

/// A text that names nobody to trust.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A fingerprint is none.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    /// A file has no certificate.
    #[error("there is no certificate in PEM in it")]
    NoCertificate,
}

impl Trust {
    /// Fingerprints, comma separated: while an authority is replaced, that of the old one and of the new one.
    ///
    /// # Errors
    /// [`TrustError::Fingerprint`] with the first part that is none.
    pub fn pinned(list: &str) -> Result<Self, TrustError> {
        let each = list.split(',').map(str::trim).filter(|part| !part.is_empty());
        let pins = each.map(str::parse).collect::<Result<Vec<_>, _>>()?;
        if pins.is_empty() { Err(FingerprintError(list.to_owned()).into()) } else { Ok(Self::Pinned(pins)) }
    }

    /// Certificates of authorities, PEM.
    ///
    /// # Errors
    /// [`TrustError::NoCertificate`].
    pub fn authorities(pem: &[u8]) -> Result<Self, TrustError> {
        tls::authorities(pem).map(Self::Authorities).map_err(|_| TrustError::NoCertificate)
    }
}

/// A trust, ready to be used.
#[derive(Clone, Debug)]
pub(super) struct Trusted {
    verifier: Arc<Verifier<Believed>>,
    provider: Arc<CryptoProvider>,
}

impl Trusted {
    /// `needed`: whether anything is spoken over TLS at all; to read what a system believes takes time.
    pub(super) fn new(trust: Trust, needed: bool) -> Result<Self, ClientError> {
        let setup = |what: &str| ClientError::Setup(what.to_owned());
        let provider = CryptoProvider::get_default().cloned().ok_or_else(|| setup("there is no TLS"))?;
        let system = matches!(trust, Trust::System) && needed;
        let system = system.then(|| System::new(&[], &provider));
        Ok(Self { verifier: Arc::new(Verifier::new(Believed { trust, system }, &provider)), provider })
    }

    /// How connections are made on which one of `alpn` is spoken.
    pub(super) fn config(&self, alpn: &[&[u8]]) -> Result<ClientConfig, ClientError> {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| ClientError::Setup(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }
}

#[derive(Debug)]
struct Believed {
    trust: Trust,
    /// What this system believes; None when that is not asked.
    system: Option<System>,
}

impl Judge for Believed {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        match &self.trust {
            Trust::System => match &self.system {
                Some(system) => system.judge(shown),
                None => Err(TlsFailure::Unknown(shown.authority().to_string()).into()),
            },
            Trust::Pinned(pins) => by_pins(pins, shown),
            Trust::Authorities(authorities) => by_authorities(authorities, shown),
        }
    }
}

fn by_pins(pins: &[Fingerprint], shown: &Shown<'_>) -> Result<(), Error> {
    // Pinned itself, it is the one that was meant, whatever names and dates it has.
    if pins.contains(&Fingerprint::of(shown.end)) {
        return Ok(());
    }
    let pinned = shown.others.iter().find(|certificate| pins.contains(&Fingerprint::of(certificate)));
    let authority = pinned.ok_or_else(|| TlsFailure::Other(shown.authority().to_string()))?;
    by_authorities(std::slice::from_ref(authority), shown)
}

fn by_authorities(authorities: &[CertificateDer<'_>], shown: &Shown<'_>) -> Result<(), Error> {
    if authorities.contains(shown.end) {
        return Ok(());
    }
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone().into_owned())?;
    }
    match shown.signed_by(&roots, shown.others) {
        Err(error) if of_nobody_known(&error) => Err(TlsFailure::Other(shown.authority().to_string()).into()),
        result => result.and_then(|()| shown.is_named()),
    }
}
