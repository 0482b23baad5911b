//! What rolling updates and autoscaling ask of a driver: two instances of a deployment beside each other, the old one there until
//! the new one is ready, and figures of each.

use ring_runtime::conformance::exec;
use ring_runtime::{InstanceStats, Observed, Runtime};
use ring_runtime_vm::VmRuntime;
use ring_types::{InstanceId, Memory, Outcome, Span};

use crate::world::{Boots, World, is_root, launch, outcome, swept, within};

/// A command health check, as the agent runs it.
async fn is_ready(runtime: &VmRuntime, instance: InstanceId) -> bool {
    within(exec::run(runtime, instance, &["sh", "-c", "test -e /ready"])).await.2 == 0
}

async fn measured(runtime: &VmRuntime, instance: InstanceId) -> InstanceStats {
    within(runtime.stats(instance)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_instance_serves_until_the_new_one_is_ready() {
    if !is_root() {
        return;
    }
    let world = World::new(Boots::Init);
    let runtime = world.open().await;
    let old = world.shell("trap 'exit 0' TERM; while :; do sleep 0.05; done");
    let new = world.shell(
        "while [ ! -e /go ]; do sleep 0.01; done; : > /ready; \
         trap 'exit 0' TERM; while :; do sleep 0.05; done",
    );
    launch(&runtime, &old).await;
    launch(&runtime, &new).await;
    assert!(!is_ready(&runtime, new.instance).await, "it runs, and is not ready");
    within(exec::run(&runtime, new.instance, &["sh", "-c", ": > /go"])).await;
    within(async { while !is_ready(&runtime, new.instance).await {} }).await;
    let (first, before) = (measured(&runtime, old.instance).await, measured(&runtime, new.instance).await);
    assert!(first.at.0 > 0 && before.memory.0 > 0);
    within(runtime.stop(old.instance, Span::seconds(20))).await.unwrap();
    assert_eq!(outcome(&runtime, old.instance).await, Outcome::Code(0));
    swept(&world, &runtime, old.instance).await;
    assert!(runtime.stats(old.instance).await.is_err(), "what has ended uses nothing");
    assert!(matches!(runtime.inspect(new.instance).await.unwrap(), Observed::Running { .. }));
    assert!(is_ready(&runtime, new.instance).await);
    let after = measured(&runtime, new.instance).await;
    assert!(after.cpu_time_us >= before.cpu_time_us && after.at >= before.at, "{after:?} comes after {before:?}");
    within(runtime.stop(new.instance, Span::seconds(20))).await.unwrap();
}

/// An autoscaler divides what is used by what was asked for: the one is of this instance alone, whatever its neighbours do.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_instance_is_told_from_an_idle_one() {
    if !is_root() {
        return;
    }
    let world = World::new(Boots::Init);
    let runtime = world.open().await;
    let idle = world.shell("trap 'exit 0' TERM; while :; do sleep 0.05; done");
    let mut busy = world.shell("while :; do :; done");
    let limits = &mut std::sync::Arc::make_mut(&mut busy.spec).resources.limits;
    limits.memory = Some(Memory(96 << 20));
    launch(&runtime, &idle).await;
    launch(&runtime, &busy).await;
    let begun = measured(&runtime, idle.instance).await;
    let first = measured(&runtime, busy.instance).await;
    let worked = within(async {
        loop {
            let next = measured(&runtime, busy.instance).await;
            if next.cpu_time_us > first.cpu_time_us + 300_000 {
                return next.cpu_time_us - first.cpu_time_us;
            }
        }
    })
    .await;
    let slept = measured(&runtime, idle.instance).await.cpu_time_us - begun.cpu_time_us;
    assert!(slept < worked / 2, "an idle instance used {slept} µs where a busy one used {worked} µs");
    assert_eq!((first.memory_limit, begun.memory_limit), (Some(Memory(96 << 20)), None));
    for instance in [idle.instance, busy.instance] {
        within(runtime.stop(instance, Span::ZERO)).await.unwrap();
    }
}
