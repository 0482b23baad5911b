//! The text of a join token: `ring_join_<role>_<id>_<secret>_<fingerprint of the authority>`.
//!
//! The role is there in clear, so that a token used for the wrong thing fails on the host that uses it; whether the role is
//! true is decided by the cluster, which keeps a hash of the secret.

use std::fmt;
use std::str::FromStr;

use ring_state::JoinRole;
use ring_types::JoinTokenId;
use sha2::{Digest, Sha256};

use super::Fingerprint;

const PREFIX: &str = "ring_join";
const SECRET: usize = 24;

/// A join token, in clear.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinTokenText {
    /// As what it admits.
    pub role: JoinRole,
    /// Which one it is.
    pub id: JoinTokenId,
    /// What proves that the holder was given it.
    secret: [u8; SECRET],
    /// The authority to trust.
    pub authority: Fingerprint,
}

/// Why a text is not a join token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenTextError {
    /// It is something else altogether.
    #[error("not a join token: one starts with ring_join_; `ring cluster token create` makes one")]
    NotAToken,
    /// It is a part of one.
    #[error("the join token is damaged or cut off: copy the whole of it")]
    Damaged,
    /// It admits something else.
    #[error("this join token admits {} and cannot be used to join as {}", role_word(*has), role_word(*wanted))]
    WrongRole {
        /// What it admits.
        has: JoinRole,
        /// What was asked for.
        wanted: JoinRole,
    },
}

impl JoinTokenText {
    /// A token with a secret of at least 24 random bytes; more are cut off.
    pub fn new(role: JoinRole, id: JoinTokenId, random: [u8; 32], authority: Fingerprint) -> Self {
        let mut secret = [0; SECRET];
        secret.copy_from_slice(&random[..SECRET]);
        Self { role, id, secret, authority }
    }

    /// What is sent to prove possession.
    pub fn secret(&self) -> String {
        hex::encode(self.secret)
    }

    /// What the cluster keeps.
    pub fn hash(&self) -> [u8; 32] {
        Self::hash_of(&self.secret())
    }

    /// What the cluster keeps of a secret.
    pub fn hash_of(secret: &str) -> [u8; 32] {
        Sha256::digest(secret.as_bytes()).into()
    }

    /// Fails when the token is for something else.
    ///
    /// # Errors
    /// [`TokenTextError::WrongRole`].
    pub fn require(&self, wanted: JoinRole) -> Result<(), TokenTextError> {
        if self.role == wanted { Ok(()) } else { Err(TokenTextError::WrongRole { has: self.role, wanted }) }
    }
}

/// The word for a role, for people.
fn role_word(role: JoinRole) -> &'static str {
    match role {
        JoinRole::Agent => "an agent",
        JoinRole::Control => "a control node",
    }
}

impl fmt::Display for JoinTokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            JoinRole::Agent => "agent",
            JoinRole::Control => "control",
        };
        write!(f, "{PREFIX}_{role}_{}_{}_{}", self.id.0.simple(), self.secret(), self.authority)
    }
}

impl fmt::Debug for JoinTokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinTokenText").field("role", &self.role).field("id", &self.id).finish_non_exhaustive()
    }
}

impl FromStr for JoinTokenText {
    type Err = TokenTextError;

    fn from_str(text: &str) -> Result<Self, TokenTextError> {
        let rest = text.trim().strip_prefix(PREFIX).ok_or(TokenTextError::NotAToken)?;
        let parts: Vec<_> = rest.split('_').collect();
        let ["", role, id, secret_text, authority] = parts.as_slice() else { return Err(TokenTextError::Damaged) };
        let role = match *role {
            "agent" => JoinRole::Agent,
            "control" => JoinRole::Control,
            _ => return Err(TokenTextError::Damaged),
        };
        let mut secret = [0; SECRET];
        hex::decode_to_slice(secret_text, &mut secret).map_err(|_| TokenTextError::Damaged)?;
        let id = id.parse().map_err(|_| TokenTextError::Damaged)?;
        let authority = authority.parse().map_err(|_| TokenTextError::Damaged)?;
        Ok(Self { role, id, secret, authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(role: JoinRole) -> JoinTokenText {
        let authority = Fingerprint::of(&rustls_pki_types::CertificateDer::from(vec![1, 2, 3]));
        JoinTokenText::new(role, JoinTokenId(uuid::Uuid::from_u128(5)), [7; 32], authority)
    }

    #[test]
    fn a_token_reads_back_from_its_text() {
        for role in [JoinRole::Agent, JoinRole::Control] {
            let text = token(role).to_string();
            assert_eq!(text.parse::<JoinTokenText>().unwrap(), token(role), "{text}");
        }
    }

    #[test]
    fn each_kind_of_wrong_text_says_what_it_is() {
        let whole = token(JoinRole::Agent).to_string();
        assert_eq!("ring_pat_x".parse::<JoinTokenText>().unwrap_err(), TokenTextError::NotAToken);
        assert_eq!("".parse::<JoinTokenText>().unwrap_err(), TokenTextError::NotAToken);
        assert_eq!(whole[..whole.len() - 3].parse::<JoinTokenText>().unwrap_err(), TokenTextError::Damaged);
        assert_eq!(whole.replace("agent", "king").parse::<JoinTokenText>().unwrap_err(), TokenTextError::Damaged);
    }

    #[test]
    fn a_token_for_agents_admits_no_control_node() {
        let error = token(JoinRole::Agent).require(JoinRole::Control).unwrap_err();
        assert_eq!(error.to_string(), "this join token admits an agent and cannot be used to join as a control node");
        assert!(token(JoinRole::Control).require(JoinRole::Control).is_ok());
    }

    #[test]
    fn the_secret_does_not_show_in_debug_output() {
        let token = token(JoinRole::Agent);
        assert!(!format!("{token:?}").contains(&token.secret()));
    }
}
