//! Data keys: rotation, values sealed anew, and what is refused meanwhile.

#![allow(clippy::unwrap_used)] // A test.

mod common;

use std::sync::Arc;

use common::{World, deployment_id, name, worker};
use ring_state::{
    ApplyDeployment, AttemptResult, Command, HookCommand, NewDataKey, NewWebhook, RefusalCode, RegistryPassword, Reply, Reseal,
    Resealed, SealedValue, State, limits,
};
use ring_types::{EventFilter, KeyId, Revision, SecretId, WebhookId};
use uuid::Uuid;

const SECRET: SecretId = SecretId(Uuid::from_u128(7));

fn rotate(world: &mut World, id: u64) -> Reply {
    world.run(Command::RotateDataKey(NewDataKey { id: KeyId(id), sealed: vec![6] }))
}

fn put(world: &mut World, id: SecretId, key: u64) -> Reply {
    let label = format!("s{}", id.0.as_u128());
    let (namespace, name) = (name("ns"), name(&label));
    world.run(Command::PutSecret { id, namespace, name, sealed: vec![1], key: KeyId(key), create: false })
}

fn reseal(world: &mut World, key: u64, values: &[SealedValue]) -> Reply {
    let values = values.iter().map(|value| Resealed { value: value.clone(), sealed: vec![2] }).collect();
    world.run(Command::Reseal(Reseal { key: KeyId(key), values }))
}

fn settle(world: &mut World, key: u64) -> Reply {
    world.run(Command::SettleDataKey { key: KeyId(key) })
}

fn password(digest: u8, key: u64) -> RegistryPassword {
    RegistryPassword { sealed: vec![1], key: KeyId(key), digest: [digest; 32] }
}

fn apply(world: &mut World, n: u128, registry_password: RegistryPassword) -> Reply {
    let registry_password = Some(registry_password);
    let deployment = ApplyDeployment { registry_password, ..ApplyDeployment::new(deployment_id(n), Arc::new(worker("w", 1))) };
    world.run(Command::Apply {
        namespaces: Vec::new(),
        configs: Vec::new(),
        deployments: vec![deployment],
        force: false,
        rollout_deadline: None,
    })
}

fn code(reply: &Reply) -> Option<RefusalCode> {
    if let Reply::Refused(refusal) = reply { Some(refusal.code) } else { None }
}

fn left(world: &World) -> Vec<SealedValue> {
    world.state.sealed_otherwise().collect()
}

#[test]
fn a_rotation_is_over_when_nothing_is_sealed_with_another_key() {
    let mut world = World::new();
    assert_eq!(put(&mut world, SECRET, 0), Reply::Done);
    assert!(left(&world).is_empty(), "without a data key the secret key itself seals");
    assert_eq!(rotate(&mut world, 1), Reply::Done);
    assert!(!world.state.current_data_key().unwrap().settled);
    let values = left(&world);
    assert_eq!(values.len(), 1);
    assert_eq!(settle(&mut world, 1), Reply::Planned { skipped: 1 }, "something is left");
    assert_eq!(reseal(&mut world, 1, &values), Reply::Planned { skipped: 0 });
    let secret = world.state.secret(SECRET).unwrap();
    assert_eq!((secret.sealed.as_slice(), secret.key), ([2].as_slice(), KeyId(1)));
    assert_eq!(secret.updated_at, secret.created_at, "its value is the same");
    assert_eq!(settle(&mut world, 1), Reply::Planned { skipped: 0 });
    assert!(world.state.current_data_key().unwrap().settled);
    assert_eq!(settle(&mut world, 1), Reply::Planned { skipped: 1 }, "once");
}

#[test]
fn the_old_key_goes_and_what_is_sealed_with_it_is_refused() {
    let mut world = World::new();
    rotate(&mut world, 1);
    settle(&mut world, 1);
    assert_eq!(code(&put(&mut world, SECRET, 0)), Some(RefusalCode::Stale), "the secret key itself seals no more");
    assert_eq!(put(&mut world, SECRET, 1), Reply::Done);
    rotate(&mut world, 2);
    // Sealed by somebody who did not know of the rotation yet: taken in while the old key is there.
    assert_eq!(put(&mut world, SecretId(Uuid::from_u128(8)), 1), Reply::Done);
    let values = left(&world);
    assert_eq!(values.len(), 2);
    reseal(&mut world, 2, &values);
    settle(&mut world, 2);
    assert_eq!(world.state.data_key(KeyId(1)), None);
    assert_eq!(code(&put(&mut world, SECRET, 1)), Some(RefusalCode::Stale));
    assert_eq!(code(&apply(&mut world, 1, password(1, 1))), Some(RefusalCode::Stale));
    assert_eq!(code(&apply(&mut world, 1, password(1, 3))), Some(RefusalCode::Stale), "a key nobody knows");
    assert!(world.state.deployment(deployment_id(1)).is_none());
}

#[test]
fn a_value_that_was_changed_meanwhile_is_not_overwritten() {
    let mut world = World::new();
    rotate(&mut world, 1);
    settle(&mut world, 1);
    put(&mut world, SECRET, 1);
    rotate(&mut world, 2);
    let values = left(&world);
    put(&mut world, SECRET, 2);
    assert_eq!(reseal(&mut world, 2, &values), Reply::Planned { skipped: 1 });
    assert_eq!(world.state.secret(SECRET).unwrap().sealed, [1]);
    // Of a leader that has not heard of the latest rotation.
    rotate(&mut world, 3);
    let values = left(&world);
    assert_eq!(reseal(&mut world, 2, &values), Reply::Planned { skipped: 1 });
    assert_eq!(settle(&mut world, 2), Reply::Planned { skipped: 1 });
    let gone = SealedValue::Secret { id: SecretId(Uuid::from_u128(9)), version: Revision(1) };
    assert_eq!(reseal(&mut world, 3, &[gone]), Reply::Planned { skipped: 1 });
}

