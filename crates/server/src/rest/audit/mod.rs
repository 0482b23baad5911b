//! The audit record: what a request is called, whose it is, and the lines for what makes no log entry of its own.
//!
//! A change carries its note in its own log entry. A refusal before there is a command, a look at the output of a process and a
//! command run inside one are recorded here. Every line is told to the log of the control node that answered, too (target
//! `ring::audit`): the cluster keeps the last ones, the log is for those who keep all.

mod action;
mod recorder;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, MatchedPath};
use axum::http::request::Parts;
use axum::http::{Extensions, Method};
use ring_state::{AuditNote, AuditObject, AuditRecord, AuditRefusal};
use ring_types::Name;

use super::auth::Caller;

pub(in crate::rest) use action::action;
pub use recorder::Recorder;

/// The note of a request: who makes it, as far as that is known by now.
pub(in crate::rest) fn note(extensions: &Extensions, method: &Method, served_by: &str) -> AuditNote {
    let from = extensions.get::<ConnectInfo<SocketAddr>>().map(|from| from.0.ip().to_canonical().to_string());
    let path = extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let caller = extensions.get::<Caller>();
    AuditNote {
        user: caller.map(|c| c.user.username.to_string()).unwrap_or_default(),
        user_id: caller.map(|c| c.user.id),
        token: caller.map(|c| c.token.id),
        token_name: caller.map(|c| c.token.name.clone()).unwrap_or_default(),
        address: from.unwrap_or_default(),
        served_by: served_by.to_owned(),
        action: action(method, path),
    }
}

/// The note of a request under way.
pub(in crate::rest) fn note_of(parts: &Parts, served_by: &str) -> Arc<AuditNote> {
    Arc::new(note(&parts.extensions, &parts.method, served_by))
}

/// The line of a look at an object, or of a deed in it that makes no entry: it was allowed.
pub(in crate::rest) fn allowed(note: &AuditNote, namespace: Option<&Name>, object: Option<AuditObject>) -> AuditRecord {
    let (note, namespace) = (note.clone(), namespace.cloned());
    AuditRecord { note, namespace, objects: object.into_iter().collect(), more: 0, refused: None, count: 1 }
}

/// The line of a request that was refused before there was a command.
pub(in crate::rest) fn refusal(note: AuditNote, object: Option<AuditObject>, refused: Refused) -> AuditRecord {
    let user = if note.user_id.is_none() { refused.named.unwrap_or_default() } else { note.user.clone() };
    let (note, objects) = (AuditNote { user, ..note }, object.into_iter().collect());
    AuditRecord { note, namespace: refused.namespace, objects, more: 0, refused: Some(refused.refusal), count: 1 }
}

/// What an error reply says to the audit: its code and sentence, and the namespace the caller reached for.
#[derive(Clone, Debug)]
pub(in crate::rest) struct Refused {
    pub(in crate::rest) refusal: AuditRefusal,
    pub(in crate::rest) namespace: Option<Name>,
    /// The name that was given by somebody who proved to be nobody.
    pub(in crate::rest) named: Option<String>,
}

/// The object a path names: of the kind its action is about, with the id or name given.
pub(in crate::rest) fn object_of(note: &AuditNote, extensions: &Extensions, path: &str) -> Option<AuditObject> {
    let matched = extensions.get::<MatchedPath>()?;
    let at = matched.as_str().split('/').position(|part| part.starts_with('{'))?;
    let named = path.split('/').nth(at)?;
    let kind = note.action.split('.').next().unwrap_or_default();
    Some(AuditObject {
        kind: kind.to_owned(),
        name: String::new(),
        id: named.chars().take(200).collect(),
        outcome: String::new(),
    })
}
