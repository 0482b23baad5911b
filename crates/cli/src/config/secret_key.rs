//! The key that encrypts secrets: base64 of 32 bytes, in `RING_SECRET_KEY` or in the file `secret-key`.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::TryRngCore;

use super::write_private;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum SecretKeyError {
    /// The text is not base64 of 32 bytes.
    #[error("the secret key in {0} is not base64 of 32 bytes")]
    Malformed(String),
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes: {0}")]
    Random(String),
}

/// The key from `RING_SECRET_KEY`, else from the file. None when there is neither.
///
/// # Errors
/// [`SecretKeyError`] when there is one that cannot be used.
pub fn read_secret_key(path: &Path) -> Result<Option<[u8; 32]>, SecretKeyError> {
    if let Some(text) = std::env::var("RING_SECRET_KEY").ok().filter(|text| !text.is_empty()) {
        return decode(&text, "RING_SECRET_KEY").map(Some);
    }
    match std::fs::read_to_string(path) {
        Ok(text) => decode(&text, &path.display().to_string()).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SecretKeyError::File { path: path.to_owned(), source }),
    }
}

fn decode(text: &str, place: &str) -> Result<[u8; 32], SecretKeyError> {
    let malformed = || SecretKeyError::Malformed(place.to_owned());
    let bytes = STANDARD.decode(text.trim()).map_err(|_| malformed())?;
    bytes.try_into().map_err(|_| malformed())
}

/// Makes a key and writes it, mode 0600. A file that is there already is never replaced: what it encrypted would be lost.
///
/// # Errors
/// [`SecretKeyError`] when it cannot be made or written.
pub fn create_secret_key(path: &Path) -> Result<[u8; 32], SecretKeyError> {
    let mut key = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut key).map_err(|error| SecretKeyError::Random(error.to_string()))?;
    let failed = |source| SecretKeyError::File { path: path.to_owned(), source };
    if path.exists() {
        return Err(failed(std::io::ErrorKind::AlreadyExists.into()));
    }
    write_private(path, &format!("{}\n", STANDARD.encode(key))).map_err(failed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret-key");
        let key = create_secret_key(&path).unwrap();
        assert_ne!(key, [0; 32]);
        assert!(create_secret_key(&path).is_err());
        assert_eq!(decode(&std::fs::read_to_string(&path).unwrap(), "file").unwrap(), key);
        assert!(decode("AAAA", "x").is_err());
    }
}
