//! Rolling updates.

use ring_state::{Command, Outcome as Done, RefusalCode};
use ring_types::{
    CheckAction, Condition, DeploymentId, DeploymentSpec, DeploymentStatus, Goal, InstanceState, NetworkMode, NodeStatus,
    Outcome, Span, StartFailure,
};

use crate::world::{DEADLINE, World, check, gated, worker};

/// A deployment of `spec` that runs and is ready.
pub(crate) fn serving(world: &mut World, spec: DeploymentSpec) -> DeploymentId {
    let id = world.create(spec);
    world.settle();
    world.run_all(id);
    for instance in world.live(id) {
        world.health(instance.id, true, &[]);
    }
    world.settle();
    id
}

/// Runs what is new of a deployment and has it ready; gives how many there were.
pub(crate) fn get_ready(world: &mut World, id: DeploymentId) -> usize {
    let new: Vec<_> = world.live(id).into_iter().filter(|i| i.state < InstanceState::Running && i.goal == Goal::Run).collect();
    for instance in &new {
        world.run(instance.id);
        world.health(instance.id, true, &[]);
    }
    world.settle();
    new.len()
}

/// What is told to end ends, and its remains go.
pub(crate) fn let_go(world: &mut World, id: DeploymentId) {
    for instance in world.live(id).into_iter().filter(|i| i.goal > Goal::Run) {
        let outcome = if instance.state == InstanceState::Assigned {
            Outcome::NotStarted { cause: StartFailure::Cancelled, message: String::new() }
        } else {
            Outcome::Signal { signal: 15, oom_killed: false }
        };
        world.end(instance.id, outcome);
    }
    world.settle();
    let gone = |i: &ring_state::Instance| i.state == InstanceState::Exited && i.goal == Goal::Remove;
    for instance in world.instances(id).into_iter().filter(|i| gone(i)) {
        world.removed(instance.id);
    }
    world.settle();
}

fn may_run(world: &World, id: DeploymentId) -> usize {
    world.state.instances_of(id).filter(|i| ring_state::may_run(i)).count()
}

pub(crate) fn wanted(world: &World, id: DeploymentId) -> usize {
    world.live(id).iter().filter(|i| i.goal == Goal::Run).count()
}

#[test]
fn one_instance_at_a_time_takes_the_place_of_another() {
    let mut world = World::with_nodes(2);
    let old = serving(&mut world, gated("w", 3, "v1"));
    let outcome = world.change(gated("w", 3, "v2"), false);
    let new = outcome.id;
    assert_eq!(outcome.outcome, Done::Updated(old));
    assert_eq!(world.deployment(new).parent, Some(old));
    for ready in 0..3 {
        world.settle();
        let_go(&mut world, old);
        assert_eq!((wanted(&world, old), wanted(&world, new)), (3 - ready, ready + 1), "with {ready} ready");
        let (parent, child) = (world.deployment(old), world.deployment(new));
        assert!(parent.conditions.contains(&Condition::RollingOut) && child.conditions.contains(&Condition::RollingOut));
        assert_eq!(parent.status, DeploymentStatus::Running);
        let new_one = world.live(new).into_iter().find(|i| i.state == InstanceState::Assigned).unwrap().id;
        world.run(new_one);
        world.settle();
        assert_eq!(wanted(&world, old), 3 - ready, "a running instance that is not ready takes nobody's place");
        world.health(new_one, true, &[]);
        world.settle();
    }
    assert!(world.deployment(old).deleting);
    let_go(&mut world, old);
    assert!(world.state.deployment(old).is_none());
    let shown = world.deployment(new);
    assert_eq!((shown.status, shown.parent, shown.conditions.len()), (DeploymentStatus::Running, Some(old), 0));
    assert_eq!(shown.restart_count, 0);
}

#[test]
fn the_next_one_waits_until_what_it_replaced_has_ended() {
    let mut world = World::with_nodes(2);
    let old = serving(&mut world, gated("w", 2, "v1"));
    let new = world.create(gated("w", 2, "v2"));
    world.settle();
    get_ready(&mut world, new);
    assert_eq!((world.live(old).len(), world.live(new).len()), (2, 1), "one of the old ones is still stopping");
    let_go(&mut world, old);
    assert_eq!((world.live(old).len(), world.live(new).len()), (1, 2));
}

