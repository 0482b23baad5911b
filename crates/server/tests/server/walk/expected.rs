//! Who may call what, as the specification has it. Written down once more and on purpose not taken from the program: a change of
//! the program's table or of its rules has to be made here too.

use ring_state::Role;

/// The words of scopes.
const RESOURCES: [&str; 9] =
    ["deployments", "secrets", "configs", "volumes", "namespaces", "users", "webhooks", "nodes", "cluster"];

/// What lives in a namespace.
const IN_NAMESPACE: [&str; 5] = ["deployments", "secrets", "configs", "volumes", "namespaces"];

/// What operators may read and not write.
const OF_ADMINS: [&str; 4] = ["users", "tokens", "nodes", "cluster"];

/// Every scope there is.
pub(super) fn scopes() -> Vec<String> {
    let each = RESOURCES.iter().flat_map(|resource| [format!("{resource}:read"), format!("{resource}:write")]);
    each.chain(["admin".to_owned()]).collect()
}

/// What a route needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing.
    Open,
    /// An account, whatever it may.
    Account,
    /// To read, or to write, a kind of object.
    May { resource: String, write: bool },
}

impl Need {
    /// What a route needs by its form, and those that are not what they look like.
    pub(super) fn of(method: &str, path: &str) -> Self {
        let may = |resource: &str, write| Self::May { resource: resource.to_owned(), write };
        match (method, path) {
            ("GET", "/healthz" | "/readyz" | "/metrics" | "/openapi.json" | "/errors/{code}") | ("POST", "/login") => Self::Open,
            ("POST", "/logout") | ("GET", "/users/me") => Self::Account,
            ("GET", "/node/get") => may("nodes", false),
            // It runs a command, and is asked for by a GET because WebSockets are.
            ("GET", "/deployments/{id}/exec") => may("deployments", true),
            // It has everything that is sealed, and hashes of passwords.
            ("GET", "/cluster/snapshot") => may("cluster", true),
            // It deletes deployments.
            ("POST", "/namespaces/{name}/prune") => may("deployments", true),
            _ => may(path.split('/').nth(1).unwrap_or_default(), method != "GET"),
        }
    }

    /// As the description of the API says it.
    pub(super) fn permission(&self) -> String {
        match self {
            Self::Open => "nothing".to_owned(),
            Self::Account => "account".to_owned(),
            Self::May { resource, write } => format!("{resource}:{}", if *write { "write" } else { "read" }),
        }
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It reaches its handler.
    Through,
    /// 403.
    Forbidden,
    /// 404: as if the object were not there.
    Unseen,
}

/// Who calls.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub(super) role: Role,
    /// Of a session none.
    pub(super) scopes: Vec<String>,
    /// Everywhere when empty.
    pub(super) namespaces: Vec<&'static str>,
}

/// What becomes of a call about something in `namespace`.
pub(super) fn outcome(who: &Who, method: &str, path: &str, namespace: &str) -> Outcome {
    let Need::May { resource, write } = Need::of(method, path) else { return Outcome::Through };
    let bound = !who.namespaces.is_empty();
    let in_namespace = IN_NAMESPACE.contains(&resource.as_str());
    // What concerns all namespaces at once is not for a token that is bound to some, not even to look at.
    let of_all = resource == "webhooks" || path == "/secrets/rotate-key";
    if bound && of_all {
        return Outcome::Forbidden;
    }
    if !role(who.role, &resource, write) || !scope(&who.scopes, &resource, write) || (bound && write && !in_namespace) {
        return Outcome::Forbidden;
    }
    if !in_namespace || !bound || who.namespaces.contains(&namespace) {
        return Outcome::Through;
    }
    // A list is shorter; an object is not there; a namespace that is named is said to be out of bounds, there or not.
    match (method, path) {
        (_, path) if path.contains("{id}") => Outcome::Unseen,
        ("GET", path) if !path.contains('{') => Outcome::Through,
        _ => Outcome::Forbidden,
    }
}

fn role(role: Role, resource: &str, write: bool) -> bool {
    match role {
        Role::Viewer => !write,
        Role::Operator => !write || !OF_ADMINS.contains(&resource),
        Role::Admin => true,
    }
}

fn scope(scopes: &[String], resource: &str, write: bool) -> bool {
    let has = |wanted: &str| scopes.iter().any(|scope| scope == wanted);
    scopes.is_empty() || has("admin") || has(&format!("{resource}:write")) || (!write && has(&format!("{resource}:read")))
}