#[test]
fn registry_passwords_are_sealed_anew_on_both_records() {
    let mut world = World::new();
    rotate(&mut world, 1);
    settle(&mut world, 1);
    apply(&mut world, 1, password(1, 1));
    apply(&mut world, 2, password(2, 1));
    rotate(&mut world, 2);
    let values = left(&world);
    // The first is being deleted, the second has a password of its own and that of the first to go back to.
    assert_eq!(values.len(), 3, "{values:?}");
    assert_eq!(reseal(&mut world, 2, &values), Reply::Planned { skipped: 0 });
    let second = world.state.deployment(deployment_id(2)).unwrap();
    let kept = [&second.registry_password, &second.previous.as_ref().unwrap().registry_password];
    assert_eq!(kept.map(|password| password.as_ref().map(|p| (p.key, p.digest[0]))), [Some((KeyId(2), 2)), Some((KeyId(2), 1))]);
    assert_eq!(settle(&mut world, 2), Reply::Planned { skipped: 0 });
    // Not a change of what is asked for: the same manifest again changes nothing.
    let Reply::Deployments(outcomes) = apply(&mut world, 3, password(2, 2)) else { panic!("refused") };
    assert_eq!(outcomes[0].outcome, ring_state::Outcome::Unchanged);
}

fn webhook(world: &mut World, n: u128, key: u64) -> Reply {
    let (events, sealed) = (vec![EventFilter::All], vec![1]);
    let (url, created_by) = ("https://receiver.example/".to_owned(), "alice".to_owned());
    let wanted = NewWebhook { id: hook(n), url, events, sealed, key: KeyId(key), created_by };
    world.run(Command::Hook(HookCommand::Create(wanted)))
}

const fn hook(n: u128) -> WebhookId {
    WebhookId(Uuid::from_u128(n))
}

#[test]
fn what_signs_deliveries_is_sealed_anew_whatever_is_delivered_meanwhile() {
    let mut world = World::new();
    assert_eq!(webhook(&mut world, 1, 0), Reply::Done);
    rotate(&mut world, 1);
    let values = left(&world);
    assert_eq!(values, [SealedValue::Webhook { id: hook(1), key: KeyId(0) }]);
    assert_eq!(settle(&mut world, 1), Reply::Planned { skipped: 1 }, "something is left");
    // A delivery changes the row, and not what signs.
    world.run(Command::Hook(HookCommand::Test { webhook: hook(1) }));
    let number = world.state.deliveries_of(hook(1)).next().unwrap().number;
    let taken = AttemptResult { webhook: hook(1), number, attempt: 1, error: None, retry_at: None };
    world.run(Command::Hook(HookCommand::Settle { results: vec![taken] }));
    assert_eq!(reseal(&mut world, 1, &values), Reply::Planned { skipped: 0 });
    let found = world.state.webhook(hook(1)).unwrap().clone();
    assert_eq!((found.sealed.as_slice(), found.key, found.delivered), ([2].as_slice(), KeyId(1), 1));
    assert_eq!(reseal(&mut world, 1, &values), Reply::Planned { skipped: 1 }, "once");
    assert_eq!(settle(&mut world, 1), Reply::Planned { skipped: 0 });
    assert_eq!(code(&webhook(&mut world, 2, 0)), Some(RefusalCode::Stale), "the secret key itself seals no more");
    assert_eq!(webhook(&mut world, 2, 1), Reply::Done);
    // One that was deleted meanwhile is passed over.
    rotate(&mut world, 2);
    let values = left(&world);
    world.run(Command::Hook(HookCommand::Delete { webhook: hook(1) }));
    assert_eq!(reseal(&mut world, 2, &values), Reply::Planned { skipped: 1 });
    assert_eq!(world.state.webhook(hook(2)).unwrap().key, KeyId(2));
}

#[test]
fn two_rotations_at_once_are_one_and_many_are_too_many() {
    let mut world = World::new();
    assert_eq!(rotate(&mut world, 1), Reply::Done);
    assert_eq!(code(&rotate(&mut world, 1)), Some(RefusalCode::Conflict));
    assert_eq!(code(&rotate(&mut world, 3)), Some(RefusalCode::Conflict));
    for id in 2..=limits::DATA_KEYS as u64 {
        assert_eq!(rotate(&mut world, id), Reply::Done);
    }
    assert_eq!(code(&rotate(&mut world, limits::DATA_KEYS as u64 + 1)), Some(RefusalCode::LimitReached));
    assert_eq!(settle(&mut world, limits::DATA_KEYS as u64), Reply::Planned { skipped: 0 });
    assert_eq!(world.state.rows().filter(|row| matches!(row, ring_state::Row::DataKey(_))).count(), 1);
}

#[test]
fn keys_come_back_from_their_rows() {
    let mut world = World::new();
    rotate(&mut world, 1);
    put(&mut world, SECRET, 1);
    rotate(&mut world, 2);
    let loaded = State::from_rows(world.state.revision(), world.state.rows()).unwrap();
    assert_eq!(loaded.sealing_key(), KeyId(2));
    assert_eq!(loaded.sealed_otherwise().collect::<Vec<_>>(), left(&world));
    assert_eq!(format!("{:?}", loaded.current_data_key().unwrap()), "DataKey { id: KeyId(2), settled: false, .. }");
}
