//! Whom this system believes, and further authorities.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::{Error, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::{Judge, Shown, TlsFailure, of_nobody_known};

/// Believes whom this system's own programs believe.
#[derive(Debug)]
pub struct System {
    /// None: it believes nobody.
    verifier: Option<rustls_platform_verifier::Verifier>,
}

impl System {
    /// Reads what this system believes; `further` authorities are believed as well. It takes milliseconds.
    pub fn new(further: &[CertificateDer<'static>], provider: &Arc<CryptoProvider>) -> Self {
        let further = further.iter().cloned();
        Self { verifier: rustls_platform_verifier::Verifier::new_with_extra_roots(further, provider.clone()).ok() }
    }

    /// Whether it believes anybody.
    pub fn believes_somebody(&self) -> bool {
        self.verifier.is_some()
    }
}

impl Judge for System {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        let unknown = || TlsFailure::Unknown(shown.authority().to_string()).into();
        let Some(verifier) = &self.verifier else { return Err(unknown()) };
        match verifier.verify_server_cert(shown.end, shown.others, shown.name, shown.ocsp, shown.now) {
            Ok(_) => Ok(()),
            Err(error) if of_nobody_known(&error) => Err(unknown()),
            Err(error) => Err(error),
        }
    }
}

/// There is no certificate of an authority in a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no certificate of an authority in PEM in it")]
pub struct NoAuthority;

/// Certificates of authorities, PEM, each of which can be used as one.
///
/// # Errors
/// When there is none, or one of them is damaged.
pub fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, NoAuthority> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| NoAuthority)?;
    let mut roots = RootCertStore::empty();
    let usable = found.iter().all(|certificate: &CertificateDer<'static>| roots.add(certificate.clone()).is_ok());
    if usable && !found.is_empty() { Ok(found) } else { Err(NoAuthority) }
}
