//! Tokens that `ring login` keeps, one a context, in a file nobody else may read.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::write_private;
use crate::error::CliError;

/// Kept tokens.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    #[serde(default)]
    contexts: BTreeMap<String, Credential>,
}

/// A kept token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The bearer token.
    pub token: String,
    /// Whose it is.
    #[serde(default)]
    pub username: String,
}

impl Credentials {
    /// Reads the file; one that is not there is empty.
    pub(crate) fn load(path: &Path) -> Result<Self, CliError> {
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text)
                .map_err(|error| CliError::Config { path: path.to_owned(), message: error.message().to_owned() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(CliError::Read { path: path.to_owned(), source }),
        }
    }

    /// Writes the file, mode 0600.
    pub(crate) fn save(&self, path: &Path) -> Result<(), CliError> {
        let text =
            toml::to_string(self).map_err(|error| CliError::Config { path: path.to_owned(), message: error.to_string() })?;
        write_private(path, &text).map_err(|source| CliError::Write { path: path.to_owned(), source })
    }

    /// The token of a context.
    pub fn get(&self, context: &str) -> Option<&Credential> {
        self.contexts.get(context)
    }

    /// Keeps a token.
    pub(crate) fn set(&mut self, context: &str, credential: Credential) {
        self.contexts.insert(context.to_owned(), credential);
    }

    /// Forgets a token; was there one?
    pub(crate) fn remove(&mut self, context: &str) -> bool {
        self.contexts.remove(context).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn tokens_are_kept_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/credentials.toml");
        let mut all = Credentials::load(&path).unwrap();
        all.set("a", Credential { token: "t".into(), username: "u".into() });
        all.save(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut all = Credentials::load(&path).unwrap();
        assert_eq!(all.get("a").unwrap().token, "t");
        assert!(all.remove("a"));
        assert!(!all.remove("a"));
    }
}
