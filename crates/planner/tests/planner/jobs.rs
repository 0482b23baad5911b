//! Jobs.

use ring_types::{
    Condition, DeploymentStatus, EnvValue, Goal, InstanceState, KeyId, NodeStatus, OnNodeLoss, Outcome, SecretId, Span,
    StartFailure,
};

use crate::world::{World, creates, job, name, worker};

#[test]
fn a_job_runs_once_and_its_exit_status_is_recorded() {
    let mut world = World::with_nodes(2);
    let id = world.create(job("j"));
    world.settle();
    assert_eq!(world.deployment(id).status, DeploymentStatus::Creating);
    world.run_all(id);
    assert_eq!(world.deployment(id).status, DeploymentStatus::Running);
    let instance = world.live(id)[0].id;
    world.end(instance, Outcome::Code(7));
    world.settle();
    let done = world.deployment(id);
    assert_eq!((done.status, done.reason.as_str()), (DeploymentStatus::Failed, "exit_code"));
    assert_eq!(done.exit.as_ref().and_then(ring_types::ExitStatus::code), Some(7));
    assert!(done.message.contains("code 7"), "{}", done.message);
    world.pass(Span::seconds(100_000));
    assert_eq!(world.settle().wake_at, None);
    assert_eq!(world.instances(id).len(), 1);
}

#[test]
fn how_it_ended_is_the_reason() {
    let killed = |oom_killed| Outcome::Signal { signal: 9, oom_killed };
    let cases = [
        (Outcome::Code(0), DeploymentStatus::Completed, ""),
        (Outcome::Code(1), DeploymentStatus::Failed, "exit_code"),
        (killed(false), DeploymentStatus::Failed, "signal"),
        (killed(true), DeploymentStatus::Failed, "oom_killed"),
    ];
    for (outcome, status, reason) in cases {
        let mut world = World::with_nodes(1);
        let id = world.create(job("j"));
        world.settle();
        world.run_all(id);
        let instance = world.live(id)[0].id;
        world.end(instance, outcome);
        world.settle();
        let done = world.deployment(id);
        assert_eq!((done.status, done.reason.as_str()), (status, reason));
    }
}

#[test]
fn a_failed_start_is_tried_again_after_growing_pauses() {
    let mut world = World::with_nodes(1);
    let id = world.create(job("j"));
    let mut pauses = Vec::new();
    for _ in 0..4 {
        world.settle();
        let instance = world.live(id)[0].id;
        world.fail_start(instance, StartFailure::ImageNotFound);
        let plan = world.settle();
        let shown = world.deployment(id);
        assert_eq!((shown.status, shown.reason.as_str()), (DeploymentStatus::ImagePullBackOff, "image_not_found"));
        assert_eq!(shown.conditions, [Condition::BackingOff]);
        let wake = plan.wake_at.unwrap();
        pauses.push(wake.since(world.now).0);
        world.now = wake;
        let old = world.instances(id).into_iter().filter(|i| i.goal == Goal::Remove).map(|i| i.id).collect::<Vec<_>>();
        old.into_iter().for_each(|id| world.removed(id));
    }
    assert_eq!(pauses, [1000, 2000, 4000, 8000]);
    world.settle();
    assert_eq!(world.deployment(id).status, DeploymentStatus::ImagePullBackOff, "until it has started");
    world.run_all(id);
    assert_eq!(world.deployment(id).status, DeploymentStatus::Running);
    assert!(world.live(id).iter().all(|i| i.attempt == 1));
}

#[test]
fn each_failed_step_has_a_status_of_its_own() {
    let cases = [
        (StartFailure::ImagePull, DeploymentStatus::ImagePullBackOff),
        (StartFailure::Create, DeploymentStatus::CreateContainerError),
        (StartFailure::Network, DeploymentStatus::NetworkError),
        (StartFailure::Config, DeploymentStatus::ConfigError),
        (StartFailure::FileSystem, DeploymentStatus::FileSystemError),
        (StartFailure::Other, DeploymentStatus::Error),
    ];
    for (cause, status) in cases {
        for spec in [job("d"), worker("d", 1)] {
            let mut world = World::with_nodes(1);
            let id = world.create(spec);
            world.settle();
            let instance = world.live(id)[0].id;
            world.fail_start(instance, cause);
            world.settle();
            let shown = world.deployment(id);
            assert_eq!((shown.status, shown.reason.as_str()), (status, cause.as_str()));
            assert!(shown.message.starts_with("said so; "), "{}", shown.message);
        }
    }
}

