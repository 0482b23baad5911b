//! Passwords: argon2id, a few at a time and off the async threads, because each takes 19 MiB and a good part of a
//! processor's second.

use std::sync::{Arc, OnceLock};

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use tokio::sync::Semaphore;

use crate::rest::error::{ApiError, Result};
use ring_types::Rule;

/// Hashes under way at once.
const AT_ONCE: usize = 2;
/// Longest password, bytes.
const MAX: usize = 1024;

/// Checks and hashes passwords.
pub(in crate::rest) struct Passwords {
    slots: Arc<Semaphore>,
    nobody: Arc<OnceLock<String>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(AT_ONCE)), nobody: Arc::default() }
    }
}

impl Passwords {
    /// Is it the password of that hash? Without a hash, for an unknown user, the same work is done in vain, so that nobody
    /// can tell by the time it takes.
    pub(in crate::rest) async fn verify(&self, hash: Option<String>, password: String) -> Result<bool> {
        let nobody = self.nobody.clone();
        self.run(move || {
            let known = hash.is_some();
            let hash = against(hash, &nobody);
            let parsed = PasswordHash::new(&hash).map_err(|e| ApiError::internal(format!("a stored password hash: {e}")))?;
            let right = Argon2::default().verify_password(&password.as_bytes()[..password.len().min(MAX)], &parsed).is_ok();
            Ok(right && known && password.len() <= MAX)
        })
        .await
    }

    /// The hash of a new password.
    pub(in crate::rest) async fn hash(&self, password: String) -> Result<String> {
        if let Err(why) = of_length(&password) {
            return Err(ApiError::violation("password", "user.password", Rule::Length, format!("password {why}")));
        }
        self.run(move || hash_password(&password).map_err(ApiError::internal)).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let slot = self.slots.clone().acquire_owned().await.map_err(ApiError::internal)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(slot);
            result
        });
        done.await.map_err(ApiError::internal)?
    }
}

/// What a password is checked against: for an unknown user, a hash nobody has the password of. That is made for whoever comes
/// first, so that it does not cost the first unknown one more.
fn against(hash: Option<String>, nobody: &OnceLock<String>) -> String {
    let nobody = nobody.get_or_init(|| hash_password("nobody has this password").unwrap_or_default());
    hash.unwrap_or_else(|| nobody.clone())
}

fn of_length(password: &str) -> std::result::Result<(), String> {
    if (1..=MAX).contains(&password.len()) { Ok(()) } else { Err(format!("must have 1 to {MAX} bytes")) }
}

/// argon2id with a random salt, as a PHC string.
pub(crate) fn hash_password(password: &str) -> std::result::Result<String, String> {
    of_length(password)?;
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(|e| e.to_string())?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(|e| e.to_string())?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_passes() {
        let passwords = Passwords::default();
        let hash = passwords.hash("secret".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert!(passwords.verify(Some(hash.clone()), "secret".into()).await.unwrap());
        assert!(!passwords.verify(Some(hash), "Secret".into()).await.unwrap());
        assert!(!passwords.verify(None, "nobody has this password".into()).await.unwrap());
    }

    /// The time follows from the parameters of the hash that is worked through.
    #[test]
    fn an_unknown_user_is_checked_with_the_same_work() {
        let work = |hash: &str| {
            let parsed = PasswordHash::new(hash).unwrap();
            let length = parsed.hash.map(|hash| hash.len());
            (parsed.algorithm.to_string(), parsed.version, parsed.params.to_string(), length)
        };
        let nobody = OnceLock::new();
        let unknown = against(None, &nobody);
        assert_eq!(work(&unknown), work(&hash_password("secret").unwrap()));
        assert_eq!(against(None, &nobody), unknown, "it is made once");
        assert_eq!(against(Some("known".to_owned()), &nobody), "known");
        let other = OnceLock::new();
        assert_eq!(against(Some("known".to_owned()), &other), "known");
        assert!(other.get().is_some(), "made for whoever comes first, so that the first unknown one costs no more");
    }

    #[tokio::test]
    async fn a_password_has_a_length() {
        assert!(Passwords::default().hash(String::new()).await.is_err());
        assert!(Passwords::default().hash("x".repeat(1025)).await.is_err());
    }
}