/// What ended while nobody led is told only after the election.
#[test]
fn a_new_leader_takes_nothing_from_the_old_version_before_nodes_had_their_say() {
    let mut world = World::with_nodes(2);
    let plain = |image: &str| {
        let health_checks = vec![check(false, CheckAction::Alert)];
        DeploymentSpec { health_checks, image: image.to_owned(), ..worker("w", 1) }
    };
    let old = world.create(plain("v1"));
    world.settle();
    world.run_all(old);
    let new = world.create(plain("v2"));
    world.settle();
    world.run_all(new);
    world.pass(Span::seconds(30));
    world.leading_since = world.now;
    let wake = world.settle().wake_at.unwrap();
    assert_eq!((wake.since(world.now), wanted(&world, old)), (Span::seconds(5), 1), "it would have passed the gate");
    let dead = world.live(new)[0].id;
    world.end(dead, Outcome::Code(1));
    world.now = wake;
    world.settle();
    assert_eq!((wanted(&world, old), world.deployment(new).restart_count), (1, 1));
}

#[test]
fn of_an_instance_out_of_contact_nobody_knows_that_it_is_ready() {
    let mut world = World::with_nodes(2);
    let old = serving(&mut world, gated("w", 1, "v1"));
    let new = world.create(gated("w", 1, "v2"));
    world.settle();
    let instance = world.live(new)[0].clone();
    world.run(instance.id);
    world.health(instance.id, true, &[]);
    world.set_node(instance.node, NodeStatus::Unreachable);
    world.settle();
    assert_eq!(wanted(&world, old), 1);
    world.set_node(instance.node, NodeStatus::Ready);
    world.settle();
    assert!(world.deployment(old).deleting);
}

#[test]
fn without_a_readiness_check_running_well_is_the_gate() {
    let mut world = World::with_nodes(1);
    let plain = |image: &str| {
        let health_checks = vec![check(false, CheckAction::Alert)];
        DeploymentSpec { health_checks, image: image.to_owned(), ..worker("w", 1) }
    };
    let old = world.create(plain("v1"));
    world.settle();
    world.run_all(old);
    let new = world.create(plain("v2"));
    world.settle();
    world.run_all(new);
    let wake = world.settle().wake_at.unwrap();
    assert_eq!(wake.since(world.now), Span::seconds(5), "the check's min_healthy_time");
    world.pass(Span::seconds(4));
    let instance = world.live(new)[0].id;
    world.health(instance, true, &[0]);
    world.pass(Span::seconds(20));
    world.settle();
    assert_eq!(wanted(&world, old), 1, "a check of it fails");
    world.health(instance, true, &[]);
    world.now = world.settle().wake_at.unwrap();
    world.settle();
    assert!(world.deployment(old).deleting);
}

#[test]
fn a_child_that_is_not_ready_in_time_fails_and_its_parent_is_untouched() {
    let mut world = World::with_nodes(2);
    let old = serving(&mut world, gated("w", 3, "v1"));
    let before: Vec<_> = world.live(old).iter().map(|i| i.id).collect();
    let new = world.create(gated("w", 3, "v2"));
    world.settle();
    world.run_all(new);
    let wake = world.settle().wake_at.unwrap();
    assert_eq!(wake.since(world.now), Span(DEADLINE.0 + 20_000), "the deadline begins after the start period");
    world.now = wake;
    world.settle();
    let failed = world.deployment(new);
    assert_eq!((failed.status, failed.reason.as_str()), (DeploymentStatus::Failed, "rollout_deadline"));
    assert!(failed.message.starts_with("0 of 3 were ready and no other became so within 100s"), "{}", failed.message);
    let_go(&mut world, new);
    assert_eq!(world.live(new).len(), 0);
    assert_eq!(world.instances(new).len(), 1, "kept for its logs");
    assert_eq!(world.live(old).iter().map(|i| i.id).collect::<Vec<_>>(), before);
    assert!(!world.deployment(old).conditions.contains(&Condition::RollingOut));
    let name = &world.deployment(old).spec.name.clone();
    let namespace = &world.deployment(old).spec.namespace.clone();
    assert_eq!(world.state.deployment_named(namespace, name).unwrap().id, old, "the old one stands for the name");
    world.pass(Span::seconds(10_000));
    assert!(world.settle().actions.is_empty());
}

