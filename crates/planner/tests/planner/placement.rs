//! Placement.

use ring_state::{Command, NodeUpdate, UnplacedReason};
use ring_types::{Condition, DeploymentSpec, DeploymentStatus, NetworkMode, NodeStatus, Port, Protocol, Spread};

use crate::world::{World, job, name, needs, worker};

fn reasons(world: &World, id: ring_types::DeploymentId) -> Vec<(UnplacedReason, u32)> {
    let failure = world.deployment(id).placement_failure.clone().unwrap();
    failure.reasons.into_iter().map(|r| (r.reason, r.nodes)).collect()
}

#[test]
fn without_nodes_it_waits_and_starts_when_one_comes() {
    let mut world = World::new();
    let id = world.create(job("j"));
    world.settle();
    let shown = world.deployment(id);
    assert_eq!((shown.status, &shown.conditions[..]), (DeploymentStatus::Pending, &[Condition::NotPlaced][..]));
    assert_eq!(reasons(&world, id), [(UnplacedReason::NoNodes, 0)]);
    world.node("n0", 1000, 1000, &[]);
    world.settle();
    let shown = world.deployment(id);
    assert_eq!((shown.status, &shown.conditions[..]), (DeploymentStatus::Creating, &[][..]));
    assert_eq!(shown.placement_failure, None);
}

#[test]
fn every_refusal_is_explained() {
    let mut world = World::with_nodes(2);
    world.node("eu", 4000, 8000, &[("zone", "eu")]);
    let cordoned = world.node("closed", 4000, 8000, &[("zone", "us")]);
    world.apply(Command::UpdateNode(NodeUpdate { schedulable: Some(false), ..NodeUpdate::of(cordoned) }));
    let away = world.node("away", 4000, 8000, &[("zone", "us")]);
    world.set_node(away, NodeStatus::Unreachable);
    let mut spec = job("j");
    spec.placement.constraints.push("zone==us".parse().unwrap());
    let id = world.create(spec);
    world.settle();
    let constraint = UnplacedReason::Constraint("zone==us".to_owned());
    assert_eq!(reasons(&world, id), [(constraint, 3), (UnplacedReason::NotReady, 1), (UnplacedReason::Cordoned, 1)]);
    let message = &world.deployment(id).message;
    assert!(message.contains("constraint zone==us on 3 nodes, out of contact on 1 node"), "{message}");
}

#[test]
fn busy_is_not_too_small() {
    let mut world = World::with_nodes(2);
    let busy = world.create(needs(worker("busy", 2), 3000, 100));
    world.settle();
    let waits = world.create(needs(job("waits"), 2000, 100));
    let never = world.create(needs(job("never"), 2000, 9000));
    world.settle();
    assert_eq!(world.deployment(waits).status, DeploymentStatus::Pending);
    assert_eq!(reasons(&world, waits), [(UnplacedReason::Cpu(1000), 2)]);
    assert_eq!(world.deployment(never).status, DeploymentStatus::InsufficientResources);
    assert!(world.deployment(never).message.contains("insufficient"), "{}", world.deployment(never).message);
    for instance in world.live(busy) {
        world.run(instance.id);
    }
    world.delete(busy);
    world.settle();
    for instance in world.live(busy) {
        world.end(instance.id, ring_types::Outcome::Code(0));
    }
    world.settle();
    assert_eq!(world.deployment(waits).status, DeploymentStatus::Creating);
    world.node("large", 16_000, 64_000, &[]);
    world.settle();
    assert_eq!(world.deployment(never).status, DeploymentStatus::InsufficientResources, "final");
}

#[test]
fn a_node_that_has_not_registered_may_be_large_enough() {
    let mut world = World::with_nodes(1);
    let node = ring_types::NodeId(world.fresh());
    let labels = std::collections::BTreeMap::new();
    let enrol = ring_state::EnrolNode { token: None, node, name: name("coming"), member: None, labels };
    world.apply(Command::EnrolNode(enrol));
    let id = world.create(needs(job("j"), 8000, 100));
    world.settle();
    assert_eq!(world.deployment(id).status, DeploymentStatus::Pending);
    world.register(node, 8000, 8000);
    world.settle();
    assert_eq!(world.deployment(id).status, DeploymentStatus::Creating);
}

