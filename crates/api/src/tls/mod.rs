//! Servers over TLS, for every part of ring that dials one: fingerprints of certificates, the verifier, and why one is not
//! believed. Whom a client of the REST interface believes is in [`client`](crate::client), whom hosts of a cluster believe in
//! the server.

mod failure;
mod fingerprint;
mod system;
mod verifier;

pub use failure::{TlsFailure, failure, of_nobody_known};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use system::{NoAuthority, System, authorities};
pub use verifier::{Judge, Shown, Verifier};
