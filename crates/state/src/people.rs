//! Who may do what: accounts and tokens.

use ring_types::{Name, Revision, Timestamp, TokenId, UserId};

/// What an account may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Read.
    #[default]
    Viewer,
    /// Read, and write what runs.
    Operator,
    /// Everything.
    Admin,
}

/// One permission of a token, such as `deployments:write`.
pub type Scope = String;

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Identity.
    pub id: UserId,
    /// Login name, unique.
    pub username: Name,
    /// argon2id, PHC string.
    pub password_hash: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Last writer.
    pub version: Revision,
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
    /// Last writer.
    pub version: Revision,
}
