//! Restart and rollback.

use ring_state::{Command, Outcome as Done, RefusalCode};
use ring_types::{DeploymentStatus, Outcome, Span};

use crate::rollouts::{get_ready, let_go, serving, wanted};
use crate::world::{World, gated, job, worker};

#[test]
fn a_rollback_goes_back_and_forth() {
    let mut world = World::with_nodes(1);
    let first = serving(&mut world, gated("w", 1, "v1"));
    let refused = world.follow(first, Command::RollbackDeployment).unwrap_err();
    assert_eq!(refused.code, RefusalCode::Invalid);
    let second = world.create(gated("w", 1, "v2"));
    world.settle();
    get_ready(&mut world, second);
    let_go(&mut world, first);
    world.create(gated("w", 2, "v2"));
    world.settle();
    get_ready(&mut world, second);
    let back = world.follow(second, Command::RollbackDeployment).unwrap();
    assert_eq!(back.outcome, Done::Updated(second));
    let now = world.deployment(back.id);
    assert_eq!((now.spec.image.as_str(), now.spec.replicas), ("v1", 2), "as many as there are now");
    for _ in 0..3 {
        world.settle();
        get_ready(&mut world, back.id);
        let_go(&mut world, second);
    }
    assert!(world.state.deployment(second).is_none());
    let forth = world.follow(back.id, Command::RollbackDeployment).unwrap();
    assert_eq!(world.deployment(forth.id).spec.image, "v2");
}

#[test]
fn a_rollback_during_an_update_calls_it_off() {
    for of_child in [true, false] {
        let mut world = World::with_nodes(1);
        let old = serving(&mut world, gated("w", 1, "v1"));
        let new = world.create(gated("w", 1, "v2"));
        world.settle();
        let back = world.follow(if of_child { new } else { old }, Command::RollbackDeployment).unwrap();
        assert_eq!((back.id, back.outcome), (old, Done::Restored(new)));
        world.settle();
        let_go(&mut world, new);
        assert!(world.state.deployment(new).is_none());
        assert_eq!(wanted(&world, old), 1);
    }
}

#[test]
fn a_restart_makes_new_instances_of_the_same() {
    let mut world = World::with_nodes(1);
    let plain = world.create(worker("plain", 2));
    world.settle();
    world.run_all(plain);
    let restarted = world.follow(plain, Command::RestartDeployment).unwrap();
    assert_eq!(restarted.outcome, Done::Updated(plain), "without checks too one at a time");
    assert_eq!(world.follow(plain, Command::RestartDeployment).unwrap_err().code, RefusalCode::Conflict);
    for _ in 0..2 {
        world.settle();
        world.run_all(restarted.id);
        world.pass(Span::seconds(10));
        world.settle();
        let_go(&mut world, plain);
    }
    assert!(world.state.deployment(plain).is_none());
    assert_eq!(wanted(&world, restarted.id), 2);
    let job = world.create(job("j"));
    world.settle();
    assert_eq!(world.follow(job, Command::RestartDeployment).unwrap_err().code, RefusalCode::Invalid);
}

#[test]
fn a_restart_leaves_a_crash_loop() {
    let mut world = World::with_nodes(1);
    let id = world.create(worker("w", 1));
    world.settle();
    world.run_all(id);
    world.end(world.live(id)[0].id, Outcome::Code(127));
    world.settle();
    assert_eq!(world.deployment(id).status, DeploymentStatus::CrashLoopBackOff);
    let again = world.follow(id, Command::RestartDeployment).unwrap();
    assert_eq!(again.outcome, Done::Replaced(id));
    world.settle();
    assert_eq!((wanted(&world, again.id), world.deployment(again.id).restart_count), (1, 0));
}
