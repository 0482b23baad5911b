//! Rolling updates of what cannot always run beside its old version: published ports, and so many on a host at most.

use std::collections::BTreeMap;

use ring_state::{Command, NodeUpdate, Outcome as Done, UnplacedReason, may_run};
use ring_types::{
    Condition, DeploymentId, DeploymentSpec, DeploymentStatus, Goal, InstanceState, NodeId, NodeStatus, Outcome, Port, Protocol,
    Span, StartFailure, StopCause, UnknownExit,
};

use crate::rollouts::{get_ready, let_go, serving, wanted};
use crate::world::{World, gated, needs, worker};

fn port(published: u16) -> Vec<Port> {
    vec![Port { published, target: 80, host_ip: "0.0.0.0".to_owned(), protocol: Protocol::Tcp }]
}

fn ported(replicas: u32, image: &str) -> DeploymentSpec {
    DeploymentSpec { ports: port(80), ..gated("w", replicas, image) }
}

fn limited(replicas: u32, image: &str, most: u32) -> DeploymentSpec {
    let mut spec = gated("w", replicas, image);
    spec.placement.max_per_node = Some(most);
    spec
}

fn serve(world: &World) -> u32 {
    world.state.deployments().map(|d| world.state.serving(d)).sum()
}

/// Live instances of all versions by node.
fn by_node(world: &World) -> BTreeMap<NodeId, u32> {
    let mut found = BTreeMap::new();
    for instance in world.state.instances().filter(|i| may_run(i)) {
        *found.entry(instance.node).or_default() += 1;
    }
    found
}

/// Everybody does what is told, step by step, until the old version is gone; the fewest that served at a time.
fn roll(world: &mut World, old: DeploymentId, new: DeploymentId, check: impl Fn(&World)) -> u32 {
    let mut least = u32::MAX;
    for _ in 0..20 {
        world.settle();
        least = least.min(serve(world));
        check(world);
        let_go(world, old);
        least = least.min(serve(world));
        check(world);
        get_ready(world, new);
        least = least.min(serve(world));
        check(world);
        if world.state.deployment(old).is_none() {
            return least;
        }
    }
    panic!("the update does not end: {:#?}", world.state.instances().collect::<Vec<_>>());
}

/// Two instances with a port on two hosts, of which one has been replaced: the world, the old version, the new one.
fn half_updated() -> (World, DeploymentId, DeploymentId) {
    let mut world = World::with_nodes(2);
    let old = serving(&mut world, ported(2, "v1"));
    let new = world.create(ported(2, "v2"));
    world.settle();
    let_go(&mut world, old);
    get_ready(&mut world, new);
    (world, old, new)
}

fn one_each(world: &World) {
    assert!(by_node(world).values().all(|count| *count == 1), "two versions share a host: {:#?}", by_node(world));
}

#[test]
fn while_a_host_has_the_port_free_none_serves_the_less() {
    let mut world = World::with_nodes(3);
    let old = serving(&mut world, ported(2, "v1"));
    let outcome = world.change(ported(2, "v2"), false);
    assert_eq!(outcome.outcome, Done::Updated(old));
    world.settle();
    assert_eq!((wanted(&world, old), wanted(&world, outcome.id)), (2, 1), "the new one comes first");
    assert_eq!(roll(&mut world, old, outcome.id, one_each), 2);
    assert_eq!(world.state.serving(&world.deployment(outcome.id)), 2);
}

#[test]
fn where_no_host_has_the_port_free_one_at_a_time_is_replaced() {
    for hosts in 1..4 {
        let mut world = World::with_nodes(hosts);
        let old = serving(&mut world, ported(hosts, "v1"));
        let new = world.create(ported(hosts, "v2"));
        world.settle();
        assert_eq!((wanted(&world, old) as u32, wanted(&world, new)), (hosts - 1, 0), "one of the old ones ends first");
        let gone = world.live(old).into_iter().find(|i| i.goal > Goal::Run).unwrap();
        assert_eq!(gone.stop_cause, Some(StopCause::MakesRoom));
        assert_eq!((world.deployment(new).placement_failure.clone(), world.live(new).len()), (None, 0), "it is a matter of time");
        let_go(&mut world, old);
        assert_eq!(world.live(new)[0].node, gone.node, "the new one starts where it was");
        assert_eq!(wanted(&world, old) as u32, hosts - 1, "none of the old version takes the place");
        assert!(!world.deployment(old).conditions.contains(&Condition::NotPlaced), "{:?}", world.deployment(old).conditions);
        assert_eq!(roll(&mut world, old, new, one_each), hosts - 1);
    }
}

#[test]
fn a_restart_of_what_publishes_ports_goes_one_at_a_time() {
    let mut world = World::with_nodes(2);
    let old = serving(&mut world, DeploymentSpec { ports: port(80), ..worker("w", 2) });
    let outcome = world.follow(old, Command::RestartDeployment).unwrap();
    assert_eq!(outcome.outcome, Done::Updated(old));
    for _ in 0..8 {
        world.settle();
        get_ready(&mut world, outcome.id);
        assert!(serve(&world) >= 1);
        world.pass(Span::seconds(11));
        world.settle();
        if world.state.deployment(old).is_some() {
            let_go(&mut world, old);
        }
    }
    assert!(world.state.deployment(old).is_none());
}

