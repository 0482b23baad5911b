//! Accounts, sessions and tokens.

use ring_types::{Span, Timestamp, TokenId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words;

/// Body of `POST /login`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// Account.
    pub username: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginRequest").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Reply to `POST /login`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginReply {
    /// Bearer token of the session.
    pub token: String,
    /// When it stops working.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
    /// Whose it is.
    pub user: User,
}

impl std::fmt::Debug for LoginReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginReply").field("expires_at", &self.expires_at).field("user", &self.user).finish_non_exhaustive()
    }
}

/// What an account may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    #[default]
    Viewer,
    /// Reads, and writes all but users, tokens, nodes and cluster.
    Operator,
    /// Everything.
    Admin,
}

words!(Role { Viewer = "viewer", Operator = "operator", Admin = "admin" });

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// Identity.
    #[schema(value_type = String)]
    pub id: UserId,
    /// Name to log in with.
    pub username: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub created_at: Option<Timestamp>,
    /// When it last changed.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub updated_at: Option<Timestamp>,
    /// Revision that last wrote it.
    #[serde(default)]
    pub version: u64,
}

/// Body of `POST /users`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// Name to log in with.
    pub username: String,
    /// Password.
    pub password: String,
    /// What it may do; `viewer` when left out.
    #[serde(default)]
    pub role: Role,
}

/// Body of `PUT /users/{id}`; what is left out stays.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateUser {
    /// New name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// New password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// New role; revokes the account's tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// An API token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Identity; not the secret.
    #[schema(value_type = String)]
    pub id: TokenId,
    /// Name.
    pub name: String,
    /// The token itself, `ring_pat_…`: only in the reply that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What it may do: `deployments:write` and the like.
    pub scopes: Vec<String>,
    /// Where; everywhere when empty.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Name of the account it belongs to.
    #[serde(default)]
    pub user: String,
    /// When it was made.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub created_at: Option<Timestamp>,
    /// When it stops working; null for never.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
    /// When somebody came with it last, to about two minutes; null for never.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub last_used_at: Option<Timestamp>,
    /// Revision that last wrote it.
    #[serde(default)]
    pub version: u64,
}

/// Body of `POST /tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Name.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Where; everywhere when empty.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// How long it is good; for ever when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expires_in: Option<Span>,
}
