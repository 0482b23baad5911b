//! What the state itself checks of attempts, dependencies and scales, whatever a plan says.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{World, deployment_id, instance_id, job, name, worker};
use ring_state::{Action, ApplyDeployment, Command, EventKind, RefusalCode, Reply, State, Verdict, dependency_circle};
use ring_types::{
    Autoscale, Condition, Dependency, DependencyCondition, DeploymentId, DeploymentSpec, DeploymentStatus, Goal, InstanceState,
    NodeId, OnNodeLoss, Outcome, StopCause,
};

fn attempt(world: &mut World, instance: u128, deployment: DeploymentId, attempt: u32, node: NodeId) -> u32 {
    let id = instance_id(instance);
    world.plan(vec![Action::CreateInstance { id, deployment, slot: 0, attempt, node, restart: false }])
}

fn end(world: &mut World, instance: u128, node: NodeId, outcome: Outcome) {
    world.claim(node, 1, instance);
    world.report(node, instance, InstanceState::Running, None);
    world.report(node, instance, InstanceState::Exited, Some(outcome));
}

#[test]
fn an_attempt_follows_only_an_end_that_allows_it() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, DeploymentSpec { retries: 1, ..job("j") });
    assert_eq!(attempt(&mut world, 1, id, 1, node), 0);
    assert_eq!(attempt(&mut world, 2, id, 2, node), 1, "the first may run");
    end(&mut world, 1, node, Outcome::Code(1));
    assert_eq!(attempt(&mut world, 2, id, 1, node), 1, "the same attempt twice");
    assert_eq!(attempt(&mut world, 2, id, 2, node), 0);
    assert!(world.state.events(id).any(|e| e.kind == EventKind::Retried && e.message == "attempt 2 of 2"));
    end(&mut world, 2, node, Outcome::Code(1));
    assert_eq!(attempt(&mut world, 3, id, 3, node), 1, "more than asked for");
}

#[test]
fn nothing_follows_a_success() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, DeploymentSpec { retries: 5, ..job("j") });
    attempt(&mut world, 1, id, 1, node);
    end(&mut world, 1, node, Outcome::Code(0));
    assert_eq!(attempt(&mut world, 2, id, 2, node), 1);
}

#[test]
fn a_lost_attempt_is_followed_only_where_the_job_says_so() {
    for (policy, skipped) in [(OnNodeLoss::Fail, 1), (OnNodeLoss::Wait, 1), (OnNodeLoss::Reschedule, 0)] {
        let mut world = World::new();
        let (a, b) = (world.node(1), world.node(2));
        let (id, _) = world.apply(1, DeploymentSpec { retries: 1, on_node_loss: policy, ..job("j") });
        attempt(&mut world, 1, id, 1, a);
        world.claim(a, 1, 1);
        world.lose_node(a, 1);
        world.plan(vec![Action::LoseInstance { instance: instance_id(1) }]);
        assert_eq!(attempt(&mut world, 2, id, 2, b), skipped, "{policy}");
    }
}

/// A plan made before a job ended and applied after it, as a leader's that was slow.
#[test]
fn a_late_plan_makes_no_time_out_of_a_success_and_revives_nothing() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, DeploymentSpec { retries: 1, timeout: Some(ring_types::Span(1)), ..job("j") });
    attempt(&mut world, 1, id, 1, node);
    world.claim(node, 1, 1);
    world.report(node, 1, InstanceState::Running, None);
    let end = |status| Action::SetStatus {
        deployment: id,
        status,
        reason: String::new(),
        message: String::new(),
        conditions: Vec::new(),
        exit: None,
    };
    let ended_it = Action::SetGoal { instance: instance_id(1), goal: Goal::Stop, cause: Some(StopCause::TimedOut) };
    let late = vec![ended_it, end(DeploymentStatus::Running)];
    world.report(node, 1, InstanceState::Exited, Some(Outcome::Code(0)));
    assert_eq!(world.plan(vec![end(DeploymentStatus::Completed)]), 0);
    assert_eq!(world.plan(late), 2);
    let spec = world.state.deployment(id).unwrap().spec.clone();
    assert_eq!(world.instance(1).verdict(&spec), Some(Verdict::Completed));
    assert_eq!(world.state.deployment(id).unwrap().status, DeploymentStatus::Completed);
}

#[test]
fn a_late_plan_makes_no_other_attempt_of_a_job_that_is_over() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, DeploymentSpec { retries: 3, ..job("j") });
    attempt(&mut world, 1, id, 1, node);
    end(&mut world, 1, node, Outcome::Code(1));
    let (reason, message, conditions) = (String::new(), String::new(), Vec::new());
    let failed = Action::SetStatus { deployment: id, status: DeploymentStatus::Failed, reason, message, conditions, exit: None };
    assert_eq!(world.plan(vec![failed]), 0);
    assert_eq!(attempt(&mut world, 2, id, 2, node), 1, "somebody may have been told that it failed");
}

