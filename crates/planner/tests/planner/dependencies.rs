//! Deployments that wait for others.

use std::collections::BTreeSet;

use ring_planner::{Waiting, affected};
use ring_state::{RowKey, State};
use ring_types::{
    Condition, Dependency, DependencyCondition, DeploymentId, DeploymentSpec, DeploymentStatus, HealthCheck, Outcome, Span,
};

use crate::world::{World, creates, job, worker};

fn after(spec: DeploymentSpec, name: &str, condition: DependencyCondition) -> DeploymentSpec {
    DeploymentSpec { depends_on: vec![Dependency { deployment: name.to_owned(), condition }], ..spec }
}

fn completed(spec: DeploymentSpec, name: &str) -> DeploymentSpec {
    after(spec, name, DependencyCondition::Completed)
}

fn runs(spec: DeploymentSpec, name: &str) -> DeploymentSpec {
    after(spec, name, DependencyCondition::Running)
}

fn reason(world: &World, id: DeploymentId) -> (DeploymentStatus, String) {
    (world.deployment(id).status, world.deployment(id).reason.clone())
}

fn finish(world: &mut World, id: DeploymentId, code: i32) {
    world.settle();
    world.run_all(id);
    let instance = world.live(id)[0].id;
    world.end(instance, Outcome::Code(code));
}

/// The deployments a change concerns.
fn woken(world: &mut World, change: impl FnOnce(&mut World)) -> BTreeSet<DeploymentId> {
    let before = world.state.clone();
    change(world);
    let rows = |state: &State| state.rows().map(|row| (row.key(), row)).collect::<std::collections::BTreeMap<_, _>>();
    let (old, new) = (rows(&before), rows(&world.state));
    let all: BTreeSet<&RowKey> = old.keys().chain(new.keys()).collect();
    let keys: Vec<RowKey> = all.into_iter().filter(|key| old.get(key) != new.get(key)).cloned().collect();
    affected(&before, &keys, &world.state, &mut Waiting::of(&before))
}

#[test]
fn a_worker_starts_when_the_job_before_it_has_completed() {
    let mut world = World::with_nodes(1);
    let migrate = world.create(job("migrate"));
    let api = world.create(completed(worker("api", 2), "migrate"));
    world.settle();
    assert_eq!(world.live(api).len(), 0);
    let shown = world.deployment(api);
    assert_eq!((shown.status, shown.reason.as_str()), (DeploymentStatus::Pending, "dependency_waiting"));
    assert_eq!(shown.conditions, [Condition::Waiting]);
    assert_eq!(shown.message, "waits until 'migrate' has completed");
    world.run_all(migrate);
    world.settle();
    assert_eq!(world.live(api).len(), 0, "running is not completed");
    let instance = world.live(migrate)[0].id;
    world.end(instance, Outcome::Code(0));
    assert!(woken(&mut world, |w| drop(w.step())).contains(&api));
    world.settle();
    assert_eq!(world.live(api).len(), 2);
    assert!(world.deployment(api).conditions.is_empty());
}

#[test]
fn a_failed_job_is_told_and_heals_when_it_is_applied_again() {
    let mut world = World::with_nodes(1);
    let migrate = world.create(job("migrate"));
    let api = world.create(completed(worker("api", 1), "migrate"));
    let front = world.create(runs(worker("front", 1), "api"));
    finish(&mut world, migrate, 3);
    world.settle();
    world.settle();
    assert_eq!(reason(&world, api), (DeploymentStatus::Pending, "dependency_failed".to_owned()));
    let message = world.deployment(api).message.clone();
    assert!(message.contains("'migrate', which is failed (exited with code 3): put it right and apply it again"), "{message}");
    assert_eq!(reason(&world, front), (DeploymentStatus::Pending, "dependency_failed".to_owned()), "so does what waits for it");
    let mut again = None;
    let found = woken(&mut world, |w| again = Some(w.create(DeploymentSpec { image: "img:2".to_owned(), ..job("migrate") })));
    assert!(found.contains(&api));
    world.settle();
    assert_eq!(reason(&world, api), (DeploymentStatus::Pending, "dependency_waiting".to_owned()));
    finish(&mut world, again.unwrap(), 0);
    world.settle();
    world.run_all(api);
    world.settle();
    assert_eq!((world.live(api).len(), world.live(front).len()), (1, 1));
}

