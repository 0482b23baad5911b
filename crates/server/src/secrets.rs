//! Values of secrets: sealed before they are proposed, opened only for the agent that runs what names them.

use ring_state::State;
use ring_types::{KeyId, Name, SecretId};

use crate::keys;
use crate::pki::{SealError, SecretKey};

fn context(id: SecretId) -> String {
    format!("ring/secret/{id}")
}

/// Seals a value for the secret `id`.
pub(crate) fn seal(key: &SecretKey, state: &State, id: SecretId, value: &str) -> Result<(KeyId, Vec<u8>), SealError> {
    keys::seal(key, state, &context(id), value.as_bytes())
}

/// The value of a secret under the data key in use.
pub(crate) fn reseal(key: &SecretKey, state: &State, id: SecretId) -> Result<Vec<u8>, SealError> {
    let found = state.secret(id).ok_or(SealError::Open)?;
    let clear = keys::open(key, state, found.key, &context(id), &found.sealed)?;
    Ok(keys::seal(key, state, &context(id), &clear)?.1)
}

/// The value of a secret by name, or why it cannot be had.
pub(crate) fn open(key: &SecretKey, state: &State, namespace: &Name, name: &str) -> Result<String, String> {
    let missing = || {
        format!("secret '{name}' not found in namespace '{namespace}': create it with `ring secret create {name} -n {namespace}`")
    };
    let found = Name::new(name).ok().and_then(|name| state.secret_named(namespace, &name)).ok_or_else(missing)?;
    let clear = keys::open(key, state, found.key, &context(found.id), &found.sealed)
        .map_err(|e| format!("secret '{name}' in namespace '{namespace}': {e}"))?;
    String::from_utf8(clear.to_vec()).map_err(|_| format!("secret '{name}' is not text"))
}
