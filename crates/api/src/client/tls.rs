//! Whom a client believes over TLS. Nothing is trusted on first use: a certificate nobody vouches for is refused, with the
//! fingerprint that was seen, so that a person can compare it with the one they were given.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};

use super::ClientError;

/// SHA-256 of a certificate's DER bytes, as join tokens have it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the SHA-256 fingerprint of a certificate: 64 hexadecimal digits are wanted")]
pub struct FingerprintError(String);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// With or without the colons other tools write.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits: String = text.trim().chars().filter(|&c| c != ':').collect();
        let mut bytes = [0; 32];
        let fail = |_| FingerprintError(text.chars().take(100).collect());
        hex::decode_to_slice(digits.strip_prefix("sha256").unwrap_or(&digits), &mut bytes).map_err(fail)?;
        Ok(Self(bytes))
    }
}

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
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        found.ok().filter(|found| !found.is_empty()).map(Self::Authorities).ok_or(TrustError::NoCertificate)
    }
}

/// Why a TLS connection was given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// Nobody who is believed vouches for it, and nothing is pinned.
    #[error("nothing vouches here for its certificate, whose authority has the fingerprint {0}")]
    Unknown(String),
    /// Something is pinned, and it is another one.
    #[error("its authority is not the one that is pinned here: it has the fingerprint {0}")]
    Other(String),
    /// It is over.
    #[error("its certificate has expired: look at the clocks of both hosts, and at the log of that one")]
    Expired,
    /// It has not begun.
    #[error("its certificate is not valid yet: look at the clocks of both hosts")]
    NotYet,
    /// It is another host's.
    #[error("its certificate is not for that name or address, but for {0}")]
    Name(String),
    /// It speaks something else.
    #[error("it does not speak TLS")]
    Plain,
    /// Something else.
    #[error("{0}")]
    Failed(String),
}

/// What is wrong with a certificate, as it passes through the TLS library.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct Distrust(TlsFailure);

impl From<Distrust> for Error {
    fn from(distrust: Distrust) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(distrust))))
    }
}

/// A trust, ready to be used.
#[derive(Clone, Debug)]
pub(super) struct Trusted {
    verifier: Arc<Verifier>,
}

impl Trusted {
    /// `needed`: whether anything is spoken over TLS at all; to read what a system believes takes time.
    pub(super) fn new(trust: Trust, needed: bool) -> Result<Self, ClientError> {
        let setup = |what: &str| ClientError::Setup(what.to_owned());
        let provider = CryptoProvider::get_default().cloned().ok_or_else(|| setup("there is no TLS"))?;
        let system = match trust {
            Trust::System if needed => rustls_platform_verifier::Verifier::new(provider.clone()).ok(),
            _ => None,
        };
        Ok(Self { verifier: Arc::new(Verifier { trust, system, provider }) })
    }

    /// How connections are made on which one of `alpn` is spoken.
    pub(super) fn config(&self, alpn: &[&[u8]]) -> Result<ClientConfig, ClientError> {
        let mut config = ClientConfig::builder_with_provider(self.verifier.provider.clone())
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
struct Verifier {
    trust: Trust,
    /// What this system believes; None when that is not asked, or it believes nobody.
    system: Option<rustls_platform_verifier::Verifier>,
    provider: Arc<CryptoProvider>,
}

/// What a server shows, and what for.
struct Shown<'a> {
    end: &'a CertificateDer<'a>,
    others: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
    now: UnixTime,
}

impl Shown<'_> {
    /// What a person is to compare: the authority, which a server sends last.
    fn seen(&self) -> String {
        Fingerprint::of(self.others.last().unwrap_or(self.end)).to_string()
    }
}

impl Verifier {
    fn by_system(&self, shown: &Shown<'_>, ocsp: &[u8]) -> Result<(), Error> {
        let unknown = || Distrust(TlsFailure::Unknown(shown.seen())).into();
        let Some(system) = &self.system else { return Err(unknown()) };
        match system.verify_server_cert(shown.end, shown.others, shown.name, ocsp, shown.now) {
            Ok(_) => Ok(()),
            Err(error) if of_nobody_known(&error) => Err(unknown()),
            Err(error) => Err(error),
        }
    }

    fn by_pins(&self, pins: &[Fingerprint], shown: &Shown<'_>) -> Result<(), Error> {
        // Pinned itself, it is the one that was meant, whatever names and dates it has.
        if pins.contains(&Fingerprint::of(shown.end)) {
            return Ok(());
        }
        let pinned = shown.others.iter().find(|certificate| pins.contains(&Fingerprint::of(certificate)));
        let authority = pinned.ok_or_else(|| Distrust(TlsFailure::Other(shown.seen())))?;
        self.signed_by(std::slice::from_ref(authority), shown)
    }

    fn signed_by(&self, authorities: &[CertificateDer<'_>], shown: &Shown<'_>) -> Result<(), Error> {
        if authorities.contains(shown.end) {
            return Ok(());
        }
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority.clone().into_owned())?;
        }
        let parsed = ParsedCertificate::try_from(shown.end)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(&parsed, &roots, shown.others, shown.now, algorithms) {
            Err(error) if of_nobody_known(&error) => return Err(Distrust(TlsFailure::Other(shown.seen())).into()),
            result => result?,
        }
        verify_server_name(&parsed, shown.name)
    }
}

/// What the library has no word of its own for is a chain that does not hold: an authority that signed itself, and the like.
fn of_nobody_known(error: &Error) -> bool {
    use CertificateError::{BadSignature, Other, UnknownIssuer};
    matches!(error, Error::InvalidCertificate(UnknownIssuer | BadSignature | Other(_)))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = Shown { end: end_entity, others: intermediates, name: server_name, now };
        match &self.trust {
            Trust::System => self.by_system(&shown, ocsp_response)?,
            Trust::Pinned(pins) => self.by_pins(pins, &shown)?,
            Trust::Authorities(authorities) => self.signed_by(authorities, &shown)?,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The failure of TLS in an error of a request; None when it is of another kind.
pub(super) fn failure(error: &reqwest::Error) -> Option<TlsFailure> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = source {
        if let Some(found) = within(one) {
            return Some(explained(found));
        }
        source = one.source();
    }
    None
}

/// An error of I/O does not name the one it wraps as its source.
fn within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    match error.downcast_ref::<io::Error>() {
        Some(wrapping) => within(wrapping.get_ref()?),
        None => error.downcast_ref(),
    }
}

fn explained(error: &Error) -> TlsFailure {
    match error {
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => TlsFailure::Expired,
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            TlsFailure::NotYet
        }
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) => {
            TlsFailure::Name(presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", "))
        }
        Error::InvalidCertificate(CertificateError::NotValidForName) => TlsFailure::Name("another".to_owned()),
        Error::InvalidCertificate(CertificateError::Other(other)) => match other.0.downcast_ref::<Distrust>() {
            Some(distrust) => distrust.0.clone(),
            None => TlsFailure::Failed(other.to_string()),
        },
        Error::InvalidMessage(_) => TlsFailure::Plain,
        other => TlsFailure::Failed(other.to_string()),
    }
}

/// `10.0.0.1` of `IpAddress(10.0.0.1)`, as the library writes names.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}
