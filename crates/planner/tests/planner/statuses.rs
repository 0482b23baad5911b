//! Every status of a deployment is reachable, and here is how.

use std::collections::BTreeMap;

use ring_types::{
    CheckAction, DeploymentId, DeploymentSpec, DeploymentStatus, EnvValue, InstanceState, Outcome, Span, StartFailure,
};

use crate::world::{World, check, gated, job, needs, worker};

type Way = fn(&mut World) -> DeploymentId;

/// Makes a deployment and has its instance claimed and run.
fn running(world: &mut World, spec: DeploymentSpec) -> DeploymentId {
    let id = world.create(spec);
    world.settle();
    world.run_all(id);
    id
}

fn ends_with(world: &mut World, spec: DeploymentSpec, outcome: Outcome) -> DeploymentId {
    let id = running(world, spec);
    world.end(world.live(id)[0].id, outcome);
    id
}

fn fails_to_start(world: &mut World, cause: StartFailure) -> DeploymentId {
    let id = world.create(worker("w", 1));
    world.settle();
    world.fail_start(world.live(id)[0].id, cause);
    id
}

fn ways() -> BTreeMap<DeploymentStatus, Vec<(&'static str, Way)>> {
    use DeploymentStatus as S;
    let no_room: Way = |world| world.create(needs(worker("w", 1), 1, 100_000));
    let no_node: Way = |world| {
        let mut spec = worker("w", 1);
        spec.placement.nodes = vec!["elsewhere".to_owned()];
        world.create(spec)
    };
    let no_secret: Way = |world| {
        let mut spec = worker("w", 1);
        spec.environment.insert("KEY".to_owned(), EnvValue::Secret("absent".to_owned()));
        world.create(spec)
    };
    let late: Way = |world| {
        let old = running(world, gated("w", 1, "v1"));
        world.live(old).iter().for_each(|i| world.health(i.id, true, &[]));
        let new = world.create(gated("w", 1, "v2"));
        world.settle();
        world.pass(Span::seconds(1000));
        new
    };
    let stopped: Way = |world| {
        let health_checks = vec![check(false, CheckAction::Stop)];
        let id = running(world, DeploymentSpec { health_checks, ..worker("w", 1) });
        let instance = world.live(id)[0].id;
        world.health(instance, true, &[0]);
        world.settle();
        world.end(instance, Outcome::Code(0));
        id
    };
    let deleted: Way = |world| {
        let id = running(world, worker("w", 1));
        world.delete(id);
        id
    };
    let creating: Way = |world| world.create(worker("w", 1));
    BTreeMap::from([
        (S::Pending, vec![("", no_node)]),
        (S::Creating, vec![("", creating)]),
        (S::Running, vec![("", (|world| running(world, worker("w", 1))) as Way), ("", |world| running(world, job("j")))]),
        (S::Completed, vec![("", |world| ends_with(world, job("j"), Outcome::Code(0)))]),
        (
            S::Failed,
            vec![
                ("exit_code", (|world| ends_with(world, job("j"), Outcome::Code(3))) as Way),
                ("oom_killed", |world| ends_with(world, job("j"), Outcome::Signal { signal: 9, oom_killed: true })),
                ("rollout_deadline", late),
            ],
        ),
        (S::Deleted, vec![("", deleted)]),
        (S::CrashLoopBackOff, vec![("exit_code", |world| ends_with(world, worker("w", 1), Outcome::Code(127)))]),
        (
            S::ImagePullBackOff,
            vec![
                ("image_not_found", (|world| fails_to_start(world, StartFailure::ImageNotFound)) as Way),
                ("image_pull", |world| fails_to_start(world, StartFailure::ImagePull)),
            ],
        ),
        (S::CreateContainerError, vec![("create", |world| fails_to_start(world, StartFailure::Create))]),
        (S::NetworkError, vec![("network", |world| fails_to_start(world, StartFailure::Network))]),
        (S::ConfigError, vec![("config", no_secret), ("config", |world| fails_to_start(world, StartFailure::Config))]),
        (S::FileSystemError, vec![("file_system", |world| fails_to_start(world, StartFailure::FileSystem))]),
        (S::InsufficientResources, vec![("insufficient_resources", no_room)]),
        (S::Error, vec![("other", (|world| fails_to_start(world, StartFailure::Other)) as Way), ("stopped_by_check", stopped)]),
    ])
}

#[test]
fn each_status_is_reached() {
    let ways = ways();
    let missing: Vec<_> = DeploymentStatus::ALL.iter().filter(|status| !ways.contains_key(status)).collect();
    assert!(missing.is_empty(), "no way leads to {missing:?}");
    for (status, ways) in ways {
        for (reason, way) in ways {
            let mut world = World::with_nodes(1);
            let id = way(&mut world);
            world.settle();
            let shown = world.deployment(id);
            assert_eq!(shown.status, status, "{shown:?}");
            if !reason.is_empty() {
                assert_eq!(shown.reason, reason);
                assert!(!shown.message.is_empty(), "{status} says nothing");
            }
        }
    }
}

#[test]
fn a_worker_runs_only_when_its_process_was_seen_alive() {
    let mut world = World::with_nodes(1);
    let id = world.create(worker("w", 2));
    world.settle();
    let all = world.live(id);
    world.claim(all[0].id);
    world.settle();
    assert_eq!(world.deployment(id).status, DeploymentStatus::Creating, "claimed is not alive");
    world.run(all[1].id);
    world.settle();
    assert_eq!(world.deployment(id).status, DeploymentStatus::Running, "one of two is");
    assert_eq!(world.state.instance(all[0].id).unwrap().state, InstanceState::Claimed);
}

/// The image is there no longer, or never was: that is no crash, and burns no restart however long it lasts.
#[test]
fn a_definite_failure_to_start_burns_no_restarts() {
    for cause in [StartFailure::ImageNotFound, StartFailure::Config] {
        let mut world = World::with_nodes(1);
        let id = world.create(worker("w", 1));
        for _ in 0..12 {
            world.settle();
            let Some(instance) = world.live(id).first().map(|i| i.id) else { break };
            world.fail_start(instance, cause);
            world.now = world.settle().wake_at.unwrap();
        }
        world.settle();
        let shown = world.deployment(id);
        assert_eq!(shown.restart_count, 0);
        assert!(matches!(shown.status, DeploymentStatus::ImagePullBackOff | DeploymentStatus::ConfigError), "{shown:?}");
    }
}
