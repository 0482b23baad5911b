//! What requests are called in the audit record.

use axum::http::Method;

/// Routes whose action is not told by their method alone.
const NAMED: &[(Method, &str, &str)] = &[
    (Method::POST, "/login", "session.login"),
    (Method::POST, "/logout", "session.logout"),
    (Method::POST, "/deployments", "deployment.apply"),
    (Method::POST, "/deployments/{id}/restart", "deployment.restart"),
    (Method::POST, "/deployments/{id}/rollback", "deployment.rollback"),
    (Method::GET, "/deployments/{id}/logs", "deployment.logs"),
    (Method::GET, "/deployments/{id}/exec", "deployment.exec"),
    (Method::POST, "/secrets", "secret.put"),
    (Method::POST, "/secrets/rotate-key", "data-key.rotate"),
    (Method::POST, "/namespaces/{name}/prune", "namespace.prune"),
    (Method::GET, "/namespaces/{name}/audit", "namespace.audit"),
    (Method::DELETE, "/tokens/{id}", "token.revoke"),
    (Method::POST, "/tokens/{id}/rotate", "token.rotate"),
    (Method::POST, "/webhooks/{id}/test", "webhook.test"),
    (Method::POST, "/webhooks/{id}/redeliver", "webhook.redeliver_all"),
    (Method::POST, "/webhooks/{id}/deliveries/{delivery}/redeliver", "webhook.redeliver"),
    (Method::POST, "/nodes/rebalance", "node.rebalance"),
    (Method::GET, "/cluster/snapshot", "cluster.snapshot"),
    (Method::GET, "/cluster/audit", "cluster.audit"),
    (Method::POST, "/cluster/ca/rotate", "authority.rotate"),
    (Method::POST, "/cluster/members/{id}/promote", "member.promote"),
    (Method::POST, "/cluster/transfer-leader", "cluster.transfer_leader"),
    (Method::DELETE, "/cluster/tokens/{id}", "join-token.revoke"),
];

/// Kinds of object by the beginning of the path, the longest first.
const KINDS: &[(&str, &str)] = &[
    ("/cluster/tokens", "join-token"),
    ("/cluster/members", "member"),
    ("/cluster/ca", "authority"),
    ("/cluster", "cluster"),
    ("/deployments", "deployment"),
    ("/secrets/rotate-key", "data-key"),
    ("/secrets", "secret"),
    ("/configs", "config"),
    ("/volumes", "volume"),
    ("/namespaces", "namespace"),
    ("/users", "user"),
    ("/tokens", "token"),
    ("/webhooks", "webhook"),
    ("/nodes", "node"),
    ("/node", "node"),
];

/// What a request is called: the kind of object and the verb, such as `secret.delete`.
pub(in crate::rest) fn action(method: &Method, path: &str) -> String {
    if let Some((.., name)) = NAMED.iter().find(|(m, p, _)| m == method && *p == path) {
        return (*name).to_owned();
    }
    let kind = KINDS.iter().find(|(start, _)| path.starts_with(start)).map_or("server", |(_, kind)| kind);
    let verb = match method.as_str() {
        "GET" | "HEAD" => "read",
        "POST" => "create",
        "PUT" | "PATCH" => "update",
        "DELETE" => "delete",
        _ => "other",
    };
    format!("{kind}.{verb}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::super::auth::ROUTES;
    use super::*;

    #[test]
    fn every_change_has_a_name_of_its_own() {
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        for (method, path, _) in ROUTES.iter().filter(|(method, ..)| method != Method::GET) {
            let name = action(method, path);
            assert!(!name.starts_with("server."), "{method} {path} has no kind");
            let route = format!("{method} {path}");
            assert_eq!(seen.insert(name.clone(), route.clone()), None, "{name} is {route} and another");
        }
    }

    #[test]
    fn names_belong_to_routes() {
        for (method, path, name) in NAMED {
            assert!(ROUTES.iter().any(|(m, p, _)| m == method && p == path), "{name}: {method} {path}");
        }
        assert_eq!(action(&Method::GET, "/secrets/{id}"), "secret.read");
        assert_eq!(action(&Method::PATCH, "/nodes/{id}"), "node.update");
    }
}
