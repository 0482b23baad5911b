//! Webhooks on the side of who sends: which addresses may be reached, what is sent, and how it is signed.
//!
//! When something is sent, and again, is decided in `controller`; what is to be sent is in the state.

mod deliverer;
mod guard;
mod names;
mod payload;
mod secret;
mod target;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use deliverer::HttpDeliverer;
pub(crate) use payload::object;
use ring_api::tls::{self, NoAuthority};
use rustls_pki_types::CertificateDer;
#[cfg(test)]
pub(crate) use secret::open;
pub(crate) use secret::{generated, reseal, seal};
pub(crate) use target::checked;

/// How webhooks are reached.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// Receivers on the control node's own host may be reached.
    pub allow_local: bool,
    /// Longest time of one attempt, from the lookup of the name to the head of the answer.
    pub timeout: Duration,
    /// Authorities whose certificates of receivers are good, beside those this host trusts.
    pub authorities: Vec<CertificateDer<'static>>,
}

impl WebhookOptions {
    /// Trusts the authorities of a PEM file as well.
    ///
    /// # Errors
    /// When there is none in it, or one of them is damaged.
    pub fn trust(&mut self, pem: &[u8]) -> Result<(), NoAuthority> {
        self.authorities.extend(tls::authorities(pem)?);
        Ok(())
    }
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self { allow_local: false, timeout: Duration::from_secs(10), authorities: Vec::new() }
    }
}
