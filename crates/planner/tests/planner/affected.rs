//! Which deployments a change concerns.

use std::collections::BTreeSet;

use ring_planner::{Waiting, affected};
use ring_state::{Command, Entry, RowKey, State};
use ring_types::{DeploymentId, DeploymentSpec, EnvValue, KeyId, NodeStatus, Outcome, RequestId, SecretId};

use crate::world::{World, job, name, needs, worker};

/// Runs `change` and gives the deployments it concerns; every plan that is not empty afterwards has to be among them.
fn changed(world: &mut World, change: impl FnOnce(&mut World)) -> BTreeSet<DeploymentId> {
    let before = world.state.clone();
    let mut waiting = Waiting::of(&before);
    change(world);
    let keys = diff(&before, &world.state);
    let found = affected(&before, &keys, &world.state, &mut waiting);
    for action in world.look().actions {
        let id = match &action {
            ring_state::Action::CreateInstance { deployment, .. } | ring_state::Action::SetStatus { deployment, .. } => {
                *deployment
            }
            ring_state::Action::SetGoal { instance, .. } => world.state.instance(*instance).unwrap().deployment,
            _ => continue,
        };
        assert!(found.contains(&id), "{action:?} was missed");
    }
    found
}

fn diff(before: &State, after: &State) -> Vec<RowKey> {
    let rows = |state: &State| state.rows().map(|row| (row.key(), row)).collect::<std::collections::BTreeMap<_, _>>();
    let (old, new) = (rows(before), rows(after));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).cloned().collect();
    keys.into_iter().filter(|key| old.get(key) != new.get(key)).collect()
}

#[test]
fn only_what_a_change_concerns_is_looked_at() {
    let mut world = World::with_nodes(2);
    let (one, two) = (world.create(worker("one", 1)), world.create(worker("two", 1)));
    world.settle();
    world.run_all(one);
    world.run_all(two);
    let first = world.live(one)[0].clone();
    assert_eq!(changed(&mut world, |w| w.end(first.id, Outcome::Code(1))), BTreeSet::from([one]));
    world.settle();
    let other = world.live(two)[0].clone();
    assert!(changed(&mut world, |w| w.set_node(other.node, NodeStatus::Lost)).contains(&two));
}

#[test]
fn what_waits_for_room_is_looked_at_when_there_is_some() {
    let mut world = World::with_nodes(1);
    let big = world.create(needs(job("big"), 4000, 1));
    world.settle();
    world.run_all(big);
    let waits = world.create(needs(job("waits"), 1000, 1));
    world.settle();
    let first = world.live(big)[0].id;
    assert_eq!(changed(&mut world, |w| w.end(first, Outcome::Code(0))), BTreeSet::from([big, waits]));
    world.settle();
    assert_eq!(changed(&mut world, |w| _ = w.node("new", 1000, 1000, &[])), BTreeSet::new(), "nothing waits any more");
}

#[test]
fn what_names_a_secret_is_looked_at_when_it_appears() {
    let mut world = World::with_nodes(1);
    let mut spec = job("j");
    spec.environment.insert("A".to_owned(), EnvValue::Secret("s".to_owned()));
    let id = world.create(spec);
    world.create(job("other"));
    world.settle();
    let secret = SecretId(world.fresh());
    let found = changed(&mut world, |w| {
        let (namespace, name) = (name("ns"), name("s"));
        w.apply(Command::PutSecret { id: secret, namespace, name, sealed: vec![1], key: KeyId(0), create: true });
    });
    assert_eq!(found, BTreeSet::from([id]));
}

#[test]
fn what_waits_for_its_predecessor_is_looked_at_when_that_ends() {
    let mut world = World::with_nodes(1);
    let old = world.create(worker("w", 1));
    world.settle();
    world.run_all(old);
    let new = world.create(DeploymentSpec { image: "other".to_owned(), ..worker("w", 1) });
    world.settle();
    let first = world.live(old)[0].id;
    assert_eq!(changed(&mut world, |w| w.end(first, Outcome::Code(0))), BTreeSet::from([old, new]));
}

#[test]
fn rows_that_concern_nothing_concern_nothing() {
    let mut state = State::default();
    let before = state.clone();
    let command = Command::CreateNamespace { name: name("ns") };
    let entry = Entry { at: ring_types::Timestamp(1), request: RequestId::NONE, command };
    let keys: Vec<_> = state.apply(ring_types::Revision(1), &entry).rows.into_iter().map(|row| row.key).collect();
    assert!(affected(&before, &keys, &state, &mut Waiting::default()).is_empty());
}
