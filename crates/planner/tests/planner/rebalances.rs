//! Instances that move for an even spread.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ring_planner::{PlannedMove, rebalance};
use ring_state::{Command, NodeUpdate, Rebalance, Relocation, Reply};
use ring_types::{
    DeploymentId, DeploymentSpec, DeploymentStatus, Goal, InstanceState, NetworkMode, NodeId, NodeStatus, Outcome, Permission,
    Port, Protocol, Span, Spread, StopCause, Volume, VolumeDriver, VolumeKind,
};

use crate::properties::within_capacity;
use crate::rollouts::{get_ready, let_go, serving, wanted};
use crate::world::{World, gated, job, needs, worker};

const HOUR: Span = Span::seconds(3600);

/// Has the state record moves, as many of them as fit.
fn record(world: &mut World, moves: &[PlannedMove]) {
    let moves = moves.iter().map(|one| Relocation { instance: one.instance, to: one.to }).collect();
    let Reply::Planned { skipped: 0 } = world.apply(Command::Rebalance(Rebalance { moves, within: HOUR })) else {
        panic!("not recorded")
    };
}

/// How many instances of a deployment are wanted on each node, by name.
fn spread(world: &World, id: DeploymentId) -> BTreeMap<String, usize> {
    let mut spread = BTreeMap::new();
    for instance in world.live(id).iter().filter(|i| i.goal == Goal::Run) {
        *spread.entry(world.state.node(instance.node).unwrap().name.to_string()).or_default() += 1;
    }
    spread
}

