//! Nothing is left of what has been.

use ring_runtime::{Observed, Runtime};
use ring_types::Outcome;

use crate::world::{Boots, World, is_root, launch, outcome};

/// So many instances live and go, some at a time.
const LIVES: usize = 200;

const AT_ONCE: usize = 4;

fn count(dir: impl AsRef<std::path::Path>) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

async fn live(world: &World, runtime: &ring_runtime_vm::VmRuntime, number: usize) {
    let code = i32::try_from(number % 100).unwrap();
    let job = world.shell(&format!("echo out; echo err >&2; exit {code}"));
    launch(runtime, &job).await;
    assert_eq!(outcome(runtime, job.instance).await, Outcome::Code(code));
    runtime.remove(job.instance).await.unwrap();
    assert_eq!(runtime.inspect(job.instance).await.unwrap(), Observed::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_lives_leave_nothing() {
    if !is_root() {
        return;
    }
    let world = World::new(Boots::Init);
    let runtime = world.open().await;
    // The first has what is made once made.
    live(&world, &runtime, 0).await;
    let descriptors = count("/proc/self/fd");
    let begun = std::time::Instant::now();
    for round in 0..LIVES / AT_ONCE {
        let lives = (0..AT_ONCE).map(|n| live(&world, &runtime, round * AT_ONCE + n));
        futures::future::join_all(lives).await;
    }
    println!("{LIVES} lives, {AT_ONCE} at once, in {:?}", begun.elapsed());
    world.assert_no_process("");
    for dir in [&world.config.socket_dir, &world.config.data_dir.join("instances")] {
        assert_eq!(count(dir), 0, "{} is not empty", dir.display());
    }
    // Those of tests beside this one come and go; what leaks grows with every life.
    let left = count("/proc/self/fd").saturating_sub(descriptors);
    assert!(left < LIVES / 4, "{left} descriptors are left of {LIVES} lives");
}
