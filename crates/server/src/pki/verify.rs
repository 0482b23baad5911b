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

use super::{Fingerprint, Identity, PkiError, TrustStore};

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
/// When an authority's certificate cannot be used.
pub fn client_verifier(trust: &TrustStore, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, PkiError> {
    let roots = Arc::new(trust.roots().map_err(PkiError::Tls)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider).allow_unauthenticated();
    builder.build().map_err(|e| PkiError::Verifier(e.to_string()))
}

fn roots(authority: &CertificateDer<'_>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned())?;
    Ok(roots)
}

/// Believes control nodes, and nobody else.
#[derive(Debug)]
pub struct ServerVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Which control nodes.
#[derive(Debug)]
enum Trust {
    /// Of a cluster whose authority this host knows.
    Cluster { cluster: ClusterId, roots: RootCertStore, expect: Expect },
    /// Of the cluster whose authority has this fingerprint: all that a join token says.
    Pinned(Fingerprint),
}

impl ServerVerifier {
    /// Believes whom `expect` says, when an authority of `trust` signed its certificate.
    ///
    /// # Errors
    /// When the authority's certificate cannot be used.
    pub fn of_cluster(
        cluster: ClusterId,
        trust: &TrustStore,
        expect: Expect,
        provider: &CryptoProvider,
    ) -> Result<Self, PkiError> {
        let roots = trust.roots().map_err(PkiError::Tls)?;
        Ok(Self::new(Trust::Cluster { cluster, roots, expect }, provider))
    }

    /// Believes whoever shows the authority with this fingerprint and a control node's certificate signed by it.
    pub fn pinned(pin: Fingerprint, provider: &CryptoProvider) -> Self {
        Self::new(Trust::Pinned(pin), provider)
    }

    fn new(trust: Trust, provider: &CryptoProvider) -> Self {
        Self { trust, algorithms: provider.signature_verification_algorithms }
    }

    fn signed(
        &self,
        server: &CertificateDer<'_>,
        roots: &RootCertStore,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(server)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, self.algorithms.all)
    }
}

/// Who the certificate says it is; a control node, or a mistake.
fn member_of(certificate: &CertificateDer<'_>, cluster: Option<ClusterId>) -> Result<(MemberId, Identity), Mistaken> {
    let found = Identity::of(certificate).map_err(|_| Mistaken::Nobody)?;
    if cluster.is_some_and(|cluster| cluster != found.cluster) {
        return Err(Mistaken::Cluster(found.cluster));
    }
    found.member.map(|member| (member, found)).ok_or(Mistaken::NotMember { found })
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::Cluster { cluster, roots, expect } => {
                self.signed(end_entity, roots, intermediates, now)?;
                let (member, found) = member_of(end_entity, Some(*cluster))?;
                if let Expect::Member(wanted) = *expect
                    && wanted != member
                {
                    return Err(Mistaken::Other { wanted, found }.into());
                }
            }
            Trust::Pinned(pin) => {
                let authority = intermediates.iter().find(|c| Fingerprint::of(c) == *pin).ok_or(Mistaken::Pin)?;
                self.signed(end_entity, &roots(authority)?, &[], now)?;
                member_of(end_entity, None)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

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
}
