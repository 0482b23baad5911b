//! A preview says what the plans then do.

use ring_planner::{Preview, preview};
use ring_types::{DeploymentId, NodeId, Port, Protocol};

use crate::world::{World, gated, job, needs, worker};

fn one(world: &World, id: DeploymentId) -> Preview {
    preview(&world.state, &[id]).remove(0)
}

fn nodes(preview: &Preview) -> Vec<Option<NodeId>> {
    preview.instances.iter().map(|expected| expected.placed.clone().ok()).collect()
}

#[test]
fn new_instances_go_where_the_plan_puts_them() {
    let mut world = World::with_nodes(3);
    let id = world.create(needs(worker("w", 4), 500, 100));
    let expected = nodes(&one(&world, id));
    world.settle();
    let mut placed: Vec<_> = world.live(id).iter().map(|i| (i.slot, Some(i.node))).collect();
    placed.sort_unstable();
    assert_eq!(placed.into_iter().map(|(_, node)| node).collect::<Vec<_>>(), expected);
    assert_eq!(one(&world, id), Preview::default(), "nothing is missing any more");
}

#[test]
fn what_fits_nowhere_says_why() {
    let mut world = World::with_nodes(2);
    let id = world.create(needs(worker("w", 3), 3000, 100));
    let preview = one(&world, id);
    let fitting = preview.instances.iter().filter(|expected| expected.placed.is_ok()).count();
    assert_eq!((fitting, preview.instances.len()), (2, 3));
    let why = preview.instances[2].placed.clone().unwrap_err();
    assert_eq!(why, "insufficient cpu on 2 nodes (2 short)");
}

#[test]
fn what_is_replaced_leaves_its_room_and_its_port() {
    let mut world = World::with_nodes(1);
    let mut spec = needs(worker("w", 1), 3000, 100);
    spec.ports = vec![Port { published: 80, target: 80, host_ip: "0.0.0.0".into(), protocol: Protocol::Tcp }];
    let old = world.create(spec.clone());
    world.settle();
    world.run_all(old);
    spec.image = "other".into();
    let new = world.change(spec, false).id;
    assert_ne!(old, new);
    assert!(one(&world, new).instances[0].placed.is_ok(), "{:?}", one(&world, new));
}

#[test]
fn a_rolling_update_has_the_room_its_parent_leaves_one_by_one() {
    let mut world = World::with_nodes(2);
    let spare = needs(gated("w", 2, "v1"), 2000, 100);
    let old = world.create(spare);
    world.settle();
    world.run_all(old);
    let new = world.change(needs(gated("w", 2, "v2"), 2000, 100), false).id;
    let preview = one(&world, new);
    assert!(preview.instances.len() == 2 && preview.instances.iter().all(|expected| expected.placed.is_ok()), "{preview:?}");
}

#[test]
fn what_it_waits_for_is_told_and_its_place_too() {
    let mut world = World::with_nodes(1);
    let mut spec = job("j");
    spec.depends_on =
        vec![ring_types::Dependency { deployment: "db".into(), condition: ring_types::DependencyCondition::Running }];
    let id = world.create(spec);
    let preview = one(&world, id);
    assert!(preview.waits_for.as_deref().unwrap().contains("'db'"), "{preview:?}");
    assert!(preview.instances[0].placed.is_ok());
}

#[test]
fn each_sees_what_those_before_it_took() {
    let mut world = World::with_nodes(1);
    let first = world.create(needs(worker("a", 1), 3000, 100));
    let second = world.create(needs(worker("b", 1), 3000, 100));
    let both = preview(&world.state, &[first, second]);
    assert!(both[0].instances[0].placed.is_ok() && both[1].instances[0].placed.is_err(), "{both:?}");
}
