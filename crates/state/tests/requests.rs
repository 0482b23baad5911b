//! What clients ask for: applying, repeating, conflicts, admission, rows.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{World, deployment_id, job, name, node_id, worker};
use proptest::prelude::*;
use ring_state::{
    ApplyDeployment, Command, EnrolMember, EnrolNode, JoinRole, JoinToken, Outcome, RefusalCode, Reply, Role, Row, State,
    UserUpdate,
};
use ring_types::{InstanceState, JoinTokenId, KeyId, MemberId, RequestId, Revision, SecretId, Timestamp, UserId};
use uuid::Uuid;

#[test]
fn applying_creates_scales_replaces_or_leaves_alone() {
    let mut world = World::new();
    assert_eq!(world.apply(1, worker("w", 1)), (deployment_id(1), Outcome::Created));
    assert_eq!(world.apply(2, worker("w", 1)), (deployment_id(1), Outcome::Unchanged));
    assert_eq!(world.apply(3, worker("w", 5)), (deployment_id(1), Outcome::Scaled));
    let mut changed = worker("w", 5);
    changed.command = vec!["other".into()];
    assert_eq!(world.apply(4, changed), (deployment_id(4), Outcome::Replaced(deployment_id(1))));
    assert!(world.state.deployment(deployment_id(1)).unwrap().deleting);
    assert_eq!(world.state.deployment(deployment_id(4)).unwrap().replaces, Some(deployment_id(1)));
}

#[test]
fn the_same_request_twice_is_done_once() {
    let mut world = World::new();
    let request = RequestId(Uuid::from_u128(77));
    let apply = |n| Command::Apply {
        namespaces: Vec::new(),
        configs: Vec::new(),
        deployments: vec![ApplyDeployment::new(deployment_id(n), Arc::new(job("j")))],
        force: true,
        rollout_deadline: None,
    };
    let first = world.run_as(request, apply(1));
    let revision = world.last.as_ref().unwrap().revision;
    let second = world.run_as(request, apply(2));
    assert_eq!(first, second);
    let again = world.last.as_ref().unwrap();
    assert_eq!((again.revision, again.rows.len()), (revision, 0));
    assert_eq!(world.state.deployments().count(), 1);
}

#[test]
fn a_refused_command_changes_nothing_but_the_clock() {
    let mut world = World::new();
    world.apply(1, job("j"));
    let timeless = |world: &World| world.state.rows().filter(|row| !matches!(row, Row::Clock(_))).collect::<Vec<_>>();
    let before = timeless(&world);
    let one = |n, label| ApplyDeployment::new(deployment_id(n), Arc::new(job(label)));
    let twice = Command::Apply {
        namespaces: Vec::new(),
        configs: Vec::new(),
        deployments: vec![one(5, "new"), one(6, "new")],
        force: false,
        rollout_deadline: None,
    };
    assert!(matches!(world.run(twice), Reply::Refused(r) if r.code == RefusalCode::Conflict));
    assert_eq!(before, timeless(&world));
    assert_eq!(world.last.as_ref().unwrap().rows.len(), 1);
}

fn token(role: JoinRole, uses_left: u32) -> JoinToken {
    JoinToken {
        id: JoinTokenId(Uuid::from_u128(5)),
        hash: [0; 32],
        role,
        uses_left,
        expires_at: Timestamp(50_000),
        revoked: false,
        created_at: Timestamp(0),
        version: Revision(0),
    }
}

fn enrol(world: &mut World, n: u128) -> Reply {
    let token = Some(JoinTokenId(Uuid::from_u128(5)));
    world.run(Command::EnrolNode(EnrolNode {
        token,
        node: node_id(n),
        name: name("host"),
        member: None,
        labels: Default::default(),
    }))
}

