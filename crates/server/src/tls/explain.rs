//! TLS failures in words that say what to look at.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// What went wrong, seen from this side.
pub(crate) fn explain(error: &io::Error) -> String {
    match inner(error) {
        // An authority that calls itself like ours has another key.
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "its certificate was signed by another authority than this cluster's".to_owned()
        }
        Some(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
            "its certificate has expired: look at both hosts' clocks, or join it again".to_owned()
        }
        Some(Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. })) => {
            "its certificate is not valid yet: look at both hosts' clocks".to_owned()
        }
        Some(Error::InvalidCertificate(CertificateError::Other(reason))) => reason.0.to_string(),
        Some(Error::AlertReceived(alert)) => refused(*alert).to_owned(),
        Some(Error::InvalidMessage(_)) => "it does not speak TLS".to_owned(),
        Some(other) => other.to_string(),
        None => error.to_string(),
    }
}

/// What the other side's alert says about us; None when the failure is of another kind.
pub(super) fn refusal(error: &io::Error) -> Option<&'static str> {
    match inner(error) {
        Some(Error::AlertReceived(alert)) => Some(refused(*alert)),
        _ => None,
    }
}

fn inner(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|e| e.downcast_ref())
}

fn refused(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::UnknownCA => "it refused this host's certificate: another authority signed it",
        AlertDescription::CertificateExpired => "it refused this host's certificate: it has expired",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown | AlertDescription::DecryptError => {
            "it refused this host's certificate"
        }
        AlertDescription::CertificateRequired => "it wants a certificate of this cluster",
        _ => "it ended the handshake",
    }
}
