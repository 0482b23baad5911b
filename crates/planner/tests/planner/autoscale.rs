//! Scaling by load.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ring_planner::{AutoscaleOptions, Load, autoscale};
use ring_state::{Action, Command, EventKind, Reply};
use ring_types::{Autoscale, Cpu, DeploymentId, DeploymentSpec, Goal, InstanceId, NodeId, Span};

use crate::world::{World, needs, worker};

fn scaled(replicas: u32, min: u32, max: u32) -> DeploymentSpec {
    DeploymentSpec { autoscale: Some(Autoscale { min, max, target_cpu: 50 }), ..needs(worker("w", replicas), 1000, 1) }
}

/// A world of one such worker, running for long.
fn world(replicas: u32, min: u32, max: u32) -> (World, DeploymentId) {
    let mut world = World::with_nodes(0);
    for n in 0..4 {
        world.node(&format!("n{n}"), 64_000, 1 << 40, &[]);
    }
    let id = world.create(scaled(replicas, min, max));
    world.settle();
    world.run_all(id);
    world.pass(Span::seconds(1000));
    (world, id)
}

/// The instances that run and are to go on.
fn serving(world: &World, id: DeploymentId) -> Vec<std::sync::Arc<ring_state::Instance>> {
    world.live(id).into_iter().filter(|i| i.goal == Goal::Run).collect()
}

/// Loads of the live instances, one after another; those without a figure were not measured.
fn loads(world: &World, id: DeploymentId, cpu: &[Option<u64>]) -> BTreeMap<InstanceId, Load> {
    let all = serving(world, id).into_iter().zip(cpu);
    let one = |(instance, cpu): (std::sync::Arc<ring_state::Instance>, &Option<u64>)| {
        cpu.map(|cpu| (instance.id, Load { node: instance.node, cpu: Cpu(cpu), samples: 3, at: world.now }))
    };
    all.filter_map(one).collect()
}

fn decide(world: &World, loads: &BTreeMap<InstanceId, Load>) -> Option<u32> {
    let mut actions = autoscale(&world.state, loads, world.now, &AutoscaleOptions::default());
    assert!(actions.len() <= 1, "{actions:?}");
    actions.pop().map(|action| match action {
        Action::Autoscale { replicas, .. } => replicas,
        other => panic!("{other:?}"),
    })
}

/// Applies what is decided.
fn act(world: &mut World, loads: &BTreeMap<InstanceId, Load>) -> usize {
    let actions = autoscale(&world.state, loads, world.now, &AutoscaleOptions::default());
    let count = actions.len();
    if count > 0 {
        assert_eq!(world.apply(Command::Plan { actions }), Reply::Planned { skipped: 0 });
        world.settle();
        world.run_all_of_all();
    }
    count
}

#[test]
fn the_number_follows_the_load() {
    let all = |cpu: u64| vec![Some(cpu); 4];
    let cases = [
        (all(500), None),
        (all(550), None),
        (all(551), Some(5)),
        (all(900), Some(8)),
        (all(5000), Some(10)),
        (all(450), None),
        (all(449), None),
        (all(375), Some(3)),
        (all(100), Some(2)),
        (all(0), Some(2)),
        // What was not measured is neither idle nor busy.
        (vec![Some(0), None, None, None], Some(3)),
        (vec![Some(0), Some(0), Some(0), None], Some(2)),
        (vec![Some(2300), None, None, None], Some(5)),
        (vec![Some(2000), None, None, None], None),
        (vec![None; 4], None),
    ];
    for (cpu, wanted) in cases {
        let (world, id) = world(4, 2, 10);
        let found = decide(&world, &loads(&world, id, &cpu));
        assert_eq!(found, wanted, "{cpu:?}");
    }
}

#[test]
fn one_change_follows_another_only_after_its_pause() {
    let (mut world, id) = world(4, 1, 10);
    let busy = vec![Some(1000); 10];
    let first = loads(&world, id, &busy);
    assert_eq!(act(&mut world, &first), 1);
    assert_eq!(world.deployment(id).wanted(), 8);
    assert_eq!(world.live(id).len(), 8);
    for (passed, busy_says, idle_says) in [(29, None, None), (1, Some(10), None), (269, Some(10), None), (1, Some(10), Some(1))] {
        world.pass(Span::seconds(passed));
        assert_eq!(decide(&world, &loads(&world, id, &busy)), busy_says);
        assert_eq!(decide(&world, &loads(&world, id, &[Some(0); 8])), idle_says);
    }
}

#[test]
fn a_new_leader_knows_when_it_was_scaled_last() {
    let (mut world, id) = world(4, 1, 10);
    let first = loads(&world, id, &[Some(1000); 4]);
    act(&mut world, &first);
    let rows: Vec<_> = world.state.rows().collect();
    world.state = ring_state::State::from_rows(world.state.revision(), rows).unwrap();
    assert_eq!(decide(&world, &loads(&world, id, &[Some(1000); 8])), None);
    world.pass(Span::seconds(30));
    assert_eq!(decide(&world, &loads(&world, id, &[Some(1000); 8])), Some(10));
}

