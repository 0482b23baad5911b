//! Accounts and tokens.

use ring_api::model;
use ring_state::{Account, ApiToken, Role, State};

pub(in crate::rest) const fn role(role: Role) -> model::Role {
    match role {
        Role::Viewer => model::Role::Viewer,
        Role::Operator => model::Role::Operator,
        Role::Admin => model::Role::Admin,
    }
}

pub(in crate::rest) const fn role_of(role: model::Role) -> Role {
    match role {
        model::Role::Viewer => Role::Viewer,
        model::Role::Operator => Role::Operator,
        model::Role::Admin => Role::Admin,
    }
}

pub(in crate::rest) fn account(user: &Account) -> model::User {
    model::User {
        id: user.id,
        username: user.username.to_string(),
        role: role(user.role),
        created_at: Some(user.created_at),
        updated_at: Some(user.updated_at),
        version: user.version.0,
    }
}

pub(in crate::rest) fn token(state: &State, token: &ApiToken) -> model::Token {
    model::Token {
        id: token.id,
        name: token.name.clone(),
        token: None,
        scopes: token.scopes.clone(),
        namespaces: token.namespaces.iter().map(ToString::to_string).collect(),
        user: state.user(token.user).map(|u| u.username.to_string()).unwrap_or_default(),
        created_at: Some(token.created_at),
        expires_at: token.expires_at,
        last_used_at: token.last_used_at,
        version: token.version.0,
    }
}
