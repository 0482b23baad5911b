//! Who is let in and who is believed. A server takes client certificates of its own cluster only; a client believes a server
//! whose certificate its cluster signed and that is the member it meant to reach. Host names play no part.

use std::sync::Arc;

use ring_api::tls::{Judge, Shown, Verifier};
use ring_types::{ClusterId, MemberId};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, Error, OtherError, RootCertStore};
use rustls_pki_types::CertificateDer;

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
pub type ServerVerifier = Verifier<Trust>;

/// Which control nodes.
#[derive(Debug)]
pub enum Trust {
    /// Of a cluster whose authority this host knows.
    Cluster {
        /// The cluster.
        cluster: ClusterId,
        /// Its authorities.
        roots: RootCertStore,
        /// Which of its control nodes.
        expect: Expect,
    },
    /// Of the cluster whose authority has this fingerprint: all that a join token says.
    Pinned(Fingerprint),
}

impl Trust {
    /// Believes whom `expect` says, when an authority of `trust` signed its certificate.
    ///
    /// # Errors
    /// When the authority's certificate cannot be used.
    pub fn of_cluster(cluster: ClusterId, trust: &TrustStore, expect: Expect) -> Result<Self, PkiError> {
        Ok(Self::Cluster { cluster, roots: trust.roots().map_err(PkiError::Tls)?, expect })
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

impl Judge for Trust {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        match self {
            Self::Cluster { cluster, roots, expect } => {
                shown.signed_by(roots, shown.others)?;
                let (member, found) = member_of(shown.end, Some(*cluster))?;
                if let Expect::Member(wanted) = *expect
                    && wanted != member
                {
                    return Err(Mistaken::Other { wanted, found }.into());
                }
            }
            Self::Pinned(pin) => {
                let authority = shown.others.iter().find(|c| Fingerprint::of(c) == *pin).ok_or(Mistaken::Pin)?;
                shown.signed_by(&roots(authority)?, &[])?;
                member_of(shown.end, None)?;
            }
        }
        Ok(())
    }
}