#[test]
fn a_missing_secret_is_told_before_anything_is_made_and_heals() {
    let mut world = World::with_nodes(1);
    let mut spec = job("j");
    spec.environment.insert("URL".to_owned(), EnvValue::Secret("db-url".to_owned()));
    let id = world.create(spec);
    assert_eq!(creates(&world.settle()), 0);
    let shown = world.deployment(id);
    assert_eq!(shown.status, DeploymentStatus::ConfigError);
    assert!(shown.message.contains("secret 'db-url' does not exist"), "{}", shown.message);
    let secret = SecretId(world.fresh());
    let (namespace, name) = (name("ns"), name("db-url"));
    world.apply(ring_state::Command::PutSecret { id: secret, namespace, name, sealed: vec![1], key: KeyId(0), create: true });
    world.settle();
    assert_eq!(world.deployment(id).status, DeploymentStatus::Creating);
    assert_eq!(world.deployment(id).message, "");
}

#[test]
fn a_lost_node_fails_a_job_and_the_truth_corrects_it() {
    let mut world = World::with_nodes(1);
    let id = world.create(job("j"));
    world.settle();
    world.run_all(id);
    let instance = world.live(id)[0].clone();
    world.set_node(instance.node, NodeStatus::Unreachable);
    world.settle();
    let shown = world.deployment(id);
    assert_eq!((shown.status, &shown.conditions[..]), (DeploymentStatus::Running, &[Condition::NodeUnreachable][..]));
    world.set_node(instance.node, NodeStatus::Lost);
    world.settle();
    let shown = world.deployment(id);
    assert_eq!((shown.status, shown.reason.as_str()), (DeploymentStatus::Failed, "node_lost"));
    assert_eq!(shown.exit.as_ref().and_then(ring_types::ExitStatus::code), None);
    world.register(instance.node, 4000, 8000);
    world.settle();
    assert_eq!(world.instances(id)[0].goal, Goal::Run, "it is left alone, so that its end can be told");
    world.end(instance.id, Outcome::Code(0));
    world.settle();
    let shown = world.deployment(id);
    assert_eq!((shown.status, shown.reason.as_str()), (DeploymentStatus::Completed, ""));
    assert_eq!(world.instances(id).len(), 1);
}

#[test]
fn an_instance_its_lost_node_never_claimed_is_bound_anew() {
    let mut world = World::with_nodes(2);
    let id = world.create(job("j"));
    world.settle();
    let first = world.live(id)[0].clone();
    world.set_node(first.node, NodeStatus::Lost);
    world.settle();
    let live = world.live(id);
    assert_eq!(live.len(), 1);
    assert_ne!(live[0].node, first.node);
    assert_eq!(live[0].attempt, 1);
    assert_eq!(world.deployment(id).start_failures, 0);
}

/// A plan made before a claim was committed and applied after it, as a leader's that was slow: nothing of it may stop what
/// runs by now.
#[test]
fn a_late_plan_that_gives_up_an_instance_does_nothing_more_to_it() {
    let mut world = World::with_nodes(2);
    let id = world.create(job("j"));
    world.settle();
    let first = world.live(id)[0].clone();
    let claimed_before = world.state.clone();
    world.claim(first.id);
    world.set_node(first.node, NodeStatus::Lost);
    let claimed = std::mem::replace(&mut world.state, claimed_before);
    world.set_node(first.node, NodeStatus::Lost);
    let late = world.look();
    world.state = claimed;
    world.apply(ring_state::Command::Plan { actions: late.actions });
    let now = world.state.instance(first.id).unwrap();
    assert_eq!((now.state, now.goal), (InstanceState::Lost, Goal::Run));
    assert_eq!(world.instances(id).len(), 1);
}

