//! Nodes that are being drained.

use ring_state::{Command, NodeUpdate, Reply};
use ring_types::{
    DeploymentId, DeploymentStatus, Goal, InstanceState, NodeId, Outcome, Port, Protocol, Span, StopCause, Timestamp,
};

use crate::rollouts::{get_ready, let_go, serving, wanted};
use crate::world::{World, gated, job, name, worker};

const HOUR: Span = Span::seconds(3600);

fn update(world: &mut World, node: NodeId, schedulable: Option<bool>, drain: Option<Span>) -> Reply {
    world.apply(Command::UpdateNode(NodeUpdate { node, labels: None, schedulable, drain, lost: false, until_return: false }))
}

fn drain(world: &mut World, node: NodeId, within: Span) {
    assert!(matches!(update(world, node, None, Some(within)), Reply::Done));
}

/// The node with the most instances of a deployment, and how many.
fn busiest(world: &World, id: DeploymentId) -> (NodeId, usize) {
    let on = |node: NodeId| world.live(id).iter().filter(|i| i.node == node).count();
    world.state.nodes().map(|n| (n.id, on(n.id))).max_by_key(|(_, count)| *count).unwrap()
}

fn serving_now(world: &World, id: DeploymentId) -> u32 {
    world.state.serving(&world.deployment(id))
}

#[test]
fn workers_leave_one_at_a_time_and_never_serve_with_fewer() {
    let mut world = World::with_nodes(3);
    let id = serving(&mut world, gated("w", 4, "v1"));
    let (node, there) = busiest(&world, id);
    assert_eq!(there, 2);
    drain(&mut world, node, HOUR);
    for left in (0..there).rev() {
        world.settle();
        assert_eq!((wanted(&world, id), serving_now(&world, id)), (5, 4), "one more comes first");
        assert_eq!(get_ready(&mut world, id), 1);
        assert_eq!((wanted(&world, id), serving_now(&world, id)), (4, 4), "then one goes");
        let gone = world.live(id).into_iter().find(|i| i.goal > Goal::Run).unwrap();
        assert_eq!((gone.node, gone.stop_cause), (node, Some(StopCause::Drained)));
        let_go(&mut world, id);
        assert_eq!(world.live(id).iter().filter(|i| i.node == node && i.goal == Goal::Run).count(), left);
    }
    assert!(world.look().actions.is_empty() && world.live(id).len() == 4);
    assert!(world.live(id).iter().all(|i| i.node != node));
    assert_eq!((world.deployment(id).status, world.deployment(id).restart_count), (DeploymentStatus::Running, 0));
}

#[test]
fn one_without_a_check_has_to_have_run_for_a_while() {
    let mut world = World::with_nodes(2);
    let id = world.create(worker("w", 1));
    world.settle();
    world.run_all(id);
    let (node, _) = busiest(&world, id);
    drain(&mut world, node, HOUR);
    world.settle();
    world.run_all(id);
    let plan = world.settle();
    assert_eq!(wanted(&world, id), 2, "it has only just begun to run");
    world.now = plan.wakes.values().copied().min().unwrap();
    world.settle();
    assert_eq!(wanted(&world, id), 1);
    assert!(world.live(id).iter().any(|i| i.node == node && i.goal == Goal::Remove));
}

#[test]
fn what_nothing_can_take_the_place_of_stays_until_the_deadline() {
    let mut world = World::with_nodes(1);
    let id = serving(&mut world, gated("w", 1, "v1"));
    let (node, _) = busiest(&world, id);
    drain(&mut world, node, HOUR);
    let plan = world.settle();
    let deployment = world.deployment(id);
    assert_eq!((deployment.status, deployment.reason.as_str()), (DeploymentStatus::Running, "not_placed"));
    assert_eq!((wanted(&world, id), plan.wakes.get(&id)), (1, Some(&(world.now + HOUR))));
    world.pass(HOUR);
    world.settle();
    let_go(&mut world, id);
    assert_eq!(world.live(id).len(), 0);
    assert_eq!(world.deployment(id).status, DeploymentStatus::Pending);
}

#[test]
fn a_port_is_free_on_another_node() {
    let mut world = World::with_nodes(2);
    let mut spec = gated("w", 1, "v1");
    let port = Port { published: 80, target: 80, protocol: Protocol::Tcp, host_ip: String::new() };
    spec.ports = vec![port];
    let id = serving(&mut world, spec);
    let (node, _) = busiest(&world, id);
    drain(&mut world, node, HOUR);
    world.settle();
    assert_eq!(get_ready(&mut world, id), 1);
    let_go(&mut world, id);
    assert!(world.live(id).len() == 1 && world.live(id)[0].node != node);
}

