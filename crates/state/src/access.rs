//! Changes of accounts; sessions and API tokens.

use ring_types::{Name, Revision, Timestamp, TokenId, UserId};

use crate::{Role, Scope};

/// Change of an account; None leaves a field as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserUpdate {
    /// Which.
    pub id: UserId,
    /// New login name.
    pub username: Option<Name>,
    /// New password, hashed.
    pub password_hash: Option<String>,
    /// New role; revokes the account's tokens.
    pub role: Option<Role>,
}

/// A login session or an API token. Only a hash is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Identity.
    pub id: TokenId,
    /// Whose.
    pub user: UserId,
    /// Name given by its maker; empty for a session.
    pub name: String,
    /// SHA-256 of the clear token.
    pub hash: [u8; 32],
    /// What it may do; empty means all its user may.
    pub scopes: Vec<Scope>,
    /// Namespaces it is bound to; empty means all.
    pub namespaces: Vec<Name>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When somebody came with it last, to about a minute; None: nobody yet, or it is a session.
    pub last_used_at: Option<Timestamp>,
    /// Last writer.
    pub version: Revision,
}

/// A token gets a new secret; name, scopes, namespaces and end stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRotation {
    /// Which.
    pub id: TokenId,
    /// SHA-256 of the new clear token.
    pub hash: [u8; 32],
}

/// When a token was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenUse {
    /// Which.
    pub token: TokenId,
    /// When last.
    pub at: Timestamp,
}
