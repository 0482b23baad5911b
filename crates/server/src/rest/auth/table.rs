//! What each route needs. A route that is not here is closed.

use axum::http::Method;

/// A kind of object, as scopes name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rest) enum Resource {
    Deployments,
    Secrets,
    Configs,
    Volumes,
    Namespaces,
    Users,
    Tokens,
    Webhooks,
    Nodes,
    Cluster,
}

impl Resource {
    /// The word for it in scopes.
    pub(in crate::rest) const fn as_str(self) -> &'static str {
        match self {
            Self::Deployments => "deployments",
            Self::Secrets => "secrets",
            Self::Configs => "configs",
            Self::Volumes => "volumes",
            Self::Namespaces => "namespaces",
            Self::Users => "users",
            Self::Tokens => "tokens",
            Self::Webhooks => "webhooks",
            Self::Nodes => "nodes",
            Self::Cluster => "cluster",
        }
    }

    /// It lives in a namespace: a token bound to namespaces may act on it there.
    pub(in crate::rest) const fn in_namespace(self) -> bool {
        matches!(self, Self::Deployments | Self::Secrets | Self::Configs | Self::Volumes | Self::Namespaces)
    }
}

impl Resource {
    /// It is in no namespace, and tells what happens in all of them: a token bound to some may not even look at it.
    pub(in crate::rest) const fn tells_of_all(self) -> bool {
        matches!(self, Self::Webhooks)
    }
}

/// Looking or changing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rest) enum Verb {
    Read,
    Write,
}

impl Verb {
    /// The word for it in scopes.
    pub(in crate::rest) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// A permission in words, as scopes have it.
pub(in crate::rest) fn permission(verb: Verb, resource: Resource) -> String {
    format!("{}:{}", resource.as_str(), verb.as_str())
}

/// What a route needs of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rest) enum Need {
    /// Nothing: it is open to everybody.
    Nothing,
    /// An account.
    Account,
    /// This permission.
    May(Verb, Resource),
}

use Need::{Account, May, Nothing};
impl Need {
    /// In words, as the description of the API has it: `nothing`, `account` or a scope.
    pub(in crate::rest) fn permission(self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Account => "account".to_owned(),
            Self::May(verb, resource) => permission(verb, resource),
        }
    }
}

use Resource::{Cluster, Configs, Deployments, Namespaces, Nodes, Secrets, Tokens, Users, Volumes, Webhooks};
use Verb::{Read, Write};