fn counts(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn cordon(world: &mut World, node: NodeId, schedulable: bool) {
    let schedulable = Some(schedulable);
    world.apply(Command::UpdateNode(NodeUpdate {
        node,
        labels: None,
        schedulable,
        drain: None,
        lost: false,
        until_return: false,
    }));
}

/// Everything runs and is ready, all that is told to goes, until nothing moves any more.
fn heal(world: &mut World) {
    for _ in 0..200 {
        world.settle();
        if world.state.moving().next().is_none() {
            return;
        }
        world.obey();
        world.get_well();
        world.pass(Span::seconds(11));
    }
    panic!("still moving: {:#?}", world.state.moving().collect::<Vec<_>>());
}

#[test]
fn a_node_that_came_gets_its_share_one_at_a_time() {
    let mut world = World::with_nodes(1);
    let id = serving(&mut world, gated("w", 4, "v1"));
    world.node("n1", 4000, 8000, &[]);
    let moves = rebalance(&world.state);
    assert_eq!(
        moves.iter().map(|one| one.why.as_str()).collect::<Vec<_>>(),
        ["n0 has 4 of its instances, n1 has 0", "n0 has 3 of its instances, n1 has 1"]
    );
    assert!(world.look().actions.is_empty(), "nothing moves by itself");
    record(&mut world, &moves);
    for left in [3, 2] {
        world.settle();
        assert_eq!((wanted(&world, id), world.state.serving(&world.deployment(id))), (5, 4), "one more comes first");
        assert_eq!(get_ready(&mut world, id), 1);
        assert_eq!((wanted(&world, id), world.state.serving(&world.deployment(id))), (4, 4), "then one goes");
        let gone = world.live(id).into_iter().find(|i| i.goal > Goal::Run).unwrap();
        assert_eq!(gone.stop_cause, Some(StopCause::Rebalanced));
        assert_eq!(spread(&world, id), counts(&[("n0", left), ("n1", 4 - left)]));
        let_go(&mut world, id);
    }
    assert!(world.look().actions.is_empty() && world.state.moving().next().is_none());
    assert!(rebalance(&world.state).is_empty(), "a second one finds nothing to do");
    assert_eq!((world.deployment(id).status, world.deployment(id).restart_count), (DeploymentStatus::Running, 0));
}

#[test]
fn groups_of_a_label_come_before_nodes() {
    let mut world = World::new();
    for (name, zone) in [("a1", "a"), ("a2", "a")] {
        world.node(name, 4000, 8000, &[("zone", zone)]);
    }
    let mut spec = gated("w", 4, "v1");
    spec.placement.spread = Spread::Label("zone".to_owned());
    let id = serving(&mut world, spec);
    world.node("b1", 4000, 8000, &[("zone", "b")]);
    let moves = rebalance(&world.state);
    assert_eq!(
        moves.iter().map(|one| one.why.as_str()).collect::<Vec<_>>(),
        ["zone=a has 4 of its instances, zone=b has 0", "zone=a has 3 of its instances, zone=b has 1"]
    );
    record(&mut world, &moves);
    heal(&mut world);
    assert_eq!(spread(&world, id), counts(&[("a1", 1), ("a2", 1), ("b1", 2)]));
}

#[test]
fn what_weighs_something_moves_when_loads_differ_by_more_than_the_margin() {
    let mut world = World::with_nodes(1);
    let ids: Vec<_> = (0..4).map(|n| serving(&mut world, needs(gated(&format!("w{n}"), 1, "v1"), 900, 1))).collect();
    world.node("n1", 4000, 8000, &[]);
    let moves = rebalance(&world.state);
    // 90 % against 22 %, then 68 % against 45 %; 45 % against 68 % would be worse.
    assert_eq!(moves.len(), 2, "{moves:#?}");
    assert_eq!(moves[0].why, "n0 has 90 % of its scarcer resource set aside, n1 would have 23 %");
    record(&mut world, &moves);
    heal(&mut world);
    let on = |name: &str| ids.iter().filter(|id| spread(&world, **id).contains_key(name)).count();
    assert_eq!((on("n0"), on("n1")), (2, 2));
    assert!(rebalance(&world.state).is_empty());
}

#[test]
fn what_weighs_nothing_moves_for_the_number_of_instances() {
    let mut world = World::with_nodes(1);
    let ids: Vec<_> = (0..5).map(|n| serving(&mut world, gated(&format!("w{n}"), 1, "v1"))).collect();
    world.node("n1", 4000, 8000, &[]);
    let moves = rebalance(&world.state);
    assert_eq!(
        moves.iter().map(|one| one.why.as_str()).collect::<Vec<_>>(),
        ["n0 has 5 instances, n1 has 0", "n0 has 4 instances, n1 has 1"]
    );
    record(&mut world, &moves);
    // Of different deployments several go at once.
    world.settle();
    assert_eq!(ids.iter().map(|id| wanted(&world, *id)).sum::<usize>(), 7);
    heal(&mut world);
    assert!(rebalance(&world.state).is_empty());
}

#[test]
fn what_cannot_or_should_not_move_stays() {
    let mut world = World::with_nodes(1);
    let volume = |driver, permission| Volume {
        kind: VolumeKind::Volume,
        source: if driver == VolumeDriver::Local { "tied" } else { "shared" }.to_owned(),
        destination: "/data".to_owned(),
        key: None,
        driver,
        permission,
    };
    let mut host = gated("host", 1, "v1");
    host.network = NetworkMode::Host;
    let mut pinned = gated("pinned", 2, "v1");
    pinned.placement.nodes = vec!["n0".to_owned()];
    let mut updating = gated("updating", 2, "v1");
    serving(&mut world, updating.clone());
    let tied = DeploymentSpec { volumes: vec![volume(VolumeDriver::Local, Permission::ReadOnly)], ..gated("tied", 2, "v1") };
    let writes = DeploymentSpec { volumes: vec![volume(VolumeDriver::Nfs, Permission::ReadWrite)], ..gated("writes", 1, "v1") };
    world.put_volume("shared", Some("files:/shared"), None);
    for spec in [tied, writes] {
        world.carry(spec);
    }
    for spec in [host, pinned] {
        world.create(spec);
    }
    for _ in 0..2 {
        world.settle();
        world.obey();
        world.get_well();
    }
    let unready = world.create(gated("unready", 2, "v1"));
    let runs = world.create(job("j"));
    world.settle();
    world.run_all(unready);
    world.run_all(runs);
    let new = world.node("n1", 4000, 8000, &[]);
    updating.image = "v2".to_owned();
    world.change(updating, false);
    assert_eq!(rebalance(&world.state), []);
    // The same but for what was in the way.
    let id = serving(&mut world, needs(gated("free", 1, "v1"), 1000, 1));
    assert_eq!(spread(&world, id), counts(&[("n1", 1)]));
    world.node("n2", 100_000, 8000, &[]);
    assert_eq!(rebalance(&world.state).len(), 1);
    cordon(&mut world, new, false);
    assert_eq!(rebalance(&world.state), [], "what is on a cordoned node stays");
}

/// A worker that was spread over some nodes, and a node that came: the moves to it are begun.
fn moving(nodes: u32, replicas: u32) -> (World, DeploymentId, NodeId, Vec<PlannedMove>) {
    let mut world = World::with_nodes(nodes);
    let id = serving(&mut world, gated("w", replicas, "v1"));
    let new = world.node(&format!("n{nodes}"), 4000, 8000, &[]);
    let moves = rebalance(&world.state);
    record(&mut world, &moves);
    (world, id, new, moves)
}

#[test]
fn a_move_that_betters_nothing_any_more_is_given_up() {
    let (mut world, id, new, moves) = moving(1, 4);
    // Scaled meanwhile: the new ones go to the new node.
    world.change(gated("w", 8, "v1"), false);
    heal(&mut world);
    assert_eq!(spread(&world, id), counts(&[("n0", 4), ("n1", 4)]));
    // Nor does one go to a node that does not take it.
    cordon(&mut world, new, false);
    let there = moves[0].instance;
    let moves = [PlannedMove { to: new, ..moves[0].clone() }];
    record(&mut world, &moves);
    world.settle();
    assert_eq!(world.state.instance(there).unwrap().moving, None);
    assert_eq!(wanted(&world, id), 8);
}

#[test]
fn a_replacement_that_ends_or_is_lost_ends_the_move() {
    let mut world = World::with_nodes(1);
    let id = serving(&mut world, gated("w", 2, "v1"));
    let new = world.node("n1", 4000, 8000, &[]);
    for lost in [false, true] {
        let moves = rebalance(&world.state);
        assert_eq!(moves.len(), 1);
        record(&mut world, &moves);
        world.settle();
        let next = world.live(id).into_iter().find(|i| i.node == new).unwrap();
        world.run(next.id);
        if lost {
            world.set_node(new, NodeStatus::Unreachable);
            world.set_node(new, NodeStatus::Lost);
        } else {
            world.end(next.id, Outcome::Code(1));
        }
        heal(&mut world);
        let deployment = world.deployment(id);
        assert_eq!((deployment.status, deployment.restart_count), (DeploymentStatus::Running, 0));
        assert_eq!(spread(&world, id), counts(&[("n0", 2)]));
    }
}

#[test]
fn a_move_ends_with_its_time() {
    let (mut world, id, ..) = moving(1, 2);
    let plan = world.settle();
    assert_eq!((wanted(&world, id), plan.wakes.get(&id)), (3, Some(&(world.now + HOUR))));
    world.run_all(id);
    world.pass(HOUR);
    world.settle();
    assert_eq!((wanted(&world, id), spread(&world, id)), (2, counts(&[("n0", 2)])));
    assert!(world.state.moving().next().is_none());
}

/// A drain goes first, and what is drained is not held up by a move.
#[test]
fn a_drain_goes_before_a_move() {
    let (mut world, id, new, _) = moving(2, 4);
    let drained = world.state.nodes().map(|n| n.id).find(|node| *node != new).unwrap();
    let update =
        NodeUpdate { node: drained, labels: None, schedulable: None, drain: Some(HOUR), lost: false, until_return: false };
    world.apply(Command::UpdateNode(update));
    heal(&mut world);
    assert!(world.live(id).iter().all(|i| i.node != drained && i.goal == Goal::Run));
    assert_eq!(world.live(id).len(), 4);
}

fn some_spec(n: usize, (replicas, cpu, kind): (u8, u8, u8)) -> DeploymentSpec {
    let name = format!("d{n}");
    let mut spec = match kind % 4 {
        0 => worker(&name, u32::from(replicas)),
        _ => gated(&name, u32::from(replicas), "v1"),
    };
    if cpu > 0 {
        spec = needs(spec, u64::from(cpu) * 300, 1);
    }
    match kind {
        4 => spec.placement.max_per_node = Some(2),
        5 => spec.placement.spread = Spread::Label("zone".to_owned()),
        6 => spec.ports = vec![Port { published: 80, target: 80, protocol: Protocol::Tcp, host_ip: String::new() }],
        _ => {}
    }
    spec
}

/// Time enough for what is there to start and get ready.
fn come_to_rest(world: &mut World) {
    for _ in 0..4 {
        world.settle();
        world.obey();
        world.get_well();
        world.pass(Span::seconds(20));
    }
    world.settle();
}

/// Rebalances until there is nothing to move; the times that took. Every move that is planned is made.
fn finish(world: &mut World) -> usize {
    for times in 0..8 {
        let moves = rebalance(&world.state);
        if moves.is_empty() {
            return times;
        }
        record(world, &moves);
        heal(world);
        come_to_rest(world);
        let made = |one: &PlannedMove| world.state.instance(one.instance).is_none_or(|i| !i.state.is_live());
        assert!(moves.iter().all(made), "not made: {moves:?}");
    }
    panic!("still to move: {:?}", rebalance(&world.state));
}

/// On full nodes two instances were to change places, each by way of a third node, so that neither found room.
#[test]
fn no_two_wait_for_the_room_of_each_other() {
    let mut world = World::new();
    for n in 0..3 {
        world.node(&format!("n{n}"), 4000, 8000, &[]);
    }
    for (n, spec) in [(1, 1, 0), (5, 3, 0), (1, 1, 0), (4, 3, 0), (5, 3, 0)].into_iter().enumerate() {
        world.create(some_spec(n, spec));
    }
    come_to_rest(&mut world);
    world.node("n3", 4000, 8000, &[]);
    come_to_rest(&mut world);
    assert!((1..=2).contains(&finish(&mut world)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Moves come to an end, nobody serves with fewer because of them, and then there is nothing left to move.
    #[test]
    fn moves_converge_and_cost_nobody_an_instance(
        specs in prop::collection::vec((1u8..6, 0u8..4, 0u8..7), 1..8),
        (old, new) in (1usize..4, 1usize..3),
        orders in prop::collection::vec(any::<u8>(), 200),
    ) {
        let mut world = World::new();
        let zone = |n: usize| [("zone", if n.is_multiple_of(2) { "a" } else { "b" })];
        for n in 0..old {
            world.node(&format!("n{n}"), 4000, 8000, &zone(n));
        }
        let ids: Vec<_> = specs.iter().enumerate().map(|(n, spec)| world.create(some_spec(n, *spec))).collect();
        come_to_rest(&mut world);
        for n in old..old + new {
            world.node(&format!("n{n}"), 4000, 8000, &zone(n));
        }
        // What found no room before does now.
        come_to_rest(&mut world);
        // What nothing takes would come to where there is room by then.
        prop_assume!(ids.iter().all(|id| world.deployment(*id).placement_failure.is_none()));
        let serving: BTreeMap<_, _> = ids.iter().map(|id| (*id, world.state.serving(&world.deployment(*id)))).collect();
        let moves = rebalance(&world.state);
        prop_assert_eq!(&moves, &rebalance(&world.state), "the same state, the same moves");
        record(&mut world, &moves);
        let mut orders = orders.iter().cycle();
        let mut rounds = 0;
        while world.state.moving().next().is_some() {
            rounds += 1;
            prop_assert!(rounds < 3000, "still moving after {rounds} rounds: {:#?}", world.state.moving().collect::<Vec<_>>());
            act(&mut world, *orders.next().unwrap());
            if rounds % 16 == 0 {
                // Whatever comes between, everybody gets a turn in the end.
                drop(world.step());
                world.obey();
                world.get_well();
                world.pass(Span::seconds(5));
            }
            for (id, before) in &serving {
                let deployment = world.deployment(*id);
                prop_assert!(world.state.serving(&deployment) >= *before, "{} serves with fewer", deployment.spec.name);
                let live = world.live(*id).iter().filter(|i| i.goal == Goal::Run).count();
                prop_assert!(live <= deployment.wanted() as usize + 1, "{live} of {}", deployment.spec.name);
            }
            within_capacity(&world)?;
        }
        for one in &moves {
            let gone = world.state.instance(one.instance).is_none_or(|i| !i.state.is_live());
            prop_assert!(gone, "{one:?} was not made");
        }
        come_to_rest(&mut world);
        prop_assert!(finish(&mut world) <= 2, "always something left to do");
        prop_assert!(ids.iter().all(|id| world.deployment(*id).restart_count == 0));
    }
}

/// One of the many things that happen meanwhile, in any order.
fn act(world: &mut World, n: u8) {
    match n % 4 {
        0 => drop(world.step()),
        1 => world.pass(Span::seconds(u64::from(n) / 8)),
        2 => world.get_well(),
        _ => {
            let there: Vec<_> = world.state.instances().cloned().collect();
            let Some(instance) = there.get(usize::from(n) % there.len().max(1)) else { return };
            match (instance.goal, instance.state) {
                (Goal::Run, state) if state < InstanceState::Running => world.run(instance.id),
                (Goal::Run, _) | (_, InstanceState::Removed) => {}
                (_, InstanceState::Exited) => world.removed(instance.id),
                _ => world.end(instance.id, Outcome::Signal { signal: 15, oom_killed: false }),
            }
        }
    }
}
