//! What configs, secrets and volumes have in common: each has a name in a namespace, and who may see and change it goes by that.

use std::fmt::Display;
use std::sync::Arc;

use ring_api::errors::ErrorCode;
use ring_api::query;
use ring_state::{Config, Secret, State, Volume};
use ring_types::Name;

use crate::rest::auth::{Caller, Resource, Verb};
use crate::rest::error::{ApiError, Result};

/// An object with a name in a namespace.
pub(super) trait Named {
    /// The error when there is none.
    const NOT_FOUND: ErrorCode;

    /// Its namespace, and its name there.
    fn place(&self) -> (&Name, &Name);
}

impl Named for Config {
    const NOT_FOUND: ErrorCode = ErrorCode::ConfigNotFound;

    fn place(&self) -> (&Name, &Name) {
        (&self.namespace, &self.name)
    }
}

impl Named for Secret {
    const NOT_FOUND: ErrorCode = ErrorCode::SecretNotFound;

    fn place(&self) -> (&Name, &Name) {
        (&self.namespace, &self.name)
    }
}

impl Named for Volume {
    const NOT_FOUND: ErrorCode = ErrorCode::VolumeNotFound;

    fn place(&self) -> (&Name, &Name) {
        (&self.namespace, &self.name)
    }
}

/// Those the caller may see, of some namespaces when the query names them; by namespace and name.
pub(super) fn list<'a, T: Named>(all: impl Iterator<Item = &'a Arc<T>>, caller: &Caller, query: &str) -> Vec<&'a T> {
    let only = query::namespaces(query);
    let wanted = |namespace: &Name| only.is_empty() || only.iter().any(|only| only == namespace.as_str());
    let shown = |object: &&'a T| {
        let (namespace, _) = object.place();
        caller.sees(namespace) && wanted(namespace)
    };
    let mut found: Vec<&'a T> = all.map(AsRef::as_ref).filter(shown).collect();
    found.sort_by_key(|object| object.place());
    found
}

/// What was found, when the caller may see it.
pub(super) fn seen<'a, T: Named>(found: Option<&'a Arc<T>>, caller: &Caller, id: impl Display) -> Result<&'a T> {
    let missing = || ApiError::not_found(T::NOT_FOUND, &id);
    let found: &T = found.ok_or_else(missing)?;
    if caller.sees(found.place().0) { Ok(found) } else { Err(missing().reached(found.place().0)) }
}

/// Whoever makes something in a namespace that is not there makes the namespace too.
pub(super) fn may_make(caller: &Caller, state: &State, namespace: &Name) -> Result<()> {
    caller.require_namespace(namespace)?;
    if state.namespace(namespace).is_some() { Ok(()) } else { caller.require(Verb::Write, Resource::Namespaces) }
}

/// A repeated request finds it gone, and still has to get the answer of the first time: the commit decides.
pub(super) fn may_delete<T: Named>(found: Option<&Arc<T>>, caller: &Caller, id: impl Display) -> Result<()> {
    match found {
        Some(_) => seen(found, caller, id).map(drop),
        None if caller.token.namespaces.is_empty() => Ok(()),
        None => Err(ApiError::not_found(T::NOT_FOUND, id)),
    }
}
