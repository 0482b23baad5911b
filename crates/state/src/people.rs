//! Who may do what: accounts.

use ring_types::{Name, Revision, Timestamp, UserId};

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
