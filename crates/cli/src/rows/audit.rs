//! The audit record.

use ring_api::model::{AuditEntry, AuditObject, AuditOutcome};

use crate::output::{Cell, Row};

impl Row for AuditEntry {
    const COLUMNS: &'static [(&'static str, bool)] = &[
        ("At", false),
        ("User", false),
        ("From", false),
        ("Action", false),
        ("Namespace", false),
        ("Objects", false),
        ("Outcome", false),
        ("Token", true),
        ("Served by", true),
        ("Message", true),
    ];

    fn cells(&self) -> Vec<Cell> {
        let mut objects: Vec<_> = self.objects.iter().map(named).collect();
        objects.extend((self.more > 0).then(|| format!("and {} more", self.more)));
        let often = if self.count > 1 { format!(" ({} times)", self.count) } else { String::new() };
        let outcome = format!("{}{often}", self.outcome);
        vec![
            Cell::time(Some(self.at)),
            if self.user.is_empty() { "unknown" } else { self.user.as_str() }.into(),
            self.address.as_str().into(),
            self.action.as_str().into(),
            self.namespace.as_deref().unwrap_or_default().into(),
            Cell::keep_start(objects.join(", ")),
            if self.outcome == AuditOutcome::Refused { Cell::status(&outcome) } else { outcome.into() },
            self.token.as_str().into(),
            self.served_by.as_str().into(),
            self.message.as_deref().unwrap_or_default().into(),
        ]
    }
}

fn named(object: &AuditObject) -> String {
    let name = if object.name.is_empty() { &object.id } else { &object.name };
    let outcome = if object.outcome.is_empty() { String::new() } else { format!(" {}", object.outcome) };
    format!("{} {name}{outcome}", object.kind)
}
