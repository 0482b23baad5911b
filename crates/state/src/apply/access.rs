//! Accounts and tokens.

use std::sync::Arc;

use ring_types::{Name, TokenId, UserId};

use super::{Done, Tx};
use crate::{Account, ApiToken, Refusal, RefusalCode, Reply, Role, Row, RowKey, TokenRotation, TokenUse, UserUpdate};

impl Tx<'_> {
    pub(super) fn create_user(&mut self, id: UserId, username: &Name, password_hash: &str, role: Role) -> Done {
        if self.state.user_named(username).is_some() {
            return Err(Refusal::conflict(format!("user '{username}' exists already")));
        }
        let account = Account {
            id,
            username: username.clone(),
            password_hash: password_hash.to_owned(),
            role,
            created_at: self.at,
            updated_at: self.at,
            version: self.revision,
        };
        self.put(Row::User(Arc::new(account)));
        Ok(Reply::Done)
    }

    pub(super) fn update_user(&mut self, update: &UserUpdate) -> Done {
        let current = self.user(update.id)?;
        if let Some(name) = &update.username
            && self.state.user_named(name).is_some_and(|other| other.id != update.id)
        {
            return Err(Refusal::conflict(format!("user '{name}' exists already")));
        }
        let demoted = update.role.is_some_and(|role| role != Role::Admin);
        if demoted && self.is_last_admin(&current) {
            let message = format!("'{}' is the last admin and cannot be demoted; make another admin first", current.username);
            return Err(Refusal::conflict(message));
        }
        let mut changed = Account::clone(&current);
        changed.username = update.username.clone().unwrap_or(changed.username);
        changed.password_hash = update.password_hash.clone().unwrap_or(changed.password_hash);
        changed.role = update.role.unwrap_or(changed.role);
        changed.updated_at = self.at;
        changed.version = self.revision;
        let revoke = changed.role != current.role || update.password_hash.is_some();
        self.put(Row::User(Arc::new(changed)));
        if revoke {
            self.revoke_all(update.id);
        }
        Ok(Reply::Done)
    }

    pub(super) fn delete_user(&mut self, id: UserId) -> Done {
        let user = self.user(id)?;
        if self.is_last_admin(&user) {
            let message = format!("'{}' is the last admin and cannot be deleted; make another admin first", user.username);
            return Err(Refusal::conflict(message));
        }
        self.revoke_all(id);
        self.delete(RowKey::User(id));
        Ok(Reply::Done)
    }

    fn user(&self, id: UserId) -> Result<Arc<Account>, Refusal> {
        self.state.user(id).cloned().ok_or_else(|| Refusal::not_found(format!("user '{id}'")))
    }

    fn is_last_admin(&self, user: &Account) -> bool {
        let others = self.state.users().filter(|u| u.id != user.id && u.role == Role::Admin).count();
        user.role == Role::Admin && others == 0
    }

    fn revoke_all(&mut self, user: UserId) {
        let ids: Vec<_> = self.state.tokens_of(user).map(|t| t.id).collect();
        for id in ids {
            self.delete(RowKey::Token(id));
        }
    }

    pub(super) fn create_token(&mut self, token: &ApiToken) -> Done {
        self.user(token.user)?;
        if self.state.token(token.id).is_some() {
            return Err(Refusal::conflict(format!("token '{}' exists already", token.id)));
        }
        self.forget_expired(token.user);
        let token = ApiToken { created_at: self.at, version: self.revision, ..token.clone() };
        self.put(Row::Token(Arc::new(token)));
        Ok(Reply::Done)
    }

    /// Sessions end by time; what is left of them goes when their user makes a new one, so they never pile up.
    fn forget_expired(&mut self, user: UserId) {
        let over = |t: &&Arc<ApiToken>| t.expires_at.is_some_and(|end| end <= self.at);
        let ids: Vec<_> = self.state.tokens_of(user).filter(over).map(|t| t.id).collect();
        for id in ids {
            self.delete(RowKey::Token(id));
        }
    }

    pub(super) fn rotate_token(&mut self, rotation: TokenRotation) -> Done {
        let id = rotation.id;
        let missing = || Refusal::not_found(format!("token '{id}'"));
        // A session has no name, and ends with a logout.
        let token = self.state.token(id).filter(|token| !token.name.is_empty()).ok_or_else(missing)?;
        if token.expires_at.is_some_and(|end| end <= self.at) {
            let message = format!("token '{}' has expired; make a new one with `ring token create`", token.name);
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        let token = ApiToken { hash: rotation.hash, version: self.revision, ..ApiToken::clone(token) };
        self.put(Row::Token(Arc::new(token)));
        Ok(Reply::Done)
    }

    /// Only forward: control nodes tell of the same token one after the other, and not in the order of its uses.
    pub(super) fn note_token_use(&mut self, uses: &[TokenUse]) -> Done {
        for used in uses {
            let known = self.state.token(used.token).filter(|token| token.last_used_at < Some(used.at));
            if let Some(token) = known {
                let token = ApiToken { last_used_at: Some(used.at), version: self.revision, ..ApiToken::clone(token) };
                self.put(Row::Token(Arc::new(token)));
            }
        }
        Ok(Reply::Done)
    }

    pub(super) fn revoke_tokens(&mut self, ids: &[TokenId]) -> Done {
        for id in ids {
            if self.state.token(*id).is_some() {
                self.delete(RowKey::Token(*id));
            }
        }
        Ok(Reply::Done)
    }
}