/// A host that cannot take the new version for another reason does not count, though its port is free.
#[test]
fn only_hosts_that_could_take_it_count() {
    let mut world = World::with_nodes(2);
    let old = serving(&mut world, ported(2, "v1"));
    world.node("small", 10, 10, &[]);
    let new = world.create(needs(ported(2, "v2"), 100, 100));
    world.settle();
    assert_eq!((wanted(&world, old), wanted(&world, new)), (1, 0));
    let cordoned = world.node("third", 4000, 8000, &[]);
    world.settle();
    let_go(&mut world, old);
    assert_eq!(wanted(&world, new), 1, "there or where the old one was");
    assert!(world.state.node(cordoned).is_some());
}

#[test]
fn room_that_no_end_of_an_old_one_would_make_costs_none() {
    let mut world = World::with_nodes(1);
    let old = serving(&mut world, ported(1, "v1"));
    let other = world.create(needs(worker("other", 1), 3500, 10));
    world.settle();
    world.run_all(other);
    let new = world.create(needs(ported(1, "v2"), 1000, 10));
    world.settle();
    assert_eq!((wanted(&world, old), wanted(&world, new)), (1, 0), "the host has no processors for it");
    let reasons = world.deployment(new).placement_failure.clone().unwrap().reasons;
    assert!(matches!(reasons[0].reason, UnplacedReason::Cpu(_)), "{reasons:?}");
    world.pass(Span::seconds(200));
    world.settle();
    assert_eq!((world.deployment(new).status, wanted(&world, old)), (DeploymentStatus::Failed, 1));
}

/// A port of another deployment is not to be had by ending an old instance.
#[test]
fn a_port_that_others_hold_costs_none() {
    let mut world = World::with_nodes(1);
    let other = serving(&mut world, DeploymentSpec { ports: port(81), ..gated("other", 1, "v1") });
    let old = serving(&mut world, ported(1, "v1"));
    let new = world.create(DeploymentSpec { ports: port(81), ..ported(1, "v2") });
    world.settle();
    assert_eq!((wanted(&world, old), wanted(&world, new), wanted(&world, other)), (1, 0, 1));
    assert!(world.deployment(new).placement_failure.is_some());
}

#[test]
fn what_does_not_serve_makes_room_first() {
    let mut world = World::with_nodes(2);
    let old = serving(&mut world, ported(2, "v1"));
    let first = world.live(old).into_iter().min_by_key(|i| i.slot).unwrap();
    world.health(first.id, false, &[]);
    world.create(ported(2, "v2"));
    world.settle();
    let gone = world.live(old).into_iter().find(|i| i.goal > Goal::Run).unwrap();
    assert_eq!(gone.id, first.id);
}

/// Where one is out of contact already, no other one is given up for the update.
#[test]
fn none_goes_while_another_is_missing() {
    let mut world = World::with_nodes(2);
    let old = serving(&mut world, ported(2, "v1"));
    let lost = world.live(old)[0].clone();
    let away = lost.node;
    world.set_node(away, NodeStatus::Lost);
    world.settle();
    let new = world.create(ported(2, "v2"));
    world.settle();
    assert_eq!((serve(&world), wanted(&world, new)), (1, 0));
    world.register(away, 4000, 8000);
    world.end(lost.id, Outcome::Unknown(UnknownExit::InstanceVanished));
    world.removed(lost.id);
    roll(&mut world, old, new, one_each);
}

#[test]
fn a_new_leader_takes_nothing_before_nodes_had_their_say() {
    let mut world = World::with_nodes(1);
    let old = serving(&mut world, ported(1, "v1"));
    world.create(ported(1, "v2"));
    world.leading_since = world.now;
    let wake = world.settle().wake_at.unwrap();
    assert_eq!((wake.since(world.now), wanted(&world, old)), (Span::seconds(5), 1));
    world.now = wake;
    world.settle();
    assert_eq!(wanted(&world, old), 0);
}

/// The old version serves again while a new one that failed waits for its next try, and for good when the update has failed.
#[test]
fn the_old_version_comes_back_when_the_new_one_does_not_start() {
    let mut world = World::with_nodes(1);
    let old = serving(&mut world, ported(1, "v1"));
    let new = world.create(ported(1, "v2"));
    world.settle();
    let_go(&mut world, old);
    world.fail_start(world.live(new)[0].id, StartFailure::ImageNotFound);
    world.settle();
    assert_eq!((wanted(&world, old), wanted(&world, new)), (1, 0));
    get_ready(&mut world, old);
    assert_eq!(serve(&world), 1);
    world.now = world.settle().wake_at.unwrap();
    world.settle();
    assert_eq!(wanted(&world, old), 0, "it makes room for the next try");
    let_go(&mut world, old);
    world.run(world.live(new)[0].id);
    world.pass(Span::seconds(200));
    world.settle();
    assert_eq!(world.deployment(new).status, DeploymentStatus::Failed);
    let_go(&mut world, new);
    get_ready(&mut world, old);
    assert_eq!((serve(&world), wanted(&world, new)), (1, 0));
    assert!(world.deployment(old).conditions.is_empty(), "{:?}", world.deployment(old).conditions);
}

