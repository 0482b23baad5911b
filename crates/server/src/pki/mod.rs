//! The cluster's own authority: certificates, join tokens, the key that seals secrets, and what a host keeps of them on disk.
//!
//! A certificate names the cluster and what its holder is there: a member (control node), a node (a host that runs work),
//! or both. Who may call what is decided from these names alone.

mod authority;
mod error;
mod files;
mod host_key;
#[cfg(test)]
mod hostile;
mod identity;
mod join_token;
mod seal;
mod trust;
mod verify;

pub(crate) use authority::certificate_from_pem;
pub use authority::{Authority, CertificateRequest, DEFAULT_LIFETIME, ServerRequest};
pub use error::PkiError;
pub use files::{HostFiles, HostRecord, MemberRecord, PendingJoin};
pub use host_key::HostKey;
pub use identity::{Identity, Validity};
pub use join_token::{JoinTokenText, TokenTextError};
pub use ring_api::tls::Fingerprint;
pub use seal::{SealError, SecretKey};
pub use trust::TrustStore;
pub use verify::{Expect, ServerVerifier, Trust, client_verifier};
