//! The cluster's secret key: seals what the replicated state must not hold in clear, and derives tokens.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const KEY: usize = 32;
const NONCE: usize = 12;

/// Why sealing or opening failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The text is not 32 bytes in base64.
    #[error("the secret key must be 32 bytes in base64")]
    Key,
    /// The sealed bytes were made with another key, for another object, or are damaged.
    #[error("the sealed value does not open: it was made with another secret key, or is damaged")]
    Open,
    /// The data key it names is not there.
    #[error("the sealed value does not open: its data key {0} is not known to this cluster")]
    NoDataKey(u64),
    /// The cipher refused.
    #[error("the value cannot be sealed")]
    Seal,
}

/// 32 bytes every control node of a cluster has and nobody else.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; KEY]);

impl SecretKey {
    /// A new one.
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// From its text: base64 of 32 bytes.
    ///
    /// # Errors
    /// [`SealError::Key`] when it is not that.
    pub fn from_base64(text: &str) -> Result<Self, SealError> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| SealError::Key)?);
        Self::from_bytes(&bytes)
    }

    /// From its bytes.
    ///
    /// # Errors
    /// [`SealError::Key`] when they are not 32.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        bytes.try_into().map(Self).map_err(|_| SealError::Key)
    }

    /// Its text.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0))
    }

    /// Its bytes, for the reply that admits a control node.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Seals `clear` for one purpose: it opens only with the same `context`.
    ///
    /// # Errors
    /// [`SealError::Seal`] when the cipher refuses; it does for more than 256 GiB.
    pub fn seal(&self, context: &str, clear: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: clear, aad: context.as_bytes() };
        let sealed = self.cipher().encrypt(Nonce::from_slice(&nonce), payload).map_err(|_| SealError::Seal)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed with the same `context`.
    ///
    /// # Errors
    /// [`SealError::Open`] when it was not.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE).ok_or(SealError::Open)?;
        let payload = Payload { msg: sealed, aad: context.as_bytes() };
        self.cipher().decrypt(Nonce::from_slice(nonce), payload).map(Zeroizing::new).map_err(|_| SealError::Open)
    }

    /// 32 bytes that depend on the key and on `context`, and on nothing else: what a repeated request has to give again
    /// without anybody having kept it.
    pub fn derive(&self, context: &[&[u8]]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).unwrap_or_else(|_| unreachable!("any length is a key"));
        for part in context {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(Key::from_slice(&self.0))
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_for_the_same_purpose_only() {
        let key = SecretKey::generate();
        let sealed = key.seal("secret/1", b"hush").unwrap();
        assert_eq!(key.open("secret/1", &sealed).unwrap().as_slice(), b"hush");
        assert_eq!(key.open("secret/2", &sealed), Err(SealError::Open));
        assert_eq!(SecretKey::generate().open("secret/1", &sealed), Err(SealError::Open));
        let mut damaged = sealed.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(key.open("secret/1", &damaged), Err(SealError::Open));
        assert_eq!(key.open("secret/1", &sealed[..5]), Err(SealError::Open));
    }

    #[test]
    fn the_same_value_never_looks_the_same() {
        let key = SecretKey::generate();
        assert_ne!(key.seal("c", b"v").unwrap(), key.seal("c", b"v").unwrap());
    }

    #[test]
    fn a_key_reads_back_from_its_text() {
        let key = SecretKey::generate();
        assert_eq!(SecretKey::from_base64(&format!("{}\n", *key.to_base64())).unwrap(), key);
        assert_eq!(SecretKey::from_base64("c2hvcnQ="), Err(SealError::Key));
        assert_eq!(SecretKey::from_base64("!"), Err(SealError::Key));
    }

    #[test]
    fn derived_bytes_depend_on_key_and_context() {
        let key = SecretKey::generate();
        assert_eq!(key.derive(&[b"a", b"b"]), key.derive(&[b"a", b"b"]));
        assert_ne!(key.derive(&[b"a", b"b"]), key.derive(&[b"ab", b""]));
        assert_ne!(key.derive(&[b"a"]), SecretKey::generate().derive(&[b"a"]));
    }
}
