//! A caller: an account, and the token it came with.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use ring_state::{Account, ApiToken, Role, State};
use ring_types::{Name, Timestamp};

use super::table::permission;
use super::{Resource, Verb};
use crate::rest::App;
use crate::rest::error::{ApiError, Result};

/// Who makes a request.
#[derive(Clone)]
pub(in crate::rest) struct Caller {
    pub(in crate::rest) user: Arc<Account>,
    pub(in crate::rest) token: Arc<ApiToken>,
}

impl Caller {
    /// Whose a token is; None when it is unknown or over.
    pub(in crate::rest) fn of(state: &State, hash: &[u8; 32], now: Timestamp) -> Option<Self> {
        let token = state.token_hashed(hash)?.clone();
        if token.expires_at.is_some_and(|end| end <= now) {
            return None;
        }
        let user = state.user(token.user)?.clone();
        Some(Self { user, token })
    }

    /// May it do that, somewhere at least?
    pub(in crate::rest) fn may(&self, verb: Verb, resource: Resource) -> bool {
        let everywhere = self.token.namespaces.is_empty();
        role_allows(self.user.role, verb, resource)
            && scopes_allow(&self.token.scopes, verb, resource)
            && (everywhere || resource.in_namespace() || (verb == Verb::Read && !resource.tells_of_all()))
    }

    /// Fails when it may not.
    pub(in crate::rest) fn require(&self, verb: Verb, resource: Resource) -> Result<()> {
        if self.may(verb, resource) {
            return Ok(());
        }
        Err(ApiError::forbidden(format!("'{}' lacks the permission {}", self.user.username, permission(verb, resource))))
    }

    /// Fails when its token is bound to namespaces: what it asks for concerns them all.
    pub(in crate::rest) fn require_everywhere(&self) -> Result<()> {
        if self.token.namespaces.is_empty() {
            return Ok(());
        }
        Err(ApiError::forbidden("the token is bound to namespaces, and this concerns all of them: use one that is not bound"))
    }

    /// May it see and touch what is in this namespace?
    pub(in crate::rest) fn sees(&self, namespace: &Name) -> bool {
        self.token.namespaces.is_empty() || self.token.namespaces.contains(namespace)
    }

    /// Fails when its token is bound to other namespaces.
    pub(in crate::rest) fn require_namespace(&self, namespace: &Name) -> Result<()> {
        if self.sees(namespace) {
            return Ok(());
        }
        Err(ApiError::forbidden(format!("the token is not good for namespace '{namespace}'")).reached(namespace))
    }
}

fn role_allows(role: Role, verb: Verb, resource: Resource) -> bool {
    let kept_from_operators = matches!(resource, Resource::Users | Resource::Tokens | Resource::Nodes | Resource::Cluster);
    match (role, verb) {
        (Role::Admin, _) | (_, Verb::Read) => true,
        (Role::Operator, Verb::Write) => !kept_from_operators,
        (Role::Viewer, Verb::Write) => false,
    }
}

/// No scopes: all its user may. Whoever may change a kind of object may look at it.
fn scopes_allow(scopes: &[String], verb: Verb, resource: Resource) -> bool {
    let is = |scope: &str, verb: Verb| scope.split_once(':') == Some((resource.as_str(), verb.as_str()));
    scopes.is_empty() || scopes.iter().any(|s| s == "admin" || is(s, Verb::Write) || is(s, verb))
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::internal("a handler without a caller"))
    }
}

#[cfg(test)]
mod tests {
    use ring_types::{Revision, TokenId, UserId};

    use super::*;

    fn caller(role: Role, scopes: &[&str], namespaces: &[&str]) -> Caller {
        let id = uuid::Uuid::from_u128(1);
        let user = Account {
            id: UserId(id),
            username: Name::new("u").unwrap(),
            password_hash: String::new(),
            role,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
            version: Revision(1),
        };
        let token = ApiToken {
            id: TokenId(id),
            user: UserId(id),
            name: String::new(),
            hash: [0; 32],
            scopes: scopes.iter().map(|&s| s.to_owned()).collect(),
            namespaces: namespaces.iter().map(|n| Name::new(n).unwrap()).collect(),
            created_at: Timestamp(0),
            expires_at: None,
            last_used_at: None,
            version: Revision(1),
        };
        Caller { user: Arc::new(user), token: Arc::new(token) }
    }

    #[test]
    fn a_role_bounds_what_a_caller_may() {
        use Resource::{Cluster, Deployments, Nodes, Secrets, Tokens, Users, Webhooks};
        for resource in [Deployments, Secrets, Users, Tokens, Webhooks, Nodes, Cluster] {
            assert!(caller(Role::Admin, &[], &[]).may(Verb::Write, resource), "{resource:?}");
            assert!(caller(Role::Viewer, &[], &[]).may(Verb::Read, resource), "{resource:?}");
            assert!(!caller(Role::Viewer, &[], &[]).may(Verb::Write, resource), "{resource:?}");
        }
        for (resource, may) in [
            (Deployments, true),
            (Secrets, true),
            (Webhooks, true),
            (Users, false),
            (Tokens, false),
            (Nodes, false),
            (Cluster, false),
        ] {
            assert_eq!(caller(Role::Operator, &[], &[]).may(Verb::Write, resource), may, "{resource:?}");
        }
    }

    #[test]
    fn scopes_narrow_a_role_and_never_widen_it() {
        use Resource::{Deployments, Secrets, Users};
        let ci = caller(Role::Admin, &["deployments:write", "secrets:read"], &[]);
        assert!(ci.may(Verb::Write, Deployments) && ci.may(Verb::Read, Deployments) && ci.may(Verb::Read, Secrets));
        assert!(!ci.may(Verb::Write, Secrets) && !ci.may(Verb::Read, Users));
        assert!(!caller(Role::Viewer, &["admin"], &[]).may(Verb::Write, Deployments));
        assert!(caller(Role::Admin, &["admin"], &[]).may(Verb::Write, Users));
    }

    #[test]
    fn a_token_bound_to_namespaces_changes_nothing_outside() {
        let bound = caller(Role::Admin, &[], &["ci"]);
        assert!(bound.sees(&Name::new("ci").unwrap()) && !bound.sees(&Name::new("prod").unwrap()));
        assert!(bound.may(Verb::Write, Resource::Deployments) && bound.may(Verb::Read, Resource::Nodes));
        assert!(!bound.may(Verb::Read, Resource::Webhooks) && !bound.may(Verb::Write, Resource::Webhooks));
        assert!(!bound.may(Verb::Write, Resource::Users) && !bound.may(Verb::Write, Resource::Cluster));
    }
}
