//! A guest that writes more on its console than anybody reads.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ring_runtime::{Observed, Runtime, Workload};
use ring_runtime_host::notice::Notice;
use ring_types::{Outcome, Span};
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{Boots, FOLLOW, World, launch, outcome, printed, texts, within};

/// What a console may take of the disk, bytes: what is kept, and what is given back at once.
const ROOM: u64 = (16 + 2) << 20;

/// Waits until this is so, by what happens in a directory.
async fn seen(dir: &Path, so: impl Fn() -> bool) {
    let notice = Notice::of([dir]);
    within(async {
        while !so() {
            notice.changed().await;
        }
    })
    .await;
}

/// A disk image that waits for a word, floods its console with 64 MiB, and goes on.
fn flood(world: &World) -> Workload {
    let script = "trap 'exit 0' TERM; echo up; while [ ! -e \"$0.go\" ]; do sleep 0.01; done; \
                  yes \"$(printf %01000d 7)\" | head -c 67108864; echo; echo done; : > \"$0.done\"; \
                  while :; do sleep 0.05; done";
    let path: PathBuf = world.dir.path().join("flood.raw");
    std::fs::write(&path, script).unwrap();
    let mut job = world.shell("is not run");
    std::sync::Arc::make_mut(&mut job.spec).image = path.display().to_string();
    job
}

fn room(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().blocks() * 512
}

/// The keepers of this world.
fn keepers(world: &World) -> Vec<Pid> {
    let mark = world.dir.path().display().to_string();
    let all = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        let line = String::from_utf8_lossy(&std::fs::read(entry.path().join("cmdline")).ok()?).into_owned();
        (line.contains("--standin-keeper") && line.contains(&mark)).then_some(pid)
    });
    all.collect()
}

/// Nobody is there; what it takes of the disk is bounded all the same, and nothing stops or is lost that is newer.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_that_nobody_reads_is_bounded_and_the_guest_goes_on() {
    let world = World::new(Boots::Nobody);
    let first = world.open().await;
    let job = flood(&world);
    launch(&first, &job).await;
    printed(&first, job.instance, "up").await;
    drop(first);
    let file = |name: &str| world.file(job.instance, name);
    std::fs::write(file("disk.raw.go"), "").unwrap();
    seen(&file(""), || file("disk.raw.done").exists()).await;
    let console = file("run/console");
    seen(&file("run"), || room(&console) <= ROOM).await;
    assert!(std::fs::metadata(&console).unwrap().len() > 64 << 20, "it was not written whole");
    let second = world.open().await;
    assert!(matches!(second.inspect(job.instance).await.unwrap(), Observed::Running { .. }));
    printed(&second, job.instance, "done").await;
    second.stop(job.instance, Span::seconds(20)).await.unwrap();
    assert_eq!(outcome(&second, job.instance).await, Outcome::Code(0));
    let told = texts(&second, job.instance, FOLLOW).await;
    let missing = told.iter().position(|line| line.starts_with("[ring: ") && line.ends_with("bytes of output are missing]"));
    assert!(missing.is_some(), "nobody says that something is missing: {:?}", told.first());
    assert!(told.len() > 10_000, "{} lines are left", told.len());
    world.assert_swept(job.instance);
    assert!(keepers(&world).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_was_killed_is_replaced_by_the_next_agent() {
    let world = World::new(Boots::Nobody);
    let first = world.open().await;
    let job = flood(&world);
    launch(&first, &job).await;
    printed(&first, job.instance, "up").await;
    let [keeper] = keepers(&world)[..] else { panic!("one keeper for one VMM") };
    kill_process(keeper, Signal::KILL).unwrap();
    world.assert_no_process("--standin-keeper");
    assert!(matches!(first.inspect(job.instance).await.unwrap(), Observed::Running { .. }), "its guest does not care");
    drop(first);
    let second = world.open().await;
    printed(&second, job.instance, "up").await;
    assert_eq!(keepers(&world).len(), 1);
    drop(second);
    let third = world.open().await;
    printed(&third, job.instance, "up").await;
    assert_eq!(keepers(&world).len(), 1, "one is enough");
    third.stop(job.instance, Span::seconds(20)).await.unwrap();
    world.assert_swept(job.instance);
}
