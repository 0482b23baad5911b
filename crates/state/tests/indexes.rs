//! Indexes say what a search through all rows would say, however the rows came about.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{World, name, worker};
use proptest::prelude::*;
use ring_state::{Action, ApiToken, Command, Role, State};
use ring_types::{ConfigId, DeploymentId, KeyId, Name, SecretId, Timestamp, TokenId, UserId};
use uuid::Uuid;

/// Namespaces that are easily taken for each other.
const SPACES: [&str; 6] = ["n", "ns", "ns-", "ns0", "nt", "0"];
const NAMES: [&str; 4] = ["0", "a", "ns", "zz"];

/// Puts when the last number is even, deletes when it is odd.
fn steps() -> impl Strategy<Value = Vec<(u8, usize, usize, u8)>> {
    prop::collection::vec((0u8..4, 0..SPACES.len(), 0..NAMES.len(), any::<u8>()), 1..60)
}

fn id(space: usize, label: usize) -> Uuid {
    Uuid::from_u128((space * 100 + label) as u128 + 1)
}

fn step(world: &mut World, (kind, space, label, put): (u8, usize, usize, u8)) {
    let (namespace, name, id, put) = (name(SPACES[space]), name(NAMES[label]), id(space, label), put % 2 == 0);
    let command = match (kind, put) {
        (0, true) => Command::PutSecret { id: SecretId(id), namespace, name, sealed: vec![1], key: KeyId(0), create: false },
        (0, false) => Command::DeleteSecret { id: SecretId(id), force: true },
        (1, true) => {
            let (data, labels) = (BTreeMap::new(), BTreeMap::new());
            Command::PutConfig { id: ConfigId(id), namespace, name, data, labels, create: false }
        }
        (1, false) => Command::DeleteConfig { id: ConfigId(id), force: true },
        (2, true) => {
            let mut spec = worker(name.as_str(), 1);
            spec.namespace = namespace;
            let id = DeploymentId(Uuid::from_u128(u128::from(world.index) + 1000));
            let deployments = vec![ring_state::ApplyDeployment::new(id, spec.into())];
            Command::Apply { namespaces: Vec::new(), configs: Vec::new(), deployments, force: true, rollout_deadline: None }
        }
        (2, false) => {
            let standing = world.state.deployment_named(&namespace, &name).map(|d| d.id);
            world.run(Command::DeleteDeployments { ids: standing.into_iter().collect() });
            let forget = |id| Action::ForgetDeployment { deployment: id };
            Command::Plan { actions: standing.into_iter().map(forget).collect() }
        }
        (_, true) => Command::CreateToken(token(id, label)),
        (_, false) => Command::RevokeTokens { ids: vec![TokenId(id)] },
    };
    world.run(command);
}

fn token(id: Uuid, user: usize) -> ApiToken {
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(id.as_bytes());
    ApiToken {
        id: TokenId(id),
        user: user_id(user),
        name: String::new(),
        hash,
        scopes: Vec::new(),
        namespaces: Vec::new(),
        created_at: Timestamp(0),
        expires_at: None,
        last_used_at: None,
        version: Default::default(),
    }
}

fn user_id(n: usize) -> UserId {
    UserId(Uuid::from_u128(n as u128 + 500))
}

fn check(state: &State) -> Result<(), TestCaseError> {
    for space in SPACES.map(name) {
        let mut all: Vec<(Name, DeploymentId)> =
            state.deployments().filter(|d| d.spec.namespace == space).map(|d| (d.spec.name.clone(), d.id)).collect();
        all.sort();
        prop_assert_eq!(state.deployments_in(&space).map(|d| (d.spec.name.clone(), d.id)).collect::<Vec<_>>(), all);
        let mut all: Vec<_> = state.secrets().filter(|s| s.namespace == space).map(|s| (&s.name, s.id)).collect();
        all.sort();
        prop_assert_eq!(state.secrets_in(&space).map(|s| (&s.name, s.id)).collect::<Vec<_>>(), all);
        let mut all: Vec<_> = state.configs().filter(|c| c.namespace == space).map(|c| (&c.name, c.id)).collect();
        all.sort();
        prop_assert_eq!(state.configs_in(&space).map(|c| (&c.name, c.id)).collect::<Vec<_>>(), all);
    }
    for user in (0..NAMES.len()).map(user_id) {
        let all: Vec<_> = state.tokens().filter(|t| t.user == user).map(|t| t.id).collect();
        prop_assert_eq!(state.tokens_of(user).map(|t| t.id).collect::<Vec<_>>(), all);
    }
    Ok(())
}

proptest! {
    #[test]
    fn an_index_finds_what_a_search_finds(steps in steps()) {
        let mut world = World::new();
        for n in 0..NAMES.len() {
            let (username, password_hash) = (name(&format!("user-{n}")), "hash".to_owned());
            world.run(Command::CreateUser { id: user_id(n), username, password_hash, role: Role::Viewer });
        }
        for one in steps {
            step(&mut world, one);
            check(&world.state)?;
        }
        check(&State::from_rows(world.state.revision(), world.state.rows()).unwrap())?;
    }
}
