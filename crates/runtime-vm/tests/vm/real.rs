//! The runtime with the real VMM, and the least a guest can be.
//!
//! Needs `/dev/kvm`, a C compiler, and Cloud Hypervisor: `RING_TEST_CLOUD_HYPERVISOR`, or `cloud-hypervisor` in PATH.
#![cfg(target_arch = "x86_64")]

use ring_runtime::{Observed, Runtime, RuntimeErrorKind};
use ring_types::{Outcome, Span, StartFailure};

use crate::tiny;
use crate::world::{Boots, World, launch, outcome, swept, within};

/// None, with a word on why, where there is no VMM or it cannot be used.
fn world(cmdline: &str) -> Option<World> {
    let program = tiny::usable()?;
    let mut world = World::new(Boots::Nobody);
    std::fs::write(world.dir.path().join("root.ext4"), vec![0; 1 << 20]).unwrap();
    world.config.kernel = Some(tiny::kernel(world.dir.path())?);
    world.config.binary = program;
    world.config.kvm = "/dev/kvm".into();
    cmdline.clone_into(&mut world.config.cmdline);
    Some(world)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_comes_through_and_nothing_is_left() {
    for code in [0, 42] {
        let Some(world) = world(&format!("exit={code}")) else { return };
        let runtime = world.open().await;
        let job = world.shell("is not run");
        let begun = std::time::Instant::now();
        launch(&runtime, &job).await;
        assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(code));
        println!("from prepare to code {code}: {:?}", begun.elapsed());
        swept(&world, &runtime, job.instance).await;
        let console = std::fs::read_to_string(world.file(job.instance, "run/console")).unwrap();
        assert!(console.contains("tiny guest"), "{console}");
        runtime.remove(job.instance).await.unwrap();
        world.assert_no_process(&job.instance.to_string());
    }
}

/// The guest is off, or begins anew, before it has said a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_says_nothing_was_not_started() {
    for (cmdline, told) in [("mute", "the VMM ended"), ("reset", "the guest was reset")] {
        let Some(world) = world(cmdline) else { return };
        let runtime = world.open().await;
        let job = world.shell("is not run");
        runtime.prepare(&job).await.unwrap();
        let error = within(runtime.start(job.instance)).await.unwrap_err();
        assert_eq!(error.kind, RuntimeErrorKind::Start(StartFailure::Create), "{error}");
        assert!(error.message.contains(told), "{cmdline}: {error}");
        assert_eq!(runtime.inspect(job.instance).await.unwrap(), Observed::Created);
        runtime.stop(job.instance, Span::ZERO).await.unwrap();
        world.assert_swept(job.instance);
    }
}

/// As a disk image, by the kernel: shut down from inside.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_image_that_goes_off_has_completed() {
    let Some(world) = world("mute") else { return };
    let runtime = world.open().await;
    let mut job = world.shell("is not run");
    std::sync::Arc::make_mut(&mut job.spec).image = world.dir.path().join("root.ext4").display().to_string();
    launch(&runtime, &job).await;
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(0));
    swept(&world, &runtime, job.instance).await;
}
