//! Who did what.

use ring_types::{Timestamp, TokenId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words;

/// Whether something was allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It was allowed and done.
    #[default]
    Allowed,
    /// It was refused; nothing was done.
    Refused,
}

words!(AuditOutcome { Allowed = "allowed", Refused = "refused" });

/// An object that was acted on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditObject {
    /// Its kind, such as `deployment`.
    pub kind: String,
    /// Its name; empty where it has none or is not there.
    #[serde(default)]
    pub name: String,
    /// Its id, or what the request named it by.
    #[serde(default)]
    pub id: String,
    /// What became of it, such as `created`; empty where the action says it.
    #[serde(default)]
    pub outcome: String,
}

/// One line of the audit record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// When; of several in one line, when they were written down.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Name of the account as it was then; empty when nobody proved to be one.
    #[serde(default)]
    pub user: String,
    /// The account.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub user_id: Option<UserId>,
    /// The token or session it came with.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub token_id: Option<TokenId>,
    /// Name of the token; of a session empty.
    #[serde(default)]
    pub token: String,
    /// Address of the client as the control node saw it.
    #[serde(default)]
    pub address: String,
    /// Name of the control node that answered.
    #[serde(default)]
    pub served_by: String,
    /// What was asked for, such as `deployment.apply`.
    pub action: String,
    /// Namespace of the objects; none: the cluster's.
    #[serde(default)]
    pub namespace: Option<String>,
    /// What it was done to, at most 20 of them.
    #[serde(default)]
    pub objects: Vec<AuditObject>,
    /// How many objects there are beside those.
    #[serde(default)]
    pub more: u32,
    /// Allowed or refused.
    pub outcome: AuditOutcome,
    /// The stable code of a refusal.
    #[serde(default)]
    pub code: Option<String>,
    /// What the caller was told of a refusal.
    #[serde(default)]
    pub message: Option<String>,
    /// How often within the moment of this line.
    pub count: u32,
    /// Log index that brought it.
    pub revision: u64,
}
