//! A cluster that is begun anew.

#![allow(clippy::unwrap_used)] // A test.

mod common;

use common::{World, job, join_token, name, worker};
use ring_state::{Command, EnrolMember, MemberState, NewGeneration, RefusalCode, Reply};
use ring_types::{ClusterGeneration, Epoch, Generation, InstanceState, MemberId, Outcome, UnknownExit};

fn second() -> ClusterGeneration {
    ClusterGeneration::FIRST.after(7)
}

fn begin(world: &mut World, generation: ClusterGeneration, member: u64) -> Reply {
    world.run(Command::BeginGeneration(NewGeneration {
        generation,
        member: MemberId(member),
        name: name("left"),
        address: "10.0.0.9:3031".into(),
        api_address: "10.0.0.9:3030".into(),
    }))
}

fn enrol(world: &mut World) -> MemberId {
    world.run(Command::CreateJoinToken(join_token()));
    let enrol = EnrolMember { token: join_token().id, name: name("c"), address: String::new(), api_address: String::new() };
    match world.run(Command::EnrolMember(enrol)) {
        Reply::Member(id, _) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_survivor_keeps_its_id_and_the_others_are_out() {
    let mut world = World::new();
    assert_eq!(enrol(&mut world), MemberId(2));
    assert_eq!(begin(&mut world, second(), 1), Reply::Done);
    assert_eq!(world.state.generation(), second());
    assert_eq!(world.state.member(MemberId(2)).unwrap().state, MemberState::Removed);
    assert_eq!(world.state.member(MemberId(1)).unwrap().state, MemberState::Active);
    let dismissed: Vec<_> = [1, 2, 3, 999, 1001].map(|id| world.state.is_dismissed(MemberId(id))).into();
    assert_eq!(dismissed, [false, true, true, true, false], "3 may have joined and been lost with the others");
    assert_eq!(enrol(&mut world), MemberId(1001), "no id is given out twice");
}

#[test]
fn a_new_host_has_an_id_nobody_had() {
    let mut world = World::new();
    assert!(matches!(begin(&mut world, second(), 2), Reply::Refused(refusal) if refusal.code == RefusalCode::Invalid));
    let id = world.state.next_generation_member();
    assert_eq!(begin(&mut world, second(), id.0), Reply::Done);
    assert!(world.state.is_dismissed(MemberId(1)) && !world.state.is_dismissed(id));
    assert_eq!(enrol(&mut world), MemberId(1002));
}

#[test]
fn a_generation_is_not_begun_twice() {
    let mut world = World::new();
    begin(&mut world, second(), 1);
    for again in [second(), ClusterGeneration::FIRST.after(8), ClusterGeneration::FIRST] {
        assert!(matches!(begin(&mut world, again, 1), Reply::Refused(_)), "{again}");
    }
    assert_eq!(begin(&mut world, second().after(1), 1), Reply::Done);
}

#[test]
fn what_is_said_to_agents_is_newer_than_anything_they_heard() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, worker("w", 1));
    world.create(1, id, node);
    let before = world.instance(1).generation;
    begin(&mut world, second(), 1);
    assert!(world.instance(1).generation > Generation(before.0 + 1000));
    assert!(world.register(node, 1) > Epoch(1000));
    // Its agent may run it already, by a claim this state never heard of.
    world.report(node, 1, InstanceState::Running, None);
    assert_eq!(world.instance(1).state, InstanceState::Running);
}

#[test]
fn a_job_that_may_have_been_begun_is_not_begun_again_and_the_truth_is_taken() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, job("j"));
    world.create(1, id, node);
    begin(&mut world, second(), 1);
    let epoch = world.register(node, 2);
    assert!(!world.claim(node, epoch.0, 1), "claimed once more");
    assert_eq!(world.instance(1).exit.as_deref().unwrap().outcome, Outcome::Unknown(UnknownExit::ClusterRestored));
    world.report(node, 1, InstanceState::Exited, Some(Outcome::Code(3)));
    assert_eq!(world.instance(1).exit.as_deref().unwrap().outcome, Outcome::Code(3));
}
