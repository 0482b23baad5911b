//! Tokens of the API: made of random bytes, kept as a hash.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring_types::{RequestId, Span};
use sha2::{Digest, Sha256};

use crate::pki::SecretKey;

/// How long a login is good.
pub(in crate::rest) const SESSION_LIFE: Span = Span::seconds(24 * 3600);

/// A token of a login.
pub(in crate::rest) fn session() -> String {
    format!("ring_ses_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

/// An API token. The same request gets the same token again, so that a lost reply can be asked for once more.
pub(in crate::rest) fn pat(key: &SecretKey, request: RequestId) -> String {
    format!("ring_pat_{}", URL_SAFE_NO_PAD.encode(key.derive(&[b"api-token", request.0.as_bytes()])))
}

/// What is kept of a token, and looked for among what is kept. How long that takes tells something of the hash alone, which nobody
/// can steer without the token: there is nothing to compare in constant time.
pub(in crate::rest) fn hash_of(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
