//! Who is let in and who is believed. A server takes client certificates of its own cluster only; a client believes a server
//! whose certificate its cluster signed and that is the member it meant to reach. Host names play no part.

use std::sync::Arc;

use ring_types::{ClusterId, MemberId};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Fingerprint, Identity, PkiError};

/// Which control node a connection is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// This one and no other.
    Member(MemberId),
    /// Any of the cluster.
    AnyMember,
}

/// What is wrong with a server's certificate, beyond its signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Mistaken {
    #[error("the certificate names nobody of a ring cluster")]
    Nobody,
    #[error("the certificate belongs to cluster {0}, this host to another")]
    Cluster(ClusterId),
    #[error("the certificate belongs to {found}, not to a control node")]
    NotMember { found: Identity },
    #[error("member {wanted} was meant, but {found} answered")]
    Other { wanted: MemberId, found: Identity },
    #[error("none of the server's certificates is the authority the join token names: this is another cluster, or not ring")]
    Pin,
}

impl From<Mistaken> for Error {
    fn from(mistake: Mistaken) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(mistake))))
    }
}

/// Lets in clients with a certificate of this cluster, and clients with none: what those may call is decided per service.
///
/// # Errors
/// When the authority's certificate cannot be used.
pub fn client_verifier(
    authority: &CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, PkiError> {
    let roots = Arc::new(roots(authority).map_err(PkiError::Tls)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider).allow_unauthenticated();
    builder.build().map_err(|e| PkiError::Verifier(e.to_string()))
}

fn roots(authority: &CertificateDer<'_>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned())?;
    Ok(roots)
}

/// Believes the control nodes of one cluster.
#[derive(Debug)]
pub struct PeerVerifier {
    cluster: ClusterId,
    roots: RootCertStore,
    expect: Expect,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PeerVerifier {
    /// Believes whom `expect` says, when `authority` signed its certificate.
    ///
    /// # Errors
    /// When the authority's certificate cannot be used.
    pub fn new(
        cluster: ClusterId,
        authority: &CertificateDer<'_>,
        expect: Expect,
        provider: &CryptoProvider,
    ) -> Result<Self, PkiError> {
        let roots = roots(authority).map_err(PkiError::Tls)?;
        Ok(Self { cluster, roots, expect, algorithms: provider.signature_verification_algorithms })
    }

    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Mistaken> {
        let found = Identity::of(certificate).map_err(|_| Mistaken::Nobody)?;
        if found.cluster != self.cluster {
            return Err(Mistaken::Cluster(found.cluster));
        }
        match (self.expect, found.member) {
            (_, None) => Err(Mistaken::NotMember { found }),
            (Expect::Member(wanted), Some(member)) if member != wanted => Err(Mistaken::Other { wanted, found }),
            _ => Ok(()),
        }
    }
}

/// Believes whoever shows the authority a join token names and a control node's certificate signed by it.
#[derive(Debug)]
pub struct PinnedVerifier {
    pin: Fingerprint,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinnedVerifier {
    /// Trusts the authority with this fingerprint.
    pub fn new(pin: Fingerprint, provider: &CryptoProvider) -> Self {
        Self { pin, algorithms: provider.signature_verification_algorithms }
    }
}

macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, certificate, signature, &self.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signature, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, self.algorithms.all)?;
        self.check(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures!();
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = intermediates.iter().find(|c| Fingerprint::of(c) == self.pin).ok_or(Mistaken::Pin)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots(authority)?, &[], now, self.algorithms.all)?;
        let found = Identity::of(end_entity).map_err(|_| Mistaken::Nobody)?;
        found.member.ok_or(Mistaken::NotMember { found })?;
        Ok(ServerCertVerified::assertion())
    }

    signatures!();
}