#[test]
fn a_job_that_may_have_run_is_never_made_again() {
    for policy in [OnNodeLoss::Fail, OnNodeLoss::Reschedule] {
        let mut world = World::with_nodes(2);
        let id = world.create(ring_types::DeploymentSpec { on_node_loss: policy, ..job("j") });
        world.settle();
        let first = world.live(id)[0].clone();
        world.claim(first.id);
        world.set_node(first.node, NodeStatus::Lost);
        world.pass(Span::seconds(1000));
        world.settle();
        assert_eq!(world.instances(id).len(), 1);
        assert_eq!(world.deployment(id).reason, "node_lost");
    }
}

#[test]
fn a_job_that_waits_for_its_node_goes_on_when_it_returns() {
    let mut world = World::with_nodes(2);
    let id = world.create(ring_types::DeploymentSpec { on_node_loss: OnNodeLoss::Wait, ..job("j") });
    world.settle();
    world.run_all(id);
    let first = world.live(id)[0].clone();
    world.set_node(first.node, NodeStatus::Lost);
    world.settle();
    let shown = world.deployment(id);
    assert_eq!((shown.status, &shown.conditions[..]), (DeploymentStatus::Running, &[Condition::NodeUnreachable][..]));
    world.register(first.node, 4000, 8000);
    world.settle();
    assert!(world.deployment(id).conditions.is_empty());
    world.end(first.id, Outcome::Code(0));
    world.settle();
    assert_eq!(world.deployment(id).status, DeploymentStatus::Completed);
}

#[test]
fn a_removed_node_ends_a_job_with_an_unknown_exit() {
    let mut world = World::with_nodes(2);
    let id = world.create(job("j"));
    world.settle();
    world.run_all(id);
    let node = world.live(id)[0].node;
    world.apply(ring_state::Command::RemoveNode { node });
    world.settle();
    let shown = world.deployment(id);
    assert_eq!((shown.status, shown.reason.as_str()), (DeploymentStatus::Failed, "node_removed"));
    world.delete(id);
    world.settle();
    assert!(world.state.deployment(id).is_none());
}

#[test]
fn deleting_stops_then_forgets() {
    let mut world = World::with_nodes(1);
    let id = world.create(job("j"));
    world.settle();
    world.run_all(id);
    let instance = world.live(id)[0].id;
    world.delete(id);
    world.settle();
    assert_eq!(world.state.instance(instance).unwrap().goal, Goal::Remove);
    world.end(instance, Outcome::Signal { signal: 15, oom_killed: false });
    world.settle();
    assert!(world.state.deployment(id).is_some(), "its remains are still there");
    world.removed(instance);
    world.settle();
    assert!(world.state.deployment(id).is_none());
    assert!(world.state.instance(instance).is_none());
}

#[test]
fn a_deployment_on_a_lost_node_can_be_deleted() {
    let mut world = World::with_nodes(1);
    let id = world.create(job("j"));
    world.settle();
    world.run_all(id);
    let node = world.live(id)[0].node;
    world.set_node(node, NodeStatus::Lost);
    world.delete(id);
    world.settle();
    assert!(world.state.deployment(id).is_none());
}

#[test]
fn what_takes_its_place_waits_until_it_has_stopped() {
    let mut world = World::with_nodes(1);
    let old = world.create(job("j"));
    world.settle();
    world.run_all(old);
    let first = world.live(old)[0].id;
    world.delete(old);
    let middle = world.create(job("j"));
    world.settle();
    world.delete(middle);
    let new = world.create(job("j"));
    world.settle();
    assert!(world.live(new).is_empty(), "the first one still runs");
    assert_eq!(world.deployment(new).reason, "replacing");
    world.end(first, Outcome::Code(0));
    world.settle();
    assert_eq!(world.live(new).len(), 1);
    assert_eq!(world.deployment(new).status, DeploymentStatus::Creating);
    world.removed(first);
    world.settle();
    assert_eq!(world.state.deployments().count(), 1);
    assert_eq!(world.live(new)[0].state, InstanceState::Assigned);
}