fn refusal(reply: Reply) -> String {
    match reply {
        Reply::Refused(refusal) => refusal.message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_join_token_admits_what_it_says_and_no_more() {
    let mut world = World::new();
    assert!(refusal(enrol(&mut world, 1)).contains("not known"));
    world.run(Command::CreateJoinToken(token(JoinRole::Agent, 2)));
    assert_eq!(enrol(&mut world, 1), Reply::Node(node_id(1), name("host")));
    assert_eq!(enrol(&mut world, 2), Reply::Node(node_id(2), name("host-2")), "a taken name gets a number");
    assert!(refusal(enrol(&mut world, 3)).contains("used up"));
    world.run(Command::CreateJoinToken(token(JoinRole::Control, 2)));
    assert!(refusal(enrol(&mut world, 3)).contains("control nodes only"));
    world.run(Command::CreateJoinToken(token(JoinRole::Agent, 2)));
    world.run(Command::RevokeJoinToken { id: JoinTokenId(Uuid::from_u128(5)) });
    assert!(refusal(enrol(&mut world, 3)).contains("revoked"));
    world.run(Command::CreateJoinToken(token(JoinRole::Agent, 2)));
    world.now = 60_000;
    assert!(refusal(enrol(&mut world, 3)).contains("expired"));
}

#[test]
fn control_node_ids_are_never_given_twice() {
    let mut world = World::new();
    world.run(Command::CreateJoinToken(token(JoinRole::Control, 9)));
    let mut enrol = || {
        let token = JoinTokenId(Uuid::from_u128(5));
        let enrol = EnrolMember { token, name: name("c"), address: "a:1".into(), api_address: "a:2".into() };
        match world.run(Command::EnrolMember(enrol)) {
            Reply::Member(id, _) => {
                world.run(Command::RemoveMember { id });
                id
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!([enrol(), enrol(), enrol()], [MemberId(2), MemberId(3), MemberId(4)]);
}

#[test]
fn the_last_admin_stays() {
    let mut world = World::new();
    let admin = UserId(Uuid::from_u128(1));
    assert!(refusal(world.run(Command::DeleteUser { id: admin })).contains("last admin"));
    let demote = UserUpdate { id: admin, username: None, password_hash: None, role: Some(Role::Viewer) };
    assert!(refusal(world.run(Command::UpdateUser(demote.clone()))).contains("last admin"));
    let id = UserId(Uuid::from_u128(2));
    world.run(Command::CreateUser { id, username: name("second"), password_hash: "h".into(), role: Role::Admin });
    assert_eq!(world.run(Command::UpdateUser(demote)), Reply::Done);
}

#[test]
fn a_secret_in_use_is_not_deleted_without_force() {
    let mut world = World::new();
    let id = SecretId(Uuid::from_u128(3));
    let put =
        Command::PutSecret { id, namespace: name("ns"), name: name("url"), sealed: vec![1, 2], key: KeyId(0), create: true };
    assert_eq!(world.run(put.clone()), Reply::Done);
    assert!(refusal(world.run(put)).contains("exists already"));
    let mut spec = job("j");
    spec.environment.insert("URL".into(), ring_types::EnvValue::Secret("url".into()));
    world.apply(1, spec);
    assert!(refusal(world.run(Command::DeleteSecret { id, force: false })).contains("used by deployment 'j'"));
    assert_eq!(world.run(Command::DeleteSecret { id, force: true }), Reply::Done);
}

#[test]
fn the_clock_never_goes_back() {
    let mut world = World::new();
    world.now = 90_000;
    world.apply(1, job("a"));
    world.now = 10;
    world.apply(2, job("b"));
    let first = world.state.deployment(deployment_id(1)).unwrap().created_at;
    assert!(world.state.deployment(deployment_id(2)).unwrap().created_at >= first);
}

#[derive(Clone, Debug)]
enum Step {
    Apply(u8, u32),
    Create(u8, u8, u8),
    Claim(u8, u8),
    Report(u8, u8, u8),
    Delete(u8),
    Lose(u8),
    Register(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4u8, 1..4u32).prop_map(|(d, n)| Step::Apply(d, n)),
        (0..12u8, 0..4u8, 0..3u8).prop_map(|(i, d, n)| Step::Create(i, d, n)),
        (0..3u8, 0..12u8).prop_map(|(n, i)| Step::Claim(n, i)),
        (0..3u8, 0..12u8, 0..4u8).prop_map(|(n, i, s)| Step::Report(n, i, s)),
        (0..4u8).prop_map(Step::Delete),
        (0..3u8).prop_map(Step::Lose),
        (0..3u8).prop_map(Step::Register),
    ]
}

fn perform(world: &mut World, step: &Step, next: &mut u128) {
    let node = |n: u8| node_id(u128::from(n) + 1);
    let epoch = |world: &World, n: u8| world.state.node(node(n)).unwrap().epoch.0;
    match *step {
        Step::Apply(d, replicas) => {
            *next += 1;
            world.apply(*next, worker(&format!("w{d}"), replicas));
        }
        Step::Create(i, d, n) => {
            let found = world.state.deployment_named(&name("ns"), &name(&format!("w{d}"))).map(|d| d.id);
            if let Some(id) = found {
                world.create(u128::from(i) + 1, id, node(n));
            }
        }
        Step::Claim(n, i) => {
            let epoch = epoch(world, n);
            world.claim(node(n), epoch, u128::from(i) + 1);
        }
        Step::Report(n, i, s) => {
            let (state, exit) = match s {
                0 => (InstanceState::Running, None),
                1 => (InstanceState::Exited, Some(ring_types::Outcome::Code(i32::from(i)))),
                2 => (InstanceState::Removed, None),
                _ => (InstanceState::Starting, None),
            };
            world.report(node(n), u128::from(i) + 1, state, exit);
        }
        Step::Delete(d) => {
            if let Some(id) = world.state.deployment_named(&name("ns"), &name(&format!("w{d}"))).map(|d| d.id) {
                world.run(Command::DeleteDeployments { ids: vec![id] });
            }
        }
        Step::Lose(n) => {
            let epoch = epoch(world, n);
            world.lose_node(node(n), epoch);
        }
        Step::Register(n) => {
            *next += 1;
            world.register(node(n), *next);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The rows an entry says it changed are exactly what turns the state before into the state after, and rows alone
    /// are enough to build it again, indexes included.
    #[test]
    fn rows_tell_the_whole_story(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for n in 1..=3 {
            world.node(n);
        }
        let mut shadow: std::collections::BTreeMap<_, _> = world.state.rows().map(|row| (row.key(), row)).collect();
        let mut next = 100;
        let mut states = std::collections::BTreeMap::new();
        for step in &steps {
            perform(&mut world, step, &mut next);
            for change in &world.last.as_ref().unwrap().rows {
                match &change.row {
                    Some(row) => drop(shadow.insert(change.key.clone(), row.clone())),
                    None => drop(shadow.remove(&change.key)),
                }
            }
            for instance in world.state.instances() {
                let before = states.insert(instance.id, instance.state);
                prop_assert!(before.is_none_or(|b| b <= instance.state), "{} went back", instance.id);
            }
        }
        let rows: std::collections::BTreeMap<_, _> = world.state.rows().map(|row| (row.key(), row)).collect();
        prop_assert_eq!(&rows, &shadow);
        let loaded = State::from_rows(world.state.revision(), world.state.rows()).unwrap();
        for node in world.state.nodes() {
            prop_assert_eq!(loaded.usage(node.id), world.state.usage(node.id));
            let ids = |s: &State| s.instances_on(node.id).map(|i| i.id).collect::<Vec<_>>();
            prop_assert_eq!(ids(&loaded), ids(&world.state));
        }
    }
}