#[test]
fn placements_of_one_plan_see_each_other() {
    let mut world = World::with_nodes(3);
    for n in 0..10 {
        world.create(needs(job(&format!("j{n}")), 2000, 1));
    }
    world.settle();
    for node in world.state.nodes() {
        assert_eq!(world.state.usage(node.id).cpu.0, 4000);
    }
    let waiting = world.state.deployments().filter(|d| d.status == DeploymentStatus::Pending).count();
    assert_eq!(waiting, 4);
}

#[test]
fn instances_spread_over_the_values_of_a_label() {
    let mut world = World::new();
    for (node, zone) in [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")] {
        world.node(node, 4000, 8000, &[("zone", zone)]);
    }
    let mut spec = worker("w", 4);
    spec.placement.spread = Spread::Label("zone".to_owned());
    let id = world.create(spec);
    world.settle();
    let in_b = world.live(id).iter().filter(|i| world.state.node(i.node).unwrap().name.as_str() == "b1").count();
    assert_eq!(in_b, 2);
}

#[test]
fn a_node_takes_no_more_than_allowed() {
    let mut world = World::with_nodes(2);
    let mut limited = worker("limited", 5);
    limited.placement.max_per_node = Some(2);
    let limited = world.create(limited);
    let host = world.create(DeploymentSpec { network: NetworkMode::Host, ..worker("host", 3) });
    let port = Port { published: 80, target: 80, host_ip: "0.0.0.0".to_owned(), protocol: Protocol::Tcp };
    let published = world.create(DeploymentSpec { ports: vec![port.clone()], ..worker("published", 3) });
    world.settle();
    assert_eq!(world.live(limited).len(), 4);
    assert_eq!(reasons(&world, limited), [(UnplacedReason::Full, 2)]);
    assert_eq!(world.live(host).len(), 2);
    assert_eq!(reasons(&world, host), [(UnplacedReason::Full, 2)]);
    assert_eq!(world.live(published).len(), 2);
    assert_eq!(reasons(&world, published), [(UnplacedReason::Port(80), 2)]);
    let udp = Port { protocol: Protocol::Udp, ..port };
    let other = world.create(DeploymentSpec { ports: vec![udp], ..worker("other", 2) });
    world.settle();
    assert_eq!(world.live(other).len(), 2);
}

#[test]
fn named_nodes_are_the_only_ones() {
    let mut world = World::with_nodes(100);
    let mut spec = worker("w", 5);
    spec.placement.nodes = vec!["n77".to_owned(), "n3".to_owned()];
    let id = world.create(spec);
    world.settle();
    let on = |wanted: &str| world.live(id).iter().filter(|i| world.state.node(i.node).unwrap().name.as_str() == wanted).count();
    assert_eq!(on("n77") + on("n3"), 5);
    assert!(on("n77") >= 2 && on("n3") >= 2);
}

#[test]
fn a_large_cluster_is_filled_evenly() {
    let mut world = World::with_nodes(300);
    let id = world.create(needs(worker("w", 600), 100, 10));
    world.settle();
    let most = world.state.nodes().map(|n| world.state.usage(n.id).instances).max().unwrap();
    assert_eq!(world.live(id).len(), 600);
    assert!(most <= 4, "{most} on one node");
}

#[test]
fn the_last_free_node_of_a_large_cluster_is_found() {
    let mut world = World::with_nodes(300);
    let id = world.create(needs(worker("w", 300), 4000, 10));
    world.settle();
    assert_eq!(world.live(id).len(), 300);
    let late = world.create(needs(job("late"), 1000, 10));
    world.settle();
    assert_eq!(world.deployment(late).status, DeploymentStatus::Pending);
    assert_eq!(reasons(&world, late), [(UnplacedReason::Cpu(1000), 300)]);
}