#[test]
fn since_when_it_runs_is_stamped_once_by_the_leader() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, job("j"));
    world.create(1, id, node);
    world.claim(node, 1, 1);
    assert_eq!(world.instance(1).running_since, None);
    world.report(node, 1, InstanceState::Running, None);
    let since = world.instance(1).running_since.unwrap();
    assert_eq!(since.0, world.now);
    world.report(node, 1, InstanceState::Running, None);
    world.report(node, 1, InstanceState::Exited, Some(Outcome::Code(0)));
    assert_eq!(world.instance(1).running_since, Some(since));
}

fn on(spec: DeploymentSpec, names: &[&str]) -> DeploymentSpec {
    let one = |name: &&str| Dependency { deployment: (*name).to_owned(), condition: DependencyCondition::Completed };
    DeploymentSpec { depends_on: names.iter().map(one).collect(), ..spec }
}

#[test]
fn a_circle_is_refused_also_when_two_clients_make_it() {
    let mut world = World::new();
    world.apply(1, on(job("a"), &["b"]));
    world.apply(2, on(job("b"), &["c", "d"]));
    let closing = on(job("c"), &["a"]);
    let deployments = vec![ApplyDeployment::new(deployment_id(3), std::sync::Arc::new(closing.clone()))];
    let reply = world.run(Command::Apply {
        namespaces: Vec::new(),
        configs: Vec::new(),
        deployments,
        force: false,
        rollout_deadline: None,
    });
    let Reply::Refused(refusal) = reply else { panic!("{reply:?}") };
    assert_eq!(refusal.code, RefusalCode::Conflict);
    assert_eq!(dependency_circle(&world.state, [&closing].into_iter()), ["a", "b", "c"]);
    assert_eq!(dependency_circle(&world.state, [&on(job("c"), &["d"])].into_iter()), Vec::<String>::new());
    // The new specification counts, not the one it takes the place of.
    assert_eq!(dependency_circle(&world.state, [&closing, &job("b")].into_iter()), Vec::<String>::new());
}

#[test]
fn who_waits_is_found_by_name_and_after_a_restart() {
    let mut world = World::new();
    let (a, _) = world.apply(1, on(job("a"), &["b"]));
    world.apply(2, job("b"));
    let found = |state: &State| state.dependents_of(&name("ns"), &name("b")).collect::<Vec<_>>();
    assert_eq!(found(&world.state), [a]);
    let loaded = State::from_rows(world.state.revision(), world.state.rows().collect::<Vec<_>>()).unwrap();
    assert_eq!(found(&loaded), [a]);
    world.run(Command::DeleteDeployments { ids: vec![a] });
    world.plan(vec![Action::ForgetDeployment { deployment: a }]);
    assert!(found(&world.state).is_empty());
}

#[test]
fn what_waited_in_vain_is_told_so_no_more_once_the_name_is_applied_again() {
    let mut world = World::new();
    let (a, _) = world.apply(1, on(job("a"), &["b"]));
    let (b, _) = world.apply(2, on(job("b"), &["c"]));
    let vain = |deployment| Action::SetStatus {
        deployment,
        status: DeploymentStatus::Pending,
        reason: "dependency_failed".to_owned(),
        message: "in vain".to_owned(),
        conditions: vec![Condition::Waiting],
        exit: None,
    };
    assert_eq!(world.plan(vec![vain(a), vain(b)]), 0);
    world.apply(3, job("other"));
    assert_eq!(world.state.deployment(a).unwrap().reason, "dependency_failed");
    world.apply(4, job("c"));
    for id in [a, b] {
        let now = world.state.deployment(id).unwrap();
        assert_eq!((now.status, now.reason.as_str(), now.message.as_str()), (DeploymentStatus::Pending, "", ""));
    }
}

#[test]
fn what_has_begun_is_released_for_good() {
    let mut world = World::new();
    let node = world.node(1);
    let (id, _) = world.apply(1, on(job("a"), &["b"]));
    assert!(!world.state.deployment(id).unwrap().released);
    world.create(1, id, node);
    assert!(world.state.deployment(id).unwrap().released);
}

#[test]
fn instances_beyond_the_scale_are_passed_over() {
    let mut world = World::new();
    let node = world.node(1);
    let autoscale = Some(Autoscale { min: 1, max: 3, target_cpu: 50 });
    let (id, _) = world.apply(1, DeploymentSpec { autoscale, ..worker("w", 1) });
    let create = |slot: u32| Action::CreateInstance {
        id: instance_id(slot.into()),
        deployment: id,
        slot,
        attempt: 1,
        node,
        restart: false,
    };
    assert_eq!(world.plan(vec![create(1)]), 1);
    let scale = Action::Autoscale { deployment: id, from: 1, replicas: 2, message: "cpu".to_owned() };
    assert_eq!(world.plan(vec![scale.clone(), create(1), create(2)]), 1);
    assert_eq!(world.plan(vec![scale]), 1, "decided from an older number");
    let at = world.state.deployment(id).unwrap().scale.unwrap().at.unwrap();
    assert!(at.0 < world.now, "stamped when it was done");
}
