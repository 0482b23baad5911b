//! Lines of the audit record.

use ring_api::model::{self, AuditOutcome};
use ring_state::{AuditEntry, AuditObject};

/// A line.
pub(in crate::rest) fn audit(entry: &AuditEntry) -> model::AuditEntry {
    let (record, note) = (&entry.record, &entry.record.note);
    let refused = record.refused.as_ref();
    model::AuditEntry {
        at: entry.at,
        user: note.user.clone(),
        user_id: note.user_id,
        token_id: note.token,
        token: note.token_name.clone(),
        address: note.address.clone(),
        served_by: note.served_by.clone(),
        action: note.action.clone(),
        namespace: record.namespace.as_ref().map(ToString::to_string),
        objects: record.objects.iter().map(object).collect(),
        more: record.more,
        outcome: if refused.is_some() { AuditOutcome::Refused } else { AuditOutcome::Allowed },
        code: refused.map(|refused| refused.code.clone()),
        message: refused.map(|refused| refused.message.clone()),
        count: record.count,
        revision: entry.revision.0,
    }
}

fn object(object: &AuditObject) -> model::AuditObject {
    let AuditObject { kind, name, id, outcome } = object.clone();
    model::AuditObject { kind, name, id, outcome }
}
