//! The private key of a host. It is made on the host and never leaves it.

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::PkiError;

/// An ECDSA P-256 key.
pub struct HostKey(KeyPair);

impl HostKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Self, PkiError> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Self).map_err(PkiError::Generate)
    }

    /// Reads a key.
    ///
    /// # Errors
    /// When it is not a key of this kind.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        KeyPair::from_pem_and_sign_algo(pem, &PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .map_err(|e| PkiError::malformed("the host's key", e))
    }

    /// The key as text, for the file only its owner reads.
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// A signed request for a certificate. It asks for no names: the signer sets them.
    ///
    /// # Errors
    /// When signing fails.
    pub fn request(&self) -> Result<String, PkiError> {
        let params = CertificateParams::new(Vec::new()).map_err(PkiError::Generate)?;
        params.serialize_request(&self.0).and_then(|request| request.pem()).map_err(PkiError::Generate)
    }

    pub(crate) fn der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.serialize_der()))
    }
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostKey(..)")
    }
}