#[test]
fn what_has_just_begun_is_not_judged() {
    let mut world = World::with_nodes(1);
    let id = world.create(scaled(1, 1, 3));
    world.settle();
    world.run_all(id);
    assert_eq!(decide(&world, &loads(&world, id, &[Some(1000)])), None);
    world.pass(Span::seconds(30));
    assert_eq!(decide(&world, &loads(&world, id, &[Some(1000)])), Some(2));
}

#[test]
fn too_few_old_or_foreign_figures_say_nothing() {
    let (world, id) = world(1, 1, 3);
    let good = loads(&world, id, &[Some(1000)]);
    assert_eq!(decide(&world, &good), Some(2));
    let with = |edit: fn(&mut Load)| {
        let mut loads = good.clone();
        loads.values_mut().for_each(edit);
        decide(&world, &loads)
    };
    assert_eq!(with(|load| load.samples = 2), None, "a leader that has just begun to listen");
    assert_eq!(with(|load| load.at = load.at - Span(20_001)), None);
    assert_eq!(with(|load| load.node = NodeId(uuid::Uuid::nil())), None, "of a node that does not have it");
}

#[test]
fn the_scale_is_kept_when_the_manifest_changes() {
    let (mut world, id) = world(4, 1, 10);
    let busy = loads(&world, id, &[Some(1000); 4]);
    act(&mut world, &busy);
    let events: Vec<_> = world.state.events(id).filter(|e| e.kind == EventKind::Autoscaled).map(|e| e.message.clone()).collect();
    assert_eq!(events, ["replicas 4 to 8: cpu at 100 % of 1, target 50 %"]);
    assert_eq!(world.create(DeploymentSpec { replicas: 2, ..scaled(4, 1, 10) }), id);
    assert_eq!(world.deployment(id).wanted(), 8, "replicas is where it begins");
    let new = world.create(scaled(2, 1, 6));
    assert_ne!(new, id);
    assert_eq!(world.deployment(new).wanted(), 6, "within the new bounds");
    let plain = world.create(needs(worker("w", 3), 1000, 1));
    assert_eq!(world.deployment(plain).wanted(), 3);
    let again = world.create(scaled(2, 1, 6));
    assert_eq!(world.deployment(again).wanted(), 2, "there was no load to follow");
}

#[test]
fn an_outdated_or_impossible_number_is_passed_over() {
    let (mut world, id) = world(4, 2, 10);
    let scale = |from, replicas| Action::Autoscale { deployment: id, from, replicas, message: String::new() };
    for (from, replicas) in [(3, 5), (4, 4), (4, 1), (4, 11)] {
        assert_eq!(world.apply(Command::Plan { actions: vec![scale(from, replicas)] }), Reply::Planned { skipped: 1 });
    }
    world.delete(id);
    assert_eq!(world.apply(Command::Plan { actions: vec![scale(4, 5)] }), Reply::Planned { skipped: 1 });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Under a steady load the number comes to rest, within its bounds, and near the target where the bounds allow it.
    #[test]
    fn it_comes_to_rest(replicas in 1u32..8, min in 1u32..4, more in 0u32..8, total in 0u64..8000) {
        let (mut world, id) = world(replicas, min, min + more);
        for _ in 0..6 {
            world.pass(Span::seconds(300));
            let live = serving(&world, id).len() as u64;
            let loads = loads(&world, id, &vec![Some(total / live); live as usize]);
            act(&mut world, &loads);
            let wanted = world.deployment(id).wanted();
            prop_assert!(wanted >= min && wanted <= min + more);
        }
        let live = serving(&world, id).len() as u64;
        prop_assert_eq!(live, u64::from(world.deployment(id).wanted()));
        let rest = loads(&world, id, &vec![Some(total / live); live as usize]);
        world.pass(Span::seconds(300));
        let late: BTreeMap<_, _> = rest.into_iter().map(|(i, load)| (i, Load { at: world.now, ..load })).collect();
        prop_assert_eq!(decide(&world, &late), None);
        let ideal = total.div_ceil(500).clamp(u64::from(min), u64::from(min + more));
        prop_assert!(live.abs_diff(ideal) <= 1 + ideal / 5, "{} instances for {} in all", live, total);
    }

    /// A figure that is missing never makes the number smaller, nor greater, than all figures would.
    #[test]
    fn a_gap_changes_nothing_by_itself(cpu in proptest::collection::vec(0u64..1500, 4), gaps in 0u8..16) {
        let (world, id) = world(4, 1, 12);
        let some: Vec<_> = cpu.iter().enumerate().map(|(i, c)| (gaps & (1 << i) == 0).then_some(*c)).collect();
        let found = decide(&world, &loads(&world, id, &some));
        let full = |fill: u64| some.iter().map(|c| Some(c.unwrap_or(fill))).collect::<Vec<_>>();
        let (low, high) = (decide(&world, &loads(&world, id, &full(0))), decide(&world, &loads(&world, id, &full(500))));
        match found {
            Some(more) if more > 4 => prop_assert_eq!(Some(more), low),
            Some(fewer) => prop_assert_eq!(Some(fewer), high),
            None => {}
        }
    }
}
