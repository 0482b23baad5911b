//! Disk images: a script stands for what is on one.

use std::path::PathBuf;

use ring_runtime::{ExecRequest, Observed, Runtime, RuntimeErrorKind, Workload};
use ring_runtime_vm::VmRuntime;
use ring_types::{Outcome, Span, StartFailure, UnknownExit};
use rustix::process::Signal;

use crate::world::{Boots, FOLLOW, World, launch, outcome, printed, swept, texts, within};

const LOST: Outcome = Outcome::Unknown(UnknownExit::VmLost);

fn image(world: &World, script: &str) -> (PathBuf, Workload) {
    let path = world.dir.path().join(format!("{}.raw", uuid::Uuid::new_v4()));
    std::fs::write(&path, script).unwrap();
    let mut job = world.shell("is not run");
    std::sync::Arc::make_mut(&mut job.spec).image = path.display().to_string();
    (path, job)
}

/// Shut down from inside is success; a reset, a panic and a VMM that is gone are not.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_what_the_vmm_saw() {
    let world = World::new(Boots::Nobody);
    let runtime = world.open().await;
    for (script, expected) in [("exit 0", Outcome::Code(0)), ("exit 7", Outcome::Code(0)), ("exit 100", LOST), ("exit 101", LOST)]
    {
        let (_, job) = image(&world, script);
        launch(&runtime, &job).await;
        assert_eq!(outcome(&runtime, job.instance).await, expected, "{script}");
        swept(&world, &runtime, job.instance).await;
        runtime.start(job.instance).await.unwrap();
        runtime.remove(job.instance).await.unwrap();
    }
    for signal in [Signal::KILL, Signal::TERM] {
        let (_, job) = image(&world, "echo up; sleep 1000");
        launch(&runtime, &job).await;
        printed(&runtime, job.instance, "up").await;
        world.kill_vmm(job.instance, signal);
        assert_eq!(outcome(&runtime, job.instance).await, LOST, "{signal:?}");
    }
    // Somebody ends the VMM in order: its guest is off, and not by itself.
    let (_, job) = image(&world, "echo up; sleep 1000");
    launch(&runtime, &job).await;
    printed(&runtime, job.instance, "up").await;
    assert!(world.ask(job.instance, "vmm.shutdown").contains("200 OK"));
    assert_eq!(outcome(&runtime, job.instance).await, LOST);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_console_is_its_output() {
    let world = World::new(Boots::Nobody);
    let runtime = world.open().await;
    let (_, job) = image(&world, "printf 'one\\r\\ntwo\\r\\n'; echo three >&2; printf four");
    launch(&runtime, &job).await;
    assert_eq!(texts(&runtime, job.instance, FOLLOW).await, ["one", "two", "four"]);
}

/// Each instance writes to its own copy.
#[tokio::test(flavor = "multi_thread")]
async fn the_image_stays_as_it_is() {
    let world = World::new(Boots::Nobody);
    let runtime = world.open().await;
    let script = "echo '# written' >> \"$0\"; exit 0\n";
    let (path, job) = image(&world, script);
    launch(&runtime, &job).await;
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(0));
    assert_eq!(std::fs::read_to_string(path).unwrap(), script);
    assert!(std::fs::read_to_string(world.file(job.instance, "disk.raw")).unwrap().contains("# written"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_power_button_comes_before_the_plug() {
    let world = World::new(Boots::Nobody);
    let runtime = world.open().await;
    let (_, polite) = image(&world, "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done");
    let (_, deaf) = image(&world, "trap '' TERM; echo up; while :; do sleep 0.05; done");
    for (job, expected) in [(&polite, Outcome::Code(0)), (&deaf, Outcome::Signal { signal: 9, oom_killed: false })] {
        launch(&runtime, job).await;
        printed(&runtime, job.instance, "up").await;
        within(runtime.stop(job.instance, Span::seconds(2))).await.unwrap();
        assert_eq!(outcome(&runtime, job.instance).await, expected);
        world.assert_swept(job.instance);
    }
}

/// Shut down from inside while no agent is there; and still running when the next one comes.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_found_again() {
    let world = World::new(Boots::Nobody);
    let first = world.open().await;
    let (_, brief) = image(&world, "echo up; while [ ! -e \"$0.go\" ]; do sleep 0.01; done; echo done");
    let (_, long) = image(&world, "trap 'exit 0' TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done");
    for (job, line) in [(&brief, "up"), (&long, "3")] {
        launch(&first, job).await;
        printed(&first, job.instance, line).await;
    }
    drop(first);
    std::fs::write(world.file(brief.instance, "disk.raw.go"), "").unwrap();
    let second = world.open().await;
    assert_eq!(outcome(&second, brief.instance).await, Outcome::Code(0));
    assert_eq!(texts(&second, brief.instance, FOLLOW).await, ["up", "done"]);
    assert!(matches!(second.inspect(long.instance).await.unwrap(), Observed::Running { .. }));
    second.stop(long.instance, Span::seconds(20)).await.unwrap();
    let told = texts(&second, long.instance, FOLLOW).await;
    let expected: Vec<String> = (1..=told.len()).map(|i| i.to_string()).collect();
    assert_eq!(told, expected, "a line is missing or doubled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vmm_that_refuses_to_boot_it_has_not_run_it() {
    let world = World::with(Boots::Nobody, &["refuse-boot"]);
    let runtime = world.open().await;
    let (_, job) = image(&world, "exit 0");
    launch(&runtime, &job).await;
    let ended = outcome(&runtime, job.instance).await;
    assert!(
        matches!(&ended, Outcome::NotStarted { cause: StartFailure::Create, message } if message.contains("told to refuse")),
        "{ended:?}"
    );
    world.assert_swept(job.instance);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_inside_runs_commands() {
    let world = World::new(Boots::Nobody);
    let runtime = world.open().await;
    let (_, job) = image(&world, "trap 'exit 0' TERM; while :; do sleep 0.05; done");
    launch(&runtime, &job).await;
    let request = ExecRequest { command: vec!["true".to_owned()], ..ExecRequest::default() };
    let refused = runtime.exec(job.instance, request).await.err().unwrap();
    assert_eq!(refused.kind, RuntimeErrorKind::Other);
    assert!(refused.message.contains("disk image"), "{refused}");
    assert!(runtime.stats(job.instance).await.unwrap().memory.0 > 0);
    runtime.stop(job.instance, Span::seconds(20)).await.unwrap();
}

/// With images from engines and registries, which nobody asks for here, and our init for guests.
#[tokio::test(flavor = "multi_thread")]
async fn the_runtime_of_the_product_opens_and_opens_again() {
    let world = World::new(Boots::Nobody);
    for _ in 0..2 {
        let runtime = VmRuntime::new(world.config.clone()).await.unwrap();
        let (_, job) = image(&world, "exit 0");
        launch(&runtime, &job).await;
        assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(0));
        swept(&world, &runtime, job.instance).await;
    }
    let written: Vec<_> = std::fs::read_dir(world.config.data_dir.join("boot")).unwrap().collect();
    assert_eq!(written.len(), 1, "{written:?}");
}
