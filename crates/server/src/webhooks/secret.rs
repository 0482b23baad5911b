//! Secrets of webhooks: they sign what is sent.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use ring_state::{State, Webhook};
use ring_types::{KeyId, RequestId, WebhookId};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::keys;
use crate::pki::{SealError, SecretKey};

fn context(id: WebhookId) -> String {
    format!("ring/webhook/{id}")
}

/// Seals the secret of the webhook `id`.
pub(crate) fn seal(key: &SecretKey, state: &State, id: WebhookId, secret: &str) -> Result<(KeyId, Vec<u8>), SealError> {
    keys::seal(key, state, &context(id), secret.as_bytes())
}

/// The secret of a webhook under the data key in use.
pub(crate) fn reseal(key: &SecretKey, state: &State, id: WebhookId) -> Result<Vec<u8>, SealError> {
    let clear = open(key, state, state.webhook(id).ok_or(SealError::Open)?)?;
    Ok(keys::seal(key, state, &context(id), &clear)?.1)
}

/// The secret of a webhook, in clear.
pub(crate) fn open(key: &SecretKey, state: &State, webhook: &Webhook) -> Result<Zeroizing<Vec<u8>>, SealError> {
    keys::open(key, state, webhook.key, &context(webhook.id), &webhook.sealed)
}

/// A secret nobody chose. The same request gets the same one again, so that a lost reply can be asked for once more.
pub(crate) fn generated(key: &SecretKey, request: RequestId) -> String {
    format!("ring_whs_{}", URL_SAFE_NO_PAD.encode(key.derive(&[b"webhook", request.0.as_bytes()])))
}

/// The value of the header that signs a body.
pub(super) fn signature(secret: &[u8], body: &[u8]) -> String {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(secret).unwrap_or_else(|_| unreachable!("any length is a key"));
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 2 of RFC 4231.
    #[test]
    fn a_signature_is_the_hmac_of_the_body() {
        let wanted = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature(b"Jefe", b"what do ya want for nothing?"), wanted);
    }

    #[test]
    fn a_secret_opens_for_its_webhook_only() {
        let (key, state) = (SecretKey::generate(), State::default());
        let id = |n| WebhookId(uuid::Uuid::from_u128(n));
        let (by, sealed) = seal(&key, &state, id(1), "hush").unwrap();
        assert_eq!(keys::open(&key, &state, by, &context(id(1)), &sealed).unwrap().as_slice(), b"hush");
        assert_eq!(keys::open(&key, &state, by, &context(id(2)), &sealed), Err(SealError::Open));
        let request = RequestId(uuid::Uuid::from_u128(7));
        assert_eq!(generated(&key, request), generated(&key, request));
        assert_ne!(generated(&key, request), generated(&SecretKey::generate(), request));
    }
}