#[test]
fn each_ready_instance_begins_the_deadline_anew() {
    let mut world = World::with_nodes(2);
    let old = serving(&mut world, gated("w", 2, "v1"));
    let new = world.create(gated("w", 2, "v2"));
    world.settle();
    world.pass(Span::seconds(90));
    get_ready(&mut world, new);
    world.pass(Span::seconds(90));
    world.settle();
    assert_eq!(world.deployment(new).rollout.unwrap().ready, 1);
    assert_eq!(world.deployment(new).status, DeploymentStatus::Running);
    world.pass(Span::seconds(31));
    world.settle();
    assert_eq!(world.deployment(new).status, DeploymentStatus::Failed);
    assert!(!world.deployment(old).deleting);
}

#[test]
fn what_serves_of_a_failed_update_stays_until_its_parent_is_back() {
    let mut world = World::with_nodes(2);
    let old = serving(&mut world, gated("w", 3, "v1"));
    let new = world.create(gated("w", 3, "v2"));
    for _ in 0..2 {
        world.settle();
        get_ready(&mut world, new);
        let_go(&mut world, old);
    }
    assert_eq!((wanted(&world, old), wanted(&world, new)), (1, 3));
    world.pass(Span::seconds(200));
    world.settle();
    assert_eq!(world.deployment(new).status, DeploymentStatus::Failed);
    for back in 1..=3 {
        let_go(&mut world, new);
        assert_eq!(world.state.serving(&world.deployment(old)), back, "serving of the old");
        assert_eq!(wanted(&world, new) as u32, 3 - back, "serving of the new");
        assert!(may_run(&world, old) + may_run(&world, new) <= 4);
        get_ready(&mut world, old);
    }
    let_go(&mut world, new);
    assert_eq!((wanted(&world, old), world.live(new).len()), (3, 0));
}

#[test]
fn a_child_in_a_crash_loop_fails_at_once() {
    let mut world = World::with_nodes(1);
    let old = serving(&mut world, gated("w", 2, "v1"));
    let new = world.create(gated("w", 2, "v2"));
    world.settle();
    world.run_all(new);
    world.end(world.live(new)[0].id, Outcome::Code(127));
    world.settle();
    let failed = world.deployment(new);
    assert_eq!((failed.status, failed.reason.as_str()), (DeploymentStatus::Failed, "crash_loop_back_off"));
    assert_eq!(wanted(&world, old), 2);
    let mut world = World::with_nodes(1);
    let old = serving(&mut world, gated("w", 1, "v1"));
    let new = world.create(DeploymentSpec { ..crate::world::needs(gated("w", 1, "v2"), 9000, 1) });
    world.settle();
    let failed = world.deployment(new);
    assert_eq!((failed.status, failed.reason.as_str()), (DeploymentStatus::Failed, "insufficient_resources"));
    assert_eq!(wanted(&world, old), 1);
}

#[test]
fn a_crashing_child_does_not_cost_the_parent() {
    let mut world = World::with_nodes(1);
    let old = serving(&mut world, gated("w", 2, "v1"));
    let new = world.create(gated("w", 2, "v2"));
    world.settle();
    get_ready(&mut world, new);
    let_go(&mut world, old);
    let first = world.live(new).into_iter().find(|i| i.ready_at.is_some()).unwrap().id;
    assert_eq!((wanted(&world, old), wanted(&world, new)), (1, 2));
    world.end(first, Outcome::Code(1));
    world.settle();
    assert_eq!(wanted(&world, old), 2, "the old version makes up for it");
    assert!(may_run(&world, old) + may_run(&world, new) <= 3);
}

