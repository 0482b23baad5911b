//! The audit record, of a namespace and of everything.

use ring_api::errors::ErrorCode;
use ring_api::model::{self, AuditOutcome};
use ring_api::query::AuditQuery;
use ring_state::{AuditEntry, State};
use ring_types::Name;

use crate::rest::auth::Caller;
use crate::rest::body::{Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::{Query, View};
use crate::rest::view;

/// Lines of a reply without `limit`.
const DEFAULT: u32 = 100;

/// Who did what in a namespace, oldest first; its record outlives it.
#[utoipa::path(get, path = "/namespaces/{name}/audit", tag = "namespaces",
    params(("name" = String, Path), ("limit" = Option<u32>, Query), ("since" = Option<String>, Query), ("user" = Option<String>, Query),
        ("action" = Option<String>, Query), ("outcome" = Option<String>, Query)),
    responses((status = 200, body = Vec<model::AuditEntry>), (status = 404, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn namespace(
    caller: Caller,
    view: View,
    Id(name): Id<Name>,
    Query(query): Query,
) -> Result<Json<Vec<model::AuditEntry>>> {
    caller.require_namespace(&name)?;
    let of_it = |entry: &AuditEntry| entry.record.namespace.as_ref() == Some(&name);
    let found = newest(&view.state, &AuditQuery::parse(&query)?, of_it);
    // The record of a namespace outlives it.
    if found.is_empty() && view.state.namespace(&name).is_none() {
        return Err(ApiError::not_found(ErrorCode::NamespaceNotFound, &name));
    }
    Ok(Json(found))
}

/// Who did what, in the cluster and in every namespace the caller may see, oldest first.
#[utoipa::path(get, path = "/cluster/audit", tag = "cluster",
    params(("limit" = Option<u32>, Query), ("since" = Option<String>, Query), ("user" = Option<String>, Query),
        ("action" = Option<String>, Query), ("outcome" = Option<String>, Query)),
    responses((status = 200, body = Vec<model::AuditEntry>)))]
pub(in crate::rest) async fn cluster(caller: Caller, view: View, Query(query): Query) -> Result<Json<Vec<model::AuditEntry>>> {
    let shown = |entry: &AuditEntry| match &entry.record.namespace {
        Some(namespace) => caller.sees(namespace),
        None => caller.token.namespaces.is_empty(),
    };
    Ok(Json(newest(&view.state, &AuditQuery::parse(&query)?, shown)))
}

/// The newest lines of a query, oldest first.
fn newest(state: &State, query: &AuditQuery, of: impl Fn(&AuditEntry) -> bool) -> Vec<model::AuditEntry> {
    let recent = state.audit().rev().take_while(|entry| query.since.is_none_or(|since| entry.at >= since));
    let wanted = recent.filter(|entry| of(entry) && asked(entry, query));
    let limit = query.limit.unwrap_or(DEFAULT) as usize;
    let mut found: Vec<_> = wanted.take(limit).map(|entry| view::audit(entry)).collect();
    found.reverse();
    found
}

fn asked(entry: &AuditEntry, query: &AuditQuery) -> bool {
    let record = &entry.record;
    let refused = if record.refused.is_some() { AuditOutcome::Refused } else { AuditOutcome::Allowed };
    query.user.as_ref().is_none_or(|user| *user == record.note.user)
        && query.action.as_ref().is_none_or(|wanted| matches(&record.note.action, wanted))
        && query.outcome.is_none_or(|outcome| outcome == refused)
}

/// `secret.delete` is itself, `secret` and `secret.*` are everything with secrets.
fn matches(action: &str, wanted: &str) -> bool {
    let family = wanted.strip_suffix(".*").unwrap_or(wanted);
    action == wanted || action.strip_prefix(family).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn an_action_is_asked_for_by_itself_or_its_family() {
        assert!(
            matches("secret.delete", "secret.delete") && matches("secret.delete", "secret") && matches("secret.put", "secret.*")
        );
        assert!(!matches("secret.delete", "secret.put") && !matches("secretary.x", "secret") && !matches("secret.delete", "sec"));
    }
}
