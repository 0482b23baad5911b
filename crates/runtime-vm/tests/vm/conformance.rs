//! What every driver has to do the same way.

use ring_runtime::conformance;

use crate::world::{Boots, World, is_root};

#[tokio::test(flavor = "multi_thread")]
async fn what_every_driver_does_this_one_does() {
    if !is_root() {
        return;
    }
    let world = World::new(Boots::Init);
    let runtime = world.open().await;
    let make = |command: &[&str]| world.workload(command);
    conformance::check(&runtime, &make).await;
    conformance::stats::a_limit(&runtime, &make).await;
    world.assert_no_process("");
}

/// Directories are served by a stand-in for virtiofsd, and mounted by the real init.
#[tokio::test(flavor = "multi_thread")]
async fn mounts_are_as_with_every_driver() {
    if !is_root() {
        return;
    }
    let world = World::new(Boots::Init);
    let runtime = world.open().await;
    let dir = world.dir.path().join("mounts");
    std::fs::create_dir(&dir).unwrap();
    conformance::mounts::check(&runtime, &|command| world.workload(command), &dir).await;
    world.assert_no_process("");
}
