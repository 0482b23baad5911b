//! Why a server is not believed, in words that say what to look at.

use std::io;
use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError};

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

impl From<TlsFailure> for Error {
    fn from(failure: TlsFailure) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Distrust(failure)))))
    }
}

/// What the library has no word of its own for is a chain that does not hold: an authority that signed itself, and the like.
pub fn of_nobody_known(error: &Error) -> bool {
    use CertificateError::{BadSignature, Other, UnknownIssuer};
    matches!(error, Error::InvalidCertificate(UnknownIssuer | BadSignature | Other(_)))
}

/// The failure of TLS in an error of a request or a connection; None when it is of another kind.
pub fn failure(error: &(dyn std::error::Error + 'static)) -> Option<TlsFailure> {
    let mut source = Some(error);
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