#[test]
fn an_unchanged_manifest_changes_nothing_during_an_update_either() {
    let mut world = World::with_nodes(1);
    let old = serving(&mut world, gated("w", 1, "v1"));
    let new = world.create(gated("w", 1, "v2"));
    world.settle();
    let again = world.change(gated("w", 1, "v2"), false);
    assert_eq!((again.id, again.outcome), (new, Done::Unchanged));
    assert!(!world.deployment(old).deleting);
}

#[test]
fn applying_the_old_version_again_calls_the_update_off() {
    let mut world = World::with_nodes(2);
    let old = serving(&mut world, gated("w", 2, "v1"));
    let new = world.create(gated("w", 2, "v2"));
    world.settle();
    get_ready(&mut world, new);
    let_go(&mut world, old);
    let back = world.change(gated("w", 2, "v1"), false);
    assert_eq!((back.id, back.outcome), (old, Done::Restored(new)));
    for _ in 0..4 {
        world.settle();
        let_go(&mut world, new);
        let serve = |d| world.state.deployment(d).map_or(0, |d| world.state.serving(d));
        assert!(serve(old) + serve(new) >= 2);
        get_ready(&mut world, old);
    }
    assert!(world.state.deployment(new).is_none());
    assert_eq!(wanted(&world, old), 2);
}

#[test]
fn a_third_version_takes_the_place_of_the_second() {
    let mut world = World::with_nodes(2);
    let first = serving(&mut world, gated("w", 3, "v1"));
    let second = world.create(gated("w", 3, "v2"));
    for _ in 0..2 {
        world.settle();
        get_ready(&mut world, second);
        let_go(&mut world, first);
    }
    let outcome = world.change(gated("w", 3, "v3"), false);
    let third = outcome.id;
    assert_eq!(outcome.outcome, Done::Updated(first));
    assert_eq!(world.deployment(third).parent, Some(first));
    assert_eq!(world.deployment(third).previous.as_ref().unwrap().spec.image, "v1", "the second never served alone");
    for _ in 0..6 {
        world.settle();
        let serve = |d| world.state.deployment(d).map_or(0, |d| world.state.serving(d));
        assert!(serve(first) + serve(second) + serve(third) >= 3);
        assert!(may_run(&world, first) + may_run(&world, second) + may_run(&world, third) <= 4);
        get_ready(&mut world, third);
        let_go(&mut world, second);
        let_go(&mut world, first);
    }
    assert!(world.state.deployment(first).is_none() && world.state.deployment(second).is_none());
    assert_eq!(wanted(&world, third), 3);
}

#[test]
fn scaling_during_an_update_scales_both_versions() {
    let mut world = World::with_nodes(2);
    let old = serving(&mut world, gated("w", 2, "v1"));
    let new = world.create(gated("w", 2, "v2"));
    world.settle();
    let scaled = world.change(gated("w", 4, "v2"), false);
    assert_eq!((scaled.id, scaled.outcome), (new, Done::Scaled));
    assert_eq!((world.deployment(old).spec.replicas, world.deployment(new).spec.replicas), (4, 4));
    for _ in 0..6 {
        world.settle();
        get_ready(&mut world, old);
        get_ready(&mut world, new);
        let_go(&mut world, old);
    }
    assert!(world.state.deployment(old).is_none());
    assert_eq!(wanted(&world, new), 4);
}

#[test]
fn deleting_either_side_ends_the_update() {
    let mut world = World::with_nodes(1);
    let old = serving(&mut world, gated("w", 2, "v1"));
    let new = world.create(gated("w", 2, "v2"));
    world.settle();
    world.delete(new);
    world.settle();
    let_go(&mut world, new);
    assert!(world.state.deployment(new).is_none());
    assert_eq!((wanted(&world, old), world.deployment(old).conditions.len()), (2, 0));

    let new = world.create(gated("w", 2, "v3"));
    world.settle();
    world.delete(old);
    world.settle();
    assert_eq!((wanted(&world, old), wanted(&world, new)), (0, 2), "the new one stands alone, and needs no gate");
    let_go(&mut world, old);
    assert!(world.state.deployment(old).is_none());
    assert!(world.deployment(new).conditions.is_empty());
}