#[test]
fn a_drain_is_undone_and_leaves_what_has_not_left() {
    let mut world = World::with_nodes(2);
    let id = serving(&mut world, gated("w", 2, "v1"));
    let (node, _) = busiest(&world, id);
    drain(&mut world, node, HOUR);
    world.settle();
    assert_eq!(wanted(&world, id), 3);
    // A plan that was made before is not carried out any more.
    get_ready_without_planning(&mut world, id);
    let plan = world.look();
    assert!(matches!(update(&mut world, node, Some(true), None), Reply::Done));
    world.apply(Command::Plan { actions: plan.actions });
    assert!(world.live(id).iter().all(|i| i.stop_cause != Some(StopCause::Drained)));
    world.settle();
    assert_eq!((wanted(&world, id), serving_now(&world, id)), (2, 2));
    assert!(world.state.node(node).unwrap().drain.is_none());
    assert!(matches!(update(&mut world, node, Some(true), Some(HOUR)), Reply::Refused(_)), "both at once");
}

fn get_ready_without_planning(world: &mut World, id: DeploymentId) {
    for instance in world.live(id).into_iter().filter(|i| i.state < InstanceState::Running) {
        world.run(instance.id);
        world.health(instance.id, true, &[]);
    }
}

#[test]
fn a_replacement_that_does_not_get_ready_keeps_the_old_one() {
    let mut world = World::with_nodes(2);
    let id = serving(&mut world, gated("w", 1, "v1"));
    let (node, _) = busiest(&world, id);
    drain(&mut world, node, HOUR);
    world.settle();
    while world.deployment(id).status != DeploymentStatus::CrashLoopBackOff {
        let begins = world.live(id).into_iter().find(|i| i.node != node && i.state < InstanceState::Running);
        if let Some(one) = begins {
            world.run(one.id);
            world.end(one.id, Outcome::Code(1));
        } else {
            world.now = world.look().wakes.values().copied().min().unwrap();
            assert!(world.now < Timestamp(1_000_000) + HOUR, "it gives up before the deadline");
        }
        world.settle();
    }
    assert!(world.live(id).iter().any(|i| i.node == node && i.goal == Goal::Run), "{:#?}", world.instances(id));
}

#[test]
fn jobs_run_to_their_end_or_to_the_deadline() {
    let mut world = World::with_nodes(2);
    let (done, cut) = (world.create(job("done")), world.create(job("cut")));
    world.settle();
    for id in [done, cut] {
        let (node, _) = busiest(&world, id);
        let instance = world.live(id)[0].clone();
        world.run(instance.id);
        drain(&mut world, node, HOUR);
    }
    world.settle();
    assert_eq!((wanted(&world, done), wanted(&world, cut)), (1, 1));
    world.end(world.live(done)[0].id, Outcome::Code(0));
    world.settle();
    world.pass(HOUR);
    world.settle();
    let told = world.live(cut)[0].clone();
    assert_eq!((told.goal, told.stop_cause), (Goal::Stop, Some(StopCause::Drained)));
    world.end(told.id, Outcome::Signal { signal: 15, oom_killed: false });
    world.settle();
    assert_eq!(world.deployment(done).status, DeploymentStatus::Completed);
    let cut = world.deployment(cut);
    assert_eq!((cut.status, cut.reason.as_str()), (DeploymentStatus::Failed, "drained"), "{}", cut.message);
    assert!(matches!(cut.exit.as_ref().unwrap().outcome, Outcome::Signal { signal: 15, .. }));
}

#[test]
fn a_job_that_has_not_begun_begins_elsewhere_in_the_same_attempt() {
    let mut world = World::with_nodes(2);
    let id = world.create(job("j"));
    world.settle();
    let first = world.live(id)[0].clone();
    drain(&mut world, first.node, HOUR);
    world.settle();
    world.obey();
    world.settle();
    world.obey();
    world.settle();
    let now = world.live(id);
    let now = now.first().map(|i| (i.node == first.node, i.attempt));
    let ran = world.instances(id).into_iter().find(|i| i.exit.as_ref().is_some_and(|e| e.outcome == Outcome::Code(0)));
    let ran = ran.map(|i| (i.node == first.node, i.attempt));
    assert_eq!(now.or(ran), Some((false, 1)));
    assert_eq!(name("j"), world.deployment(id).spec.name);
}
