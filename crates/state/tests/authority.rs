//! The phases of a rotation of the authority.

#![allow(clippy::unwrap_used)] // A test.

mod common;

use common::{World, join_token, name, node_id};
use ring_state::{CaConfirm, CaPhase, CaStep, Command, EnrolMember, EnrolNode, NewCa, RefusalCode, Reply, State};
use ring_types::{MemberId, NodeId, Revision};

fn code(reply: &Reply) -> Option<RefusalCode> {
    if let Reply::Refused(refusal) = reply { Some(refusal.code) } else { None }
}

fn rotate(world: &mut World) -> Reply {
    world.run(Command::RotateCa(NewCa { certificate: "new".into(), key_sealed: vec![2] }))
}

fn confirm(world: &mut World, phase: CaPhase, members: &[u64], nodes: &[NodeId]) -> Reply {
    let rotation = world.state.ca_rotation().map_or(Revision(0), |rotation| rotation.id);
    let members = members.iter().map(|id| MemberId(*id)).collect();
    world.run(Command::ConfirmCa(CaConfirm { rotation, phase, members, nodes: nodes.to_vec() }))
}

fn step(world: &mut World, phase: CaPhase, force: bool) -> Reply {
    let rotation = world.state.ca_rotation().map_or(Revision(0), |rotation| rotation.id);
    world.run(Command::StepCa(CaStep { rotation, phase, force }))
}

/// Two control nodes, a node of its own, and one in the process of the second control node.
fn world() -> (World, NodeId) {
    let mut world = World::new();
    let token = join_token();
    let enrol = EnrolMember { token: token.id, name: name("c2"), address: String::new(), api_address: String::new() };
    world.run(Command::CreateJoinToken(token));
    assert_eq!(world.run(Command::EnrolMember(enrol)), Reply::Member(MemberId(2), name("c2")));
    let node = world.node(1);
    let beside = EnrolNode {
        token: None,
        node: node_id(2),
        name: name("c2"),
        member: Some(MemberId(2)),
        labels: std::collections::BTreeMap::new(),
    };
    world.run(Command::EnrolNode(beside));
    (world, node)
}

#[test]
fn both_authorities_are_trusted_until_every_host_has_done_its_part() {
    let (mut world, node) = world();
    assert_eq!(world.state.authorities(), ["ca"]);
    assert_eq!(rotate(&mut world), Reply::Done);
    assert_eq!((world.state.authorities(), world.state.signing_authority().unwrap().0), (vec!["ca", "new"], "ca"));
    assert_eq!(world.state.ca_missing(), (vec![MemberId(1), MemberId(2)], vec![node]));
    assert_eq!(code(&rotate(&mut world)), Some(RefusalCode::Conflict), "one at a time");
    confirm(&mut world, CaPhase::Trust, &[1, 2, 9], &[]);
    assert_eq!(world.state.ca_missing(), (vec![], vec![node]));
    assert_eq!(code(&step(&mut world, CaPhase::Trust, false)), Some(RefusalCode::Invalid));
    assert_eq!(confirm(&mut world, CaPhase::Renew, &[], &[node]), Reply::Planned { skipped: 1 }, "too early");
    confirm(&mut world, CaPhase::Trust, &[], &[node]);
    assert_eq!(step(&mut world, CaPhase::Trust, false), Reply::Done);
    assert_eq!((world.state.authorities(), world.state.signing_authority().unwrap()), (vec!["new", "ca"], ("new", &[2_u8][..])));
    assert_eq!(world.state.ca_missing(), (vec![MemberId(1), MemberId(2)], vec![node]), "the next phase begins anew");
    assert_eq!(code(&step(&mut world, CaPhase::Trust, true)), Some(RefusalCode::Conflict), "that phase is over");
    confirm(&mut world, CaPhase::Renew, &[1, 2], &[node]);
    assert_eq!(step(&mut world, CaPhase::Renew, false), Reply::Done);
    assert_eq!((world.state.ca_rotation(), world.state.authorities()), (None, vec!["new"]));
    assert_eq!(world.state.meta().unwrap().ca_key_sealed, [2]);
    assert_eq!(rotate(&mut world), Reply::Done, "and again");
}

#[test]
fn who_is_removed_is_not_waited_for_and_who_comes_is() {
    let (mut world, node) = world();
    rotate(&mut world);
    confirm(&mut world, CaPhase::Trust, &[1], &[]);
    world.run(Command::RemoveMember { id: MemberId(2) });
    world.run(Command::RemoveNode { node });
    // The node beside the control node that was removed has to speak for itself.
    assert_eq!(world.state.ca_missing(), (vec![], vec![node_id(2)]));
    world.run(Command::RemoveNode { node: node_id(2) });
    assert_eq!(world.state.ca_missing(), (vec![], vec![]));
    let late = world.node(7);
    assert_eq!(world.state.ca_missing(), (vec![], vec![late]));
}

#[test]
fn force_ends_the_phase_it_is_said_of() {
    let (mut world, _) = world();
    rotate(&mut world);
    assert_eq!(step(&mut world, CaPhase::Trust, true), Reply::Done);
    assert_eq!(world.state.ca_rotation().unwrap().phase, CaPhase::Renew);
    assert_eq!(step(&mut world, CaPhase::Renew, true), Reply::Done);
    assert_eq!(world.state.authorities(), ["new"]);
    assert_eq!(code(&step(&mut world, CaPhase::Renew, true)), Some(RefusalCode::Conflict));
}

#[test]
fn a_rotation_comes_back_from_its_rows() {
    let (mut world, node) = world();
    rotate(&mut world);
    confirm(&mut world, CaPhase::Trust, &[2], &[node]);
    let loaded = State::from_rows(world.state.revision(), world.state.rows()).unwrap();
    assert_eq!((loaded.ca_rotation(), loaded.ca_missing()), (world.state.ca_rotation(), world.state.ca_missing()));
}
