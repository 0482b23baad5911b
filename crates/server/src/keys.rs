//! The data keys of a cluster, which seal values; the cluster's secret key seals them and nothing else but the authority's key.

use ring_controller::Sealer;
use ring_state::{SealedValue, State};
use ring_types::{ClusterId, KeyId};
use zeroize::Zeroizing;

use crate::pki::{SealError, SecretKey};
use crate::{registry, secrets, webhooks};

fn context(cluster: ClusterId, id: KeyId) -> String {
    format!("ring/data-key/{cluster}/{id}")
}

/// Makes a data key; what the state is to keep of it.
pub(crate) fn new_data_key(secret: &SecretKey, cluster: ClusterId, id: KeyId) -> Result<Vec<u8>, SealError> {
    secret.seal(&context(cluster, id), SecretKey::generate().expose())
}

/// The key of an id. 0 is the secret key itself: values of releases without data keys are sealed with it.
fn key(secret: &SecretKey, state: &State, id: KeyId) -> Result<SecretKey, SealError> {
    if id == KeyId(0) {
        return Ok(secret.clone());
    }
    let (Some(found), Some(meta)) = (state.data_key(id), state.meta()) else { return Err(SealError::NoDataKey(id.0)) };
    SecretKey::from_bytes(&secret.open(&context(meta.cluster, id), &found.sealed)?)
}

/// Seals a value with the data key in use, for one purpose: it opens only with the same `context`.
pub(crate) fn seal(secret: &SecretKey, state: &State, context: &str, clear: &[u8]) -> Result<(KeyId, Vec<u8>), SealError> {
    let id = state.sealing_key();
    Ok((id, key(secret, state, id)?.seal(context, clear)?))
}

/// Opens a value sealed with the data key `id` and the same `context`.
pub(crate) fn open(
    secret: &SecretKey,
    state: &State,
    id: KeyId,
    context: &str,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    key(secret, state, id)?.open(context, sealed)
}

/// Seals values anew for the leader's controller.
pub(crate) struct Resealer(pub(crate) SecretKey);

impl Sealer for Resealer {
    fn reseal(&self, state: &State, value: &SealedValue) -> Result<Vec<u8>, String> {
        let resealed = match value {
            SealedValue::Secret { id, .. } => secrets::reseal(&self.0, state, *id),
            SealedValue::Password { deployment, digest } => registry::reseal(&self.0, state, *deployment, digest),
            SealedValue::Webhook { id, .. } => webhooks::reseal(&self.0, state, *id),
        };
        resealed.map_err(|error| error.to_string())
    }
}

/// Does a value that is still sealed with an older key open? What to call it when it does not.
pub(crate) fn unreadable(secret: &SecretKey, state: &State, value: &SealedValue) -> Option<String> {
    Resealer(secret.clone()).reseal(state, value).err()?;
    Some(match value {
        SealedValue::Secret { id, .. } => {
            let found = state.secret(*id)?;
            format!("secret {}/{}", found.namespace, found.name)
        }
        SealedValue::Password { deployment, .. } => {
            let spec = &state.deployment(*deployment)?.spec;
            format!("registry password of deployment {}/{}", spec.namespace, spec.name)
        }
        SealedValue::Webhook { id, .. } => format!("secret of webhook {id}"),
    })
}

#[cfg(test)]
mod tests {
    use ring_state::{Bootstrap, Command, Entry, HookCommand, NewDataKey, NewWebhook, Reply, Reseal, Resealed, Webhook};
    use ring_types::{EventFilter, Name, RequestId, Revision, SecretId, Timestamp, UserId, WebhookId};
    use uuid::Uuid;

    use super::*;

