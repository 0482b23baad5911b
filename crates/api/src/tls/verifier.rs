//! A verifier of servers: what is believed is decided by a [`Judge`], the rest is the same for all.

use std::fmt::Debug;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::Fingerprint;

/// What a server shows, and what for.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// Its own certificate.
    pub end: &'a CertificateDer<'a>,
    /// Those it shows beside, that of its authority last.
    pub others: &'a [CertificateDer<'a>],
    /// The name or address that was dialled.
    pub name: &'a ServerName<'a>,
    /// What it says of its certificate not having been taken back; empty when it says nothing.
    pub ocsp: &'a [u8],
    /// When.
    pub now: UnixTime,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Shown<'_> {
    /// What a person is to compare: the authority, which a server sends last.
    pub fn authority(&self) -> Fingerprint {
        Fingerprint::of(self.others.last().unwrap_or(self.end))
    }

    /// Its certificate is good now, and signed by one of `roots`, by way of `between` where need be.
    ///
    /// # Errors
    /// Why not.
    pub fn signed_by(&self, roots: &RootCertStore, between: &[CertificateDer<'_>]) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(self.end)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, between, self.now, self.algorithms.all)
    }

    /// Its certificate is for the name or address that was dialled.
    ///
    /// # Errors
    /// When it is for others.
    pub fn is_named(&self) -> Result<(), Error> {
        verify_server_name(&ParsedCertificate::try_from(self.end)?, self.name)
    }
}

/// Decides whether a server is believed. That it has the key of its certificate is checked besides.
pub trait Judge: Debug + Send + Sync {
    /// Believes it, or not.
    ///
    /// # Errors
    /// Why not.
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error>;
}

/// A verifier that believes whom its judge believes.
#[derive(Debug)]
pub struct Verifier<J> {
    judge: J,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<J: Judge> Verifier<J> {
    /// A verifier with the signatures `provider` knows.
    pub fn new(judge: J, provider: &CryptoProvider) -> Self {
        Self { judge, algorithms: provider.signature_verification_algorithms }
    }
}

impl<J: Judge> ServerCertVerifier for Verifier<J> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (end, others, name, ocsp) = (end_entity, intermediates, server_name, ocsp_response);
        self.judge.judge(&Shown { end, others, name, ocsp, now, algorithms: self.algorithms })?;
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
