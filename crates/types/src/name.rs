//! Names people give: namespaces, deployments, secrets, nodes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest name, in bytes. A container is called `<namespace>_<name>_<8 hex>`, which has to stay below 255.
const MAX_LEN: usize = 100;

/// A name: 1 to 100 ASCII letters, digits, `-`, `_`, `.`, starting with a letter or digit. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// The text has more than 100 bytes.
    #[error("has {0} characters, at most {MAX_LEN} are allowed")]
    TooLong(usize),
    /// The text starts with `-`, `_` or `.`.
    #[error("must start with a letter or a digit")]
    Start,
    /// The text has a character outside the set.
    #[error("contains {0:?}; allowed are letters, digits, '-', '_' and '.'")]
    Character(char),
}

impl Name {
    /// Checks `text` and makes it a name.
    ///
    /// # Errors
    /// [`NameError`] says which rule is broken.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(c) = text.chars().find(|c| !allowed(*c)) {
            return Err(NameError::Character(c));
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(NameError::Start);
        }
        if text.len() > MAX_LEN {
            return Err(NameError::TooLong(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// The name that comes before every other one: where a range over names begins.
    pub fn least() -> Self {
        Self("0".into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_its_rules() {
        assert_eq!(Name::new("migrate-v1.2_3").unwrap().as_str(), "migrate-v1.2_3");
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new("-x"), Err(NameError::Start));
        assert_eq!(Name::new("a/b"), Err(NameError::Character('/')));
        assert_eq!(Name::new(&"a".repeat(101)), Err(NameError::TooLong(101)));
    }

    #[test]
    fn no_name_comes_before_the_least() {
        assert_eq!(Name::new("0"), Ok(Name::least()));
        for other in ["00", "0-", "0.a", "1", "A", "a"] {
            assert!(Name::least() < Name::new(other).unwrap(), "{other}");
        }
        assert!((0..=127u8).map(char::from).filter(char::is_ascii_alphanumeric).all(|first| first >= '0'));
    }
}
