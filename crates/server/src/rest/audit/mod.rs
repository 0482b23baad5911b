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
use axum::http::{Extensions, Method, Uri};
use ring_state::{AuditNote, AuditObject, AuditRecord, AuditRefusal};
use ring_types::Name;

use super::auth::Caller;

pub(in crate::rest) use action::action;
pub use recorder::Recorder;

/// What a line of the record says of a request: kept while it is under way, and put into words when there is a line to write.
pub(in crate::rest) struct Asked {
    from: Option<SocketAddr>,
    matched: Option<MatchedPath>,
    caller: Option<Caller>,
    method: Method,
    uri: Uri,
}

impl Asked {
    /// Of a request, as far as is known by now who makes it.
    pub(in crate::rest) fn of(extensions: &Extensions, method: &Method, uri: &Uri) -> Self {
        Self {
            from: extensions.get::<ConnectInfo<SocketAddr>>().map(|from| from.0),
            matched: extensions.get().cloned(),
            caller: extensions.get().cloned(),
            method: method.clone(),
            uri: uri.clone(),
        }
    }

    /// Whose it is.
    pub(in crate::rest) fn note(&self, served_by: &str) -> AuditNote {
        let caller = self.caller.as_ref();
        AuditNote {
            user: caller.map(|c| c.user.username.to_string()).unwrap_or_default(),
            user_id: caller.map(|c| c.user.id),
            token: caller.map(|c| c.token.id),
            token_name: caller.map(|c| c.token.name.clone()).unwrap_or_default(),
            address: self.from.map(|from| from.ip().to_canonical().to_string()).unwrap_or_default(),
            served_by: served_by.to_owned(),
            action: action(&self.method, self.matched.as_ref().map_or("", MatchedPath::as_str)),
        }
    }

    /// The line that says it was refused before there was a command.
    pub(in crate::rest) fn refused(&self, served_by: &str, refused: Refused) -> AuditRecord {
        let note = self.note(served_by);
        let objects = self.object(&note).into_iter().collect();
        let user = if note.user_id.is_none() { refused.named.unwrap_or_default() } else { note.user.clone() };
        let note = AuditNote { user, ..note };
        AuditRecord { note, namespace: refused.namespace, objects, more: 0, refused: Some(refused.refusal), count: 1 }
    }

    /// The object its path names: of the kind its action is about, with the id or name given.
    fn object(&self, note: &AuditNote) -> Option<AuditObject> {
        let at = self.matched.as_ref()?.as_str().split('/').position(|part| part.starts_with('{'))?;
        let named = self.uri.path().split('/').nth(at)?;
        let kind = note.action.split('.').next().unwrap_or_default();
        Some(AuditObject {
            kind: kind.to_owned(),
            name: String::new(),
            id: named.chars().take(200).collect(),
            outcome: String::new(),
        })
    }
}

/// The note of a request under way.
pub(in crate::rest) fn note_of(parts: &Parts, served_by: &str) -> Arc<AuditNote> {
    Arc::new(Asked::of(&parts.extensions, &parts.method, &parts.uri).note(served_by))
}

/// The line of a look at an object, or of a deed in it that makes no entry: it was allowed.
pub(in crate::rest) fn allowed(note: &AuditNote, namespace: Option<&Name>, object: Option<AuditObject>) -> AuditRecord {
    let (note, namespace) = (note.clone(), namespace.cloned());
    AuditRecord { note, namespace, objects: object.into_iter().collect(), more: 0, refused: None, count: 1 }
}

/// What an error reply says to the audit: its code and sentence, and the namespace the caller reached for.
#[derive(Clone, Debug)]
pub(in crate::rest) struct Refused {
    pub(in crate::rest) refusal: AuditRefusal,
    pub(in crate::rest) namespace: Option<Name>,
    /// The name that was given by somebody who proved to be nobody.
    pub(in crate::rest) named: Option<String>,
}