#[test]
fn what_cannot_run_twice_is_replaced() {
    let on_host = |image: &str| DeploymentSpec { network: NetworkMode::Host, ..gated("w", 1, image) };
    let cases: [(DeploymentSpec, DeploymentSpec, bool); 4] = [
        (worker("w", 1), DeploymentSpec { image: "v2".into(), ..worker("w", 1) }, false),
        (on_host("v1"), on_host("v2"), false),
        (gated("w", 1, "v1"), DeploymentSpec { health_checks: Vec::new(), ..gated("w", 1, "v2") }, false),
        (gated("w", 1, "v1"), gated("w", 1, "v2"), true),
    ];
    for (before, after, force) in cases {
        let mut world = World::with_nodes(1);
        let old = world.create(before);
        world.settle();
        world.run_all(old);
        let outcome = world.change(after, force);
        assert_eq!(outcome.outcome, Done::Replaced(old));
        world.settle();
        assert_eq!((wanted(&world, old), wanted(&world, outcome.id)), (0, 0), "first the old one stops");
        let_go(&mut world, old);
        assert_eq!(wanted(&world, outcome.id), 1);
    }
}

#[test]
fn replacing_during_an_update_waits_for_both_sides() {
    let mut world = World::with_nodes(1);
    let old = serving(&mut world, gated("w", 1, "v1"));
    let new = world.create(gated("w", 1, "v2"));
    world.settle();
    get_ready(&mut world, new);
    let forced = world.change(gated("w", 1, "v3"), true);
    world.settle();
    let_go(&mut world, new);
    assert_eq!(wanted(&world, forced.id), 0, "the first version is still there");
    let_go(&mut world, old);
    assert_eq!(wanted(&world, forced.id), 1);
    assert!(world.state.deployment(old).is_none() && world.state.deployment(new).is_none());
}

#[test]
fn a_failed_update_gives_way_to_the_next() {
    let mut world = World::with_nodes(1);
    let old = serving(&mut world, gated("w", 1, "v1"));
    let failed = world.create(gated("w", 1, "v2"));
    world.settle();
    world.pass(Span::seconds(1000));
    world.settle();
    assert_eq!(world.follow(failed, Command::RollbackDeployment).unwrap_err().code, RefusalCode::Conflict);
    assert_eq!(world.change(gated("w", 1, "v1"), false).outcome, Done::Unchanged);
    let next = world.change(gated("w", 1, "v2"), false);
    assert_eq!(next.outcome, Done::Updated(old), "what failed can be tried again");
    assert!(world.deployment(failed).deleting);
    world.settle();
    let_go(&mut world, failed);
    assert_eq!(wanted(&world, next.id), 1);
}

#[test]
fn an_image_that_cannot_be_had_is_tried_until_the_deadline() {
    let mut world = World::with_nodes(1);
    let old = serving(&mut world, gated("w", 1, "v1"));
    let new = world.create(gated("w", 1, "v2"));
    world.settle();
    world.fail_start(world.live(new)[0].id, StartFailure::ImageNotFound);
    world.settle();
    assert_eq!(world.deployment(new).status, DeploymentStatus::ImagePullBackOff);
    world.pass(Span::seconds(200));
    world.settle();
    let failed = world.deployment(new);
    assert_eq!((failed.status, failed.reason.as_str()), (DeploymentStatus::Failed, "rollout_deadline"));
    assert!(failed.message.contains("said so"), "{}", failed.message);
    assert_eq!(wanted(&world, old), 1);
}

#[test]
fn no_replicas_are_updated_at_once() {
    let mut world = World::with_nodes(1);
    let old = world.create(gated("w", 0, "v1"));
    world.settle();
    let new = world.create(gated("w", 0, "v2"));
    world.settle();
    assert!(world.state.deployment(old).is_none());
    assert_eq!(world.deployment(new).status, DeploymentStatus::Running);
}
