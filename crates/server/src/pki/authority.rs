//! The authority of one cluster: makes its root once, signs certificates of hosts.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use ring_types::ClusterId;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, DnsName};

use super::{Fingerprint, Identity, PkiError, SecretKey};

/// How long a host's certificate is good.
pub const DEFAULT_LIFETIME: Duration = Duration::from_hours(90 * 24);
/// How long the authority's own certificate is good.
const AUTHORITY_LIFETIME: Duration = Duration::from_hours(20 * 365 * 24);
/// Certificates are good from before they are made, for hosts whose clock is behind by minutes.
const CLOCK_SLACK: Duration = Duration::from_hours(1);

/// What a certificate is wanted for.
#[derive(Clone, Debug)]
pub struct CertificateRequest<'a> {
    /// The holder's signed request; only its key is used.
    pub csr_pem: &'a str,
    /// Who the holder is.
    pub identity: Identity,
    /// Addresses it is reached at.
    pub addresses: Vec<IpAddr>,
    /// How long it is good.
    pub lifetime: Duration,
}

/// What a certificate of the REST API is wanted for: it names addresses and nobody of the cluster, and opens nothing.
#[derive(Clone, Debug)]
pub struct ServerRequest<'a> {
    /// The holder's signed request; only its key is used.
    pub csr_pem: &'a str,
    /// Who it is, for people.
    pub name: &'a str,
    /// Names it is reached by; one that is no DNS name is left out.
    pub names: Vec<String>,
    /// Addresses it is reached at.
    pub addresses: Vec<IpAddr>,
    /// How long it is good.
    pub lifetime: Duration,
}

/// The authority of a cluster with its key.
pub struct Authority {
    cluster: ClusterId,
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes the authority of a new cluster.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn create(cluster: ClusterId) -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(PkiError::Generate)?;
        let mut params = params(AUTHORITY_LIFETIME);
        params.distinguished_name = subject(&format!("ring cluster {cluster}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(PkiError::Generate)?;
        Self::from_parts(cluster, certificate.pem(), key)
    }

    /// The authority as the cluster's state keeps it.
    ///
    /// # Errors
    /// When the key does not open under `secret`, or either part is damaged.
    pub fn open(cluster: ClusterId, certificate_pem: &str, sealed_key: &[u8], secret: &SecretKey) -> Result<Self, PkiError> {
        let key = secret.open(&seal_context(cluster), sealed_key)?;
        let key = std::str::from_utf8(&key).map_err(|e| PkiError::malformed("the authority's key", e))?;
        let key = KeyPair::from_pem_and_sign_algo(key, &PKCS_ECDSA_P256_SHA256)
            .map_err(|e| PkiError::malformed("the authority's key", e))?;
        Self::from_parts(cluster, certificate_pem.to_owned(), key)
    }

    fn from_parts(cluster: ClusterId, certificate_pem: String, key: KeyPair) -> Result<Self, PkiError> {
        let certificate = certificate_from_pem(&certificate_pem)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|e| PkiError::malformed("the authority", e))?;
        Ok(Self { cluster, certificate_pem, certificate, issuer })
    }

    /// Its key, sealed, for the cluster's state.
    ///
    /// # Errors
    /// When sealing fails.
    pub fn seal_key(&self, secret: &SecretKey) -> Result<Vec<u8>, PkiError> {
        Ok(secret.seal(&seal_context(self.cluster), self.issuer.key().serialize_pem().as_bytes())?)
    }

    /// Its certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// What join tokens pin.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Signs a certificate; its PEM.
    ///
    /// # Errors
    /// When the request is not one, or is not signed by the key it asks for.
    pub fn sign(&self, request: &CertificateRequest<'_>) -> Result<String, PkiError> {
        let mut csr = CertificateSigningRequestParams::from_pem(request.csr_pem)
            .map_err(|e| PkiError::malformed("the certificate request", e))?;
        let mut params = params(request.lifetime);
        params.distinguished_name = subject(&request.identity.to_string());
        params.subject_alt_names = alternative_names(request)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        csr.params = params;
        csr.signed_by(&self.issuer).map(|certificate| certificate.pem()).map_err(PkiError::Generate)
    }

    /// Signs a certificate for the REST API of a control node; its PEM.
    ///
    /// # Errors
    /// When the request is not one, or is not signed by the key it asks for.
    pub fn sign_server(&self, request: &ServerRequest<'_>) -> Result<String, PkiError> {
        let mut csr = CertificateSigningRequestParams::from_pem(request.csr_pem)
            .map_err(|e| PkiError::malformed("the certificate request", e))?;
        let mut params = params(request.lifetime);
        params.distinguished_name = subject(request.name);
        let usable = |name: &String| DnsName::try_from(name.as_str()).is_ok();
        let names = request.names.iter().filter(|name| usable(name)).filter_map(|name| name.as_str().try_into().ok());
        params.subject_alt_names = names.map(SanType::DnsName).collect();
        params.subject_alt_names.extend(request.addresses.iter().copied().map(SanType::IpAddress));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        csr.params = params;
        csr.signed_by(&self.issuer).map(|certificate| certificate.pem()).map_err(PkiError::Generate)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// Reads one certificate.
pub(crate) fn certificate_from_pem(pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| PkiError::malformed("a certificate", e))
}

fn seal_context(cluster: ClusterId) -> String {
    format!("ring/authority/{cluster}")
}

fn params(lifetime: Duration) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.not_before = (now - CLOCK_SLACK.min(lifetime)).into();
    params.not_after = (now + lifetime).into();
    params
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn alternative_names(request: &CertificateRequest<'_>) -> Result<Vec<SanType>, PkiError> {
    let uris = request.identity.names().into_iter().map(|name| name.try_into().map(SanType::URI).map_err(PkiError::Generate));
    let mut names: Vec<_> = uris.collect::<Result<_, _>>()?;
    names.extend(request.addresses.iter().copied().map(SanType::IpAddress));
    Ok(names)
}
