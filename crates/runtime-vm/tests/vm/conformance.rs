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
    conformance::check(&runtime, &|command| world.workload(command)).await;
    world.assert_no_process("");
}