/// What serves of an update that failed ends before the old version is back only where that makes room for it.
#[test]
fn what_serves_of_a_failed_update_stays_where_its_end_makes_no_room() {
    let (mut world, old, new) = half_updated();
    let_go(&mut world, old);
    let node = world.live(new).iter().find(|i| i.state == InstanceState::Running).unwrap().node;
    let cordon = |world: &mut World, open: bool| {
        world.apply(Command::UpdateNode(NodeUpdate { schedulable: Some(open), ..NodeUpdate::of(node) }));
        world.settle();
    };
    cordon(&mut world, false);
    world.run(world.live(new).iter().find(|i| i.state < InstanceState::Running).unwrap().id);
    world.pass(Span::seconds(200));
    world.settle();
    assert_eq!(world.deployment(new).status, DeploymentStatus::Failed);
    let_go(&mut world, new);
    get_ready(&mut world, old);
    assert!(world.deployment(old).placement_failure.is_some(), "the other host is cordoned");
    assert_eq!((serve(&world), wanted(&world, old), wanted(&world, new)), (2, 1, 1));
    world.pass(Span::seconds(2000));
    world.settle();
    assert_eq!((serve(&world), wanted(&world, new)), (2, 1), "its going would make no room");
    cordon(&mut world, true);
    assert_eq!((serve(&world), wanted(&world, new)), (1, 0), "now it does");
    let_go(&mut world, new);
    get_ready(&mut world, old);
    assert_eq!((serve(&world), wanted(&world, old), world.live(new).len()), (2, 2, 0));
}

#[test]
fn a_third_version_gets_the_room_that_the_second_holds() {
    let (mut world, first, second) = half_updated();
    let third = world.create(ported(2, "v3"));
    for _ in 0..8 {
        world.settle();
        assert!(serve(&world) >= 1, "{}", serve(&world));
        one_each(&world);
        let_go(&mut world, first);
        let_go(&mut world, second);
        get_ready(&mut world, first);
        get_ready(&mut world, third);
    }
    assert!(world.state.deployment(first).is_none() && world.state.deployment(second).is_none());
    assert_eq!(world.state.serving(&world.deployment(third)), 2);
}

#[test]
fn calling_it_off_brings_the_old_version_back() {
    let (mut world, old, new) = half_updated();
    world.follow(new, Command::RollbackDeployment).unwrap();
    for _ in 0..6 {
        world.settle();
        assert!(serve(&world) >= 1);
        let_go(&mut world, new);
        let_go(&mut world, old);
        get_ready(&mut world, old);
    }
    assert!(world.state.deployment(new).is_none());
    assert_eq!((serve(&world), world.deployment(old).conditions.len()), (2, 0));
}

#[test]
fn all_versions_together_keep_to_the_most_of_a_host() {
    for (hosts, replicas, most, least) in [(3, 3, 1, 2), (4, 3, 1, 3), (2, 4, 2, 3), (3, 4, 2, 4)] {
        let mut world = World::with_nodes(hosts);
        let old = serving(&mut world, limited(replicas, "v1", most));
        let new = world.create(limited(replicas, "v2", most));
        let kept = |world: &World| {
            assert!(by_node(world).values().all(|count| *count <= most), "{hosts} {replicas} {most}: {:#?}", by_node(world));
        };
        assert_eq!(roll(&mut world, old, new, kept), least, "{hosts} hosts, {replicas} replicas, {most} on one");
    }
}

/// One that goes is not enough where the most of a host gets lower: the update goes on, and keeps to it in the end.
#[test]
fn a_limit_that_gets_lower_is_met_in_the_end() {
    let mut world = World::with_nodes(2);
    let old = serving(&mut world, limited(4, "v1", 2));
    let new = world.create(limited(2, "v2", 1));
    roll(&mut world, old, new, |_| ());
    assert!(by_node(&world).values().all(|count| *count == 1), "{:#?}", by_node(&world));
    assert_eq!(world.state.serving(&world.deployment(new)), 2);
}

#[test]
fn an_instance_that_crashes_during_the_update_comes_back() {
    let mut world = World::with_nodes(2);
    let old = serving(&mut world, limited(2, "v1", 1));
    let new = world.create(limited(2, "v2", 1));
    world.settle();
    let_go(&mut world, old);
    let left = world.live(old)[0].clone();
    world.end(left.id, Outcome::Code(1));
    world.now = world.settle().wake_at.unwrap();
    world.settle();
    assert_eq!(wanted(&world, old), 1, "it starts again while the new one is on its way");
    assert_eq!(world.live(old)[0].state, InstanceState::Assigned);
    assert_eq!(wanted(&world, new), 1);
}