/// Method, path and need of every route.
pub(in crate::rest) const ROUTES: &[(Method, &str, Need)] = &[
    (Method::GET, "/healthz", Nothing),
    (Method::GET, "/readyz", Nothing),
    (Method::GET, "/metrics", Nothing),
    (Method::GET, "/openapi.json", Nothing),
    (Method::GET, "/errors/{code}", Nothing),
    (Method::POST, "/login", Nothing),
    (Method::POST, "/logout", Account),
    (Method::GET, "/deployments", May(Read, Deployments)),
    (Method::POST, "/deployments", May(Write, Deployments)),
    (Method::GET, "/deployments/{id}", May(Read, Deployments)),
    (Method::DELETE, "/deployments/{id}", May(Write, Deployments)),
    (Method::GET, "/deployments/{id}/logs", May(Read, Deployments)),
    (Method::GET, "/deployments/{id}/exec", May(Write, Deployments)),
    (Method::GET, "/deployments/{id}/events", May(Read, Deployments)),
    (Method::GET, "/deployments/{id}/metrics", May(Read, Deployments)),
    (Method::GET, "/deployments/{id}/health-checks", May(Read, Deployments)),
    (Method::GET, "/deployments/{id}/instances", May(Read, Deployments)),
    (Method::POST, "/deployments/{id}/restart", May(Write, Deployments)),
    (Method::POST, "/deployments/{id}/rollback", May(Write, Deployments)),
    (Method::GET, "/secrets", May(Read, Secrets)),
    (Method::POST, "/secrets", May(Write, Secrets)),
    (Method::GET, "/secrets/rotate-key", May(Read, Secrets)),
    (Method::POST, "/secrets/rotate-key", May(Write, Secrets)),
    (Method::GET, "/secrets/{id}", May(Read, Secrets)),
    (Method::DELETE, "/secrets/{id}", May(Write, Secrets)),
    (Method::GET, "/configs", May(Read, Configs)),
    (Method::POST, "/configs", May(Write, Configs)),
    (Method::GET, "/configs/{id}", May(Read, Configs)),
    (Method::PUT, "/configs/{id}", May(Write, Configs)),
    (Method::DELETE, "/configs/{id}", May(Write, Configs)),
    (Method::GET, "/volumes", May(Read, Volumes)),
    (Method::POST, "/volumes", May(Write, Volumes)),
    (Method::GET, "/volumes/{id}", May(Read, Volumes)),
    (Method::DELETE, "/volumes/{id}", May(Write, Volumes)),
    (Method::GET, "/namespaces", May(Read, Namespaces)),
    (Method::POST, "/namespaces", May(Write, Namespaces)),
    (Method::GET, "/namespaces/{name}", May(Read, Namespaces)),
    (Method::DELETE, "/namespaces/{name}", May(Write, Namespaces)),
    (Method::GET, "/namespaces/{name}/audit", May(Read, Namespaces)),
    (Method::POST, "/namespaces/{name}/prune", May(Write, Deployments)),
    (Method::GET, "/users", May(Read, Users)),
    (Method::POST, "/users", May(Write, Users)),
    (Method::GET, "/users/me", Account),
    (Method::GET, "/users/{id}", May(Read, Users)),
    (Method::PUT, "/users/{id}", May(Write, Users)),
    (Method::DELETE, "/users/{id}", May(Write, Users)),
    (Method::GET, "/tokens", May(Read, Tokens)),
    (Method::POST, "/tokens", May(Write, Tokens)),
    (Method::GET, "/tokens/{id}", May(Read, Tokens)),
    (Method::DELETE, "/tokens/{id}", May(Write, Tokens)),
    (Method::POST, "/tokens/{id}/rotate", May(Write, Tokens)),
    (Method::GET, "/webhooks", May(Read, Webhooks)),
    (Method::POST, "/webhooks", May(Write, Webhooks)),
    (Method::GET, "/webhooks/{id}", May(Read, Webhooks)),
    (Method::DELETE, "/webhooks/{id}", May(Write, Webhooks)),
    (Method::POST, "/webhooks/{id}/test", May(Write, Webhooks)),
    (Method::POST, "/webhooks/{id}/redeliver", May(Write, Webhooks)),
    (Method::GET, "/webhooks/{id}/deliveries", May(Read, Webhooks)),
    (Method::POST, "/webhooks/{id}/deliveries/{delivery}/redeliver", May(Write, Webhooks)),
    (Method::GET, "/node/get", May(Read, Nodes)),
    (Method::GET, "/nodes", May(Read, Nodes)),
    (Method::GET, "/nodes/rebalance", May(Read, Nodes)),
    (Method::POST, "/nodes/rebalance", May(Write, Nodes)),
    (Method::GET, "/nodes/{id}", May(Read, Nodes)),
    (Method::PATCH, "/nodes/{id}", May(Write, Nodes)),
    (Method::DELETE, "/nodes/{id}", May(Write, Nodes)),
    (Method::GET, "/cluster", May(Read, Cluster)),
    (Method::POST, "/cluster/ca/rotate", May(Write, Cluster)),
    // It has every sealed value, every hash of a password and the sealed key of the authority.
    (Method::GET, "/cluster/snapshot", May(Write, Cluster)),
    (Method::GET, "/cluster/audit", May(Read, Cluster)),
    (Method::GET, "/cluster/members", May(Read, Cluster)),
    (Method::POST, "/cluster/members/{id}/promote", May(Write, Cluster)),
    (Method::DELETE, "/cluster/members/{id}", May(Write, Cluster)),
    (Method::POST, "/cluster/transfer-leader", May(Write, Cluster)),
    (Method::GET, "/cluster/tokens", May(Read, Cluster)),
    (Method::POST, "/cluster/tokens", May(Write, Cluster)),
    (Method::DELETE, "/cluster/tokens/{id}", May(Write, Cluster)),
];

/// What a route needs; None for one that is not in the table.
pub(in crate::rest) fn need(method: &Method, path: &str) -> Option<Need> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    ROUTES.iter().find(|(m, p, _)| m == method && *p == path).map(|(_, _, need)| *need)
}

/// The methods a path takes, as the header `Allow` has them.
pub(in crate::rest) fn methods(path: &str) -> String {
    let own = ROUTES.iter().filter(|(_, p, _)| *p == path).map(|(method, ..)| method.as_str());
    own.flat_map(|method| if method == "GET" { vec!["GET", "HEAD"] } else { vec![method] }).collect::<Vec<_>>().join(", ")
}

/// Every scope a token can have.
pub(in crate::rest) fn scopes() -> Vec<String> {
    let resources =
        ["deployments", "secrets", "configs", "volumes", "namespaces", "users", "webhooks", "nodes", "cluster"].into_iter();
    let mut scopes: Vec<_> = resources.flat_map(|r| [format!("{r}:read"), format!("{r}:write")]).collect();
    scopes.push("admin".to_owned());
    scopes
}