    const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));
    const SECRET: SecretId = SecretId(Uuid::from_u128(2));

    fn apply(state: &mut State, command: Command) -> Reply {
        let index = Revision(state.revision().0 + 1);
        state.apply(index, &Entry { at: Timestamp(1), request: RequestId::NONE, command }).reply
    }

    fn cluster(data_key_sealed: Vec<u8>) -> State {
        let mut state = State::default();
        let bootstrap = Bootstrap {
            cluster: CLUSTER,
            ca_certificate: String::new(),
            ca_key_sealed: Vec::new(),
            data_key_sealed,
            member_name: Name::new("c1").unwrap(),
            address: String::new(),
            api_address: String::new(),
            admin: UserId(Uuid::from_u128(3)),
            admin_password_hash: String::new(),
            level: ring_state::LEVEL,
        };
        assert_eq!(apply(&mut state, Command::Bootstrap(bootstrap)), Reply::Done);
        state
    }

    fn put(state: &mut State, secret: &SecretKey, value: &str) {
        let (key, sealed) = secrets::seal(secret, state, SECRET, value).unwrap();
        let (namespace, name) = (Name::new("shop").unwrap(), Name::new("pass").unwrap());
        let put = Command::PutSecret { id: SECRET, namespace, name, sealed, key, create: false };
        assert_eq!(apply(state, put), Reply::Done);
    }

    fn value(state: &State, secret: &SecretKey) -> Result<String, String> {
        secrets::open(secret, state, &Name::new("shop").unwrap(), "pass")
    }

    fn rotate(state: &mut State, secret: &SecretKey) {
        let id = state.sealing_key().next();
        let sealed = new_data_key(secret, CLUSTER, id).unwrap();
        assert_eq!(apply(state, Command::RotateDataKey(NewDataKey { id, sealed })), Reply::Done);
    }

    fn reseal_all(state: &mut State, secret: &SecretKey) {
        let sealer = Resealer(secret.clone());
        let anew = |value: SealedValue| Resealed { sealed: sealer.reseal(state, &value).unwrap(), value };
        let values = state.sealed_otherwise().map(anew).collect();
        let reseal = Command::Reseal(Reseal { key: state.sealing_key(), values });
        assert_eq!(apply(state, reseal), Reply::Planned { skipped: 0 });
        let settle = Command::SettleDataKey { key: state.sealing_key() };
        assert_eq!(apply(state, settle), Reply::Planned { skipped: 0 });
    }

    #[test]
    fn a_value_opens_with_its_data_key_through_a_rotation() {
        let secret = SecretKey::generate();
        let mut state = cluster(new_data_key(&secret, CLUSTER, KeyId(1)).unwrap());
        put(&mut state, &secret, "hush");
        assert_eq!(state.secret(SECRET).unwrap().key, KeyId(1));
        let before = state.secret(SECRET).unwrap().sealed.clone();
        // The secret key alone does not open it, nor does another one.
        assert!(secret.open(&format!("ring/secret/{SECRET}"), &before).is_err());
        assert!(value(&state, &SecretKey::generate()).is_err());
        rotate(&mut state, &secret);
        assert_eq!(value(&state, &secret).unwrap(), "hush");
        reseal_all(&mut state, &secret);
        let after = state.secret(SECRET).unwrap();
        assert_eq!((after.key, state.data_key(KeyId(1))), (KeyId(2), None));
        assert_ne!(after.sealed, before);
        assert_eq!(value(&state, &secret).unwrap(), "hush");
    }

    #[test]
    fn what_the_secret_key_itself_sealed_opens_and_is_sealed_anew() {
        let secret = SecretKey::generate();
        let mut state = cluster(Vec::new());
        put(&mut state, &secret, "old");
        assert_eq!(state.secret(SECRET).unwrap().key, KeyId(0));
        assert!(secret.open(&format!("ring/secret/{SECRET}"), &state.secret(SECRET).unwrap().sealed).is_ok());
        rotate(&mut state, &secret);
        assert_eq!(value(&state, &secret).unwrap(), "old");
        reseal_all(&mut state, &secret);
        assert_eq!(state.secret(SECRET).unwrap().key, KeyId(1));
        assert_eq!(value(&state, &secret).unwrap(), "old");
        assert!(!state.seals_with(KeyId(0)));
    }

    /// A row as releases wrote it that sealed with the secret key itself, and one of this release.
    #[test]
    fn what_signs_deliveries_opens_in_both_forms_and_a_rotation_brings_both_to_the_new_key() {
        let secret = SecretKey::generate();
        let (old, new) = (WebhookId(Uuid::from_u128(7)), WebhookId(Uuid::from_u128(8)));
        let mut state = cluster(Vec::new());
        let sealed = secret.seal(&format!("ring/webhook/{old}"), b"old").unwrap();
        hook(&mut state, old, (KeyId(0), sealed));
        assert_eq!(signs(&state, &secret, old), Ok("old".to_owned()));
        rotate(&mut state, &secret);
        let sealed = webhooks::seal(&secret, &state, new, "new").unwrap();
        assert_eq!(sealed.0, KeyId(1));
        assert!(secret.open(&format!("ring/webhook/{new}"), &sealed.1).is_err(), "not the secret key itself");
        hook(&mut state, new, sealed);
        assert_eq!(signs(&state, &secret, new), Ok("new".to_owned()));
        for key in [1, 2] {
            reseal_all(&mut state, &secret);
            assert_eq!((signs(&state, &secret, old), signs(&state, &secret, new)), (Ok("old".to_owned()), Ok("new".to_owned())));
            assert!(state.webhooks().all(|webhook| webhook.key == KeyId(key)));
            rotate(&mut state, &secret);
        }
        // Bound to its webhook: what one has opens nothing as another's.
        let taken = Webhook { id: new, ..Webhook::clone(state.webhook(old).unwrap()) };
        assert_eq!(webhooks::open(&secret, &state, &taken), Err(SealError::Open));
    }

    fn hook(state: &mut State, id: WebhookId, (key, sealed): (KeyId, Vec<u8>)) {
        let (url, events, created_by) = (String::new(), vec![EventFilter::All], String::new());
        let create = HookCommand::Create(NewWebhook { id, url, events, sealed, key, created_by });
        assert_eq!(apply(state, Command::Hook(create)), Reply::Done);
    }

    fn signs(state: &State, secret: &SecretKey, id: WebhookId) -> Result<String, SealError> {
        let clear = webhooks::open(secret, state, state.webhook(id).unwrap())?;
        Ok(String::from_utf8(clear.to_vec()).unwrap())
    }

    #[test]
    fn a_value_that_does_not_open_is_named() {
        let (secret, other) = (SecretKey::generate(), SecretKey::generate());
        let mut state = cluster(Vec::new());
        put(&mut state, &other, "lost");
        let id = WebhookId(Uuid::from_u128(9));
        let sealed = webhooks::seal(&other, &state, id, "lost").unwrap();
        hook(&mut state, id, sealed);
        rotate(&mut state, &secret);
        let left: Vec<_> = state.sealed_otherwise().filter_map(|value| unreadable(&secret, &state, &value)).collect();
        assert_eq!(left, ["secret shop/pass".to_owned(), format!("secret of webhook {id}")]);
    }
}
