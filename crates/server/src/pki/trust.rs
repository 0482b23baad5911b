//! The authorities a host trusts: the cluster's one, and the next one too while it is rotated. Whoever verifies a certificate of the
//! cluster does it with this.

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{Error, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{Fingerprint, PkiError};

/// Authorities, the one that signs first.
#[derive(Clone, Debug)]
pub struct TrustStore {
    authorities: Vec<(Fingerprint, CertificateDer<'static>)>,
}

impl TrustStore {
    /// From certificates one after the other, PEM.
    ///
    /// # Errors
    /// When one is damaged, or there is none.
    pub fn from_pem(bundle: &str) -> Result<Self, PkiError> {
        let read = CertificateDer::pem_slice_iter(bundle.as_bytes());
        let authorities = read.map(|one| one.map(|certificate| (Fingerprint::of(&certificate), certificate)));
        let authorities: Vec<_> = authorities.collect::<Result<_, _>>().map_err(|e| PkiError::malformed("an authority", e))?;
        if authorities.is_empty() {
            return Err(PkiError::malformed("the authorities", "there is none"));
        }
        Ok(Self { authorities })
    }

    /// The one that signs first.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.authorities.iter().map(|(fingerprint, _)| *fingerprint).collect()
    }

    /// Is this one of them?
    pub fn has(&self, authority: Fingerprint) -> bool {
        self.authorities.iter().any(|(fingerprint, _)| *fingerprint == authority)
    }

    /// What is shown beside a host's own certificate, for those that know an authority by its fingerprint only.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = CertificateDer<'static>> + '_ {
        self.authorities.iter().map(|(_, certificate)| certificate.clone())
    }

    pub(super) fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        self.certificates().try_for_each(|certificate| roots.add(certificate))?;
        Ok(roots)
    }

    /// Which of them signed a certificate; None when none did, or it is not good now.
    pub fn issuer_of(&self, certificate: &CertificateDer<'_>, provider: &CryptoProvider) -> Option<Fingerprint> {
        let parsed = ParsedCertificate::try_from(certificate).ok()?;
        let algorithms = provider.signature_verification_algorithms.all;
        let signed = |authority: &CertificateDer<'static>| {
            let mut roots = RootCertStore::empty();
            let added = roots.add(authority.clone());
            added.is_ok() && verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], UnixTime::now(), algorithms).is_ok()
        };
        self.authorities.iter().find(|(_, authority)| signed(authority)).map(|(fingerprint, _)| *fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ring_types::{ClusterId, MemberId};
    use rustls::crypto::ring::default_provider;
    use uuid::Uuid;

    use super::super::{Authority, CertificateRequest, HostKey, Identity, certificate_from_pem};
    use super::*;

    #[test]
    fn a_certificate_is_known_by_the_authority_that_signed_it() {
        let cluster = ClusterId(Uuid::from_u128(1));
        let [old, new, foreign] = [(); 3].map(|()| Authority::create(cluster).unwrap());
        let store = TrustStore::from_pem(&format!("{}{}", new.certificate_pem(), old.certificate_pem())).unwrap();
        assert_eq!(store.fingerprints(), [new.fingerprint(), old.fingerprint()]);
        assert!(store.has(old.fingerprint()) && !store.has(foreign.fingerprint()));
        let csr = HostKey::generate().unwrap().request().unwrap();
        let identity = Identity { cluster, member: Some(MemberId(1)), node: None };
        let by = |authority: &Authority| {
            let request = CertificateRequest { csr_pem: &csr, identity, addresses: vec![], lifetime: Duration::from_mins(1) };
            certificate_from_pem(&authority.sign(&request).unwrap()).unwrap()
        };
        let issuer = |authority| store.issuer_of(&by(authority), &default_provider());
        assert_eq!(issuer(&old), Some(old.fingerprint()));
        assert_eq!(issuer(&new), Some(new.fingerprint()));
        assert_eq!(issuer(&foreign), None);
    }

    #[test]
    fn nothing_is_no_authority() {
        assert!(TrustStore::from_pem("").is_err() && TrustStore::from_pem("-----BEGIN CERTIFICATE-----\nx").is_err());
    }
}