#[test]
fn an_unknown_name_is_told_and_heals_when_it_appears() {
    let mut world = World::with_nodes(1);
    let api = world.create(completed(worker("api", 1), "migrate"));
    world.settle();
    assert_eq!(reason(&world, api), (DeploymentStatus::Pending, "dependency_missing".to_owned()));
    assert!(world.deployment(api).message.contains("'migrate', which does not exist in namespace 'ns'"));
    let mut migrate = None;
    assert!(woken(&mut world, |w| migrate = Some(w.create(job("migrate")))).contains(&api));
    finish(&mut world, migrate.unwrap(), 0);
    world.settle();
    assert_eq!(world.live(api).len(), 1);
}

#[test]
fn running_means_ready_where_there_is_a_gate() {
    let mut world = World::with_nodes(1);
    let gate = HealthCheck {
        kind: ring_types::CheckKind::Tcp { port: 1 },
        interval: Span::seconds(1),
        timeout: Span::seconds(1),
        threshold: 1,
        on_failure: ring_types::CheckAction::Alert,
        readiness: true,
        min_healthy_time: Span::ZERO,
        start_period: Span::ZERO,
    };
    let db = world.create(DeploymentSpec { health_checks: vec![gate], ..worker("db", 1) });
    let api = world.create(runs(worker("api", 1), "db"));
    world.settle();
    world.run_all(db);
    assert_eq!(world.live(api).len(), 0, "it runs, and is not ready");
    assert_eq!(world.deployment(api).message, "waits until 'db' runs and is ready");
    let instance = world.live(db)[0].id;
    assert!(woken(&mut world, |w| w.ready(instance)).contains(&api));
    world.settle();
    assert_eq!(world.live(api).len(), 1);
}

#[test]
fn what_has_begun_does_not_wait_again() {
    let mut world = World::with_nodes(1);
    let db = world.create(worker("db", 1));
    let api = world.create(runs(worker("api", 1), "db"));
    world.settle();
    world.run_all(db);
    world.settle();
    world.run_all(api);
    world.delete(db);
    let instance = world.live(api)[0].id;
    world.end(instance, Outcome::Code(1));
    world.now = world.settle().wake_at.unwrap();
    assert_eq!(creates(&world.step()), 1, "a restart asks for nothing");
}

#[test]
fn a_job_that_is_tried_again_is_still_waited_for() {
    let mut world = World::with_nodes(1);
    let migrate = world.create(DeploymentSpec { retries: 1, ..job("migrate") });
    let api = world.create(completed(worker("api", 1), "migrate"));
    finish(&mut world, migrate, 1);
    world.now = world.settle().wake_at.unwrap();
    assert_eq!(reason(&world, api).1, "dependency_waiting");
    finish(&mut world, migrate, 0);
    world.settle();
    assert_eq!(world.live(api).len(), 1);
}

#[test]
fn a_worker_that_is_to_complete_is_a_mistake_that_is_told() {
    let mut world = World::with_nodes(1);
    world.create(worker("db", 1));
    let api = world.create(completed(worker("api", 1), "db"));
    world.settle();
    assert_eq!(reason(&world, api).1, "dependency_failed");
    assert!(world.deployment(api).message.contains("set condition to running"));
}

#[test]
fn what_waits_can_be_deleted() {
    let mut world = World::with_nodes(1);
    let api = world.create(completed(job("api"), "migrate"));
    world.settle();
    world.delete(api);
    world.settle();
    assert!(world.state.deployment(api).is_none());
}
