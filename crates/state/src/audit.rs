//! Who did what to which object, from where, and whether it was allowed.
//!
//! A change says who makes it in its own log entry, so that there is no change without its record and no record without its
//! change. What changes nothing (a refusal before there is a command, a look into a process) is recorded by a command of its own.

use ring_types::{Name, Revision, Timestamp, TokenId, UserId};

use crate::Command;

/// Who makes a request, from where, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditNote {
    /// The account's name as it was then; of an unknown caller what it gave as its name, else nothing.
    pub user: String,
    /// The account; None when nobody proved to be one.
    pub user_id: Option<UserId>,
    /// The token it came with, also after its end.
    pub token: Option<TokenId>,
    /// Its name; of a session nothing.
    pub token_name: String,
    /// Address of the client, as the control node saw it.
    pub address: String,
    /// Name of the control node that answered.
    pub served_by: String,
    /// What was asked for, such as `deployment.apply`.
    pub action: String,
}

impl AuditNote {
    /// What a control node does of its own accord, or for a host that has no account: `on` says on whose word.
    pub fn unattended(action: &str, on: impl Into<String>, served_by: impl Into<String>) -> Self {
        Self {
            user: String::new(),
            user_id: None,
            token: None,
            token_name: on.into(),
            address: String::new(),
            served_by: served_by.into(),
            action: action.to_owned(),
        }
    }
}

/// A command of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedCommand {
    /// Whose it is.
    pub note: AuditNote,
    /// What to do.
    pub command: Box<Command>,
}

/// An object that was acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditObject {
    /// Its kind, such as `deployment`.
    pub kind: String,
    /// Its name; nothing where it has none.
    pub name: String,
    /// Its id; nothing where it has none, or is not there.
    pub id: String,
    /// What became of it, such as `created`; nothing when that is told by the action.
    pub outcome: String,
}

/// Why something was not allowed or not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRefusal {
    /// The stable code of the error.
    pub code: String,
    /// The sentence the caller got.
    pub message: String,
}

/// One line of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Who, from where, what.
    pub note: AuditNote,
    /// Namespace of the objects; None: the cluster.
    pub namespace: Option<Name>,
    /// What it was done to; the first ones when there are many.
    pub objects: Vec<AuditObject>,
    /// Objects that are not listed.
    pub more: u32,
    /// None: it was allowed and done.
    pub refused: Option<AuditRefusal>,
    /// How often: the same refusal many times in a moment is one line.
    pub count: u32,
}

/// A line of the record as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The entry that brought it.
    pub revision: Revision,
    /// Which of that entry's lines.
    pub part: u32,
    /// When.
    pub at: Timestamp,
    /// What it says.
    pub record: AuditRecord,
}
