//! What can go wrong with certificates and keys.

use std::path::PathBuf;

/// A failure of the authority, a certificate or a key file.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A key or certificate could not be made.
    #[error("cannot make a certificate")]
    Generate(#[source] rcgen::Error),
    /// A certificate, key or request could not be read.
    #[error("cannot read {what}: {why}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate does not name a cluster and a role in it.
    #[error("the certificate names no member or node of a cluster")]
    NoIdentity,
    /// The TLS library refuses the material.
    #[error("the TLS configuration cannot be built")]
    Tls(#[source] rustls::Error),
    /// The verifier cannot be built.
    #[error("the certificate verifier cannot be built: {0}")]
    Verifier(String),
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Sealing or opening failed.
    #[error(transparent)]
    Seal(#[from] super::SealError),
}

impl PkiError {
    pub(crate) fn malformed(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Malformed { what, why: why.to_string() }
    }
}
