//! A VMM that does not do what it should.

use ring_runtime::{Observed, Runtime, RuntimeErrorKind};
use ring_types::{Memory, NetworkMode, Outcome, Span, StartFailure, UnknownExit};
use rustix::process::Signal;
use std::sync::Arc;

use crate::world::{Boots, FOLLOW, FOREVER, World, is_root, launch, outcome, printed, swept, texts, within};

const LOST: Outcome = Outcome::Unknown(UnknownExit::VmLost);

/// Whatever ends a guest without a word of how its workload ended: it is lost, said so in its log, and never run again.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_is_gone_without_a_word_is_lost() {
    if !is_root() {
        return;
    }
    type Act = fn(&World, ring_types::InstanceId);
    let cases: [(&str, Act); 4] = [
        ("the VMM ended", |world, instance| world.kill_vmm(instance, Signal::KILL)),
        ("the VMM ended", |world, instance| world.kill_vmm(instance, Signal::TERM)),
        ("the guest was reset", |world, instance| world.call(instance, "test.reboot")),
        ("kernel panicked", |world, instance| world.call(instance, "test.panic")),
    ];
    for (told, act) in cases {
        let world = World::new(Boots::Init);
        let runtime = world.open().await;
        let job = world.shell(&format!("echo ran; {FOREVER}"));
        launch(&runtime, &job).await;
        printed(&runtime, job.instance, "ready").await;
        act(&world, job.instance);
        assert_eq!(outcome(&runtime, job.instance).await, LOST, "{told}");
        swept(&world, &runtime, job.instance).await;
        runtime.start(job.instance).await.unwrap();
        let log = texts(&runtime, job.instance, FOLLOW).await;
        assert_eq!(log.iter().filter(|line| *line == "ran").count(), 1, "it ran again: {log:?}");
        assert!(log.last().unwrap().contains(told), "{log:?}");
        runtime.remove(job.instance).await.unwrap();
        world.assert_no_process("");
    }
}

/// The same while no agent is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_was_lost_meanwhile_is_lost() {
    if !is_root() {
        return;
    }
    let world = World::new(Boots::Init);
    let first = world.open().await;
    let (killed, reset) = (world.shell(FOREVER), world.shell(FOREVER));
    for job in [&killed, &reset] {
        launch(&first, job).await;
        printed(&first, job.instance, "ready").await;
    }
    drop(first);
    world.kill_vmm(killed.instance, Signal::KILL);
    assert!(world.ask(reset.instance, "test.reboot").contains("204"));
    let second = world.open().await;
    for job in [&killed, &reset] {
        assert_eq!(outcome(&second, job.instance).await, LOST);
        swept(&world, &second, job.instance).await;
    }
}

/// Nothing was executed, nothing is left, and the error says what the VMM said.
#[tokio::test(flavor = "multi_thread")]
async fn a_vmm_that_cannot_boot_has_started_nothing() {
    let cases = [
        ("die-on-start", "told to die at once", RuntimeErrorKind::Start(StartFailure::Create)),
        ("refuse-create", "told to refuse the VM", RuntimeErrorKind::Start(StartFailure::Create)),
        ("refuse-boot", "told to refuse to boot", RuntimeErrorKind::Start(StartFailure::Create)),
        ("die-on-boot", "vm.boot", RuntimeErrorKind::Unavailable),
        ("hang-api", "has not answered", RuntimeErrorKind::Unavailable),
        ("hang-boot", "vm.boot: the VMM has not answered", RuntimeErrorKind::Unavailable),
    ];
    for (fault, told, kind) in cases {
        let mut world = World::with(Boots::Nobody, &[fault]);
        world.config.patience.call = std::time::Duration::from_secs(1);
        world.config.patience.boot = std::time::Duration::from_secs(1);
        let runtime = world.open().await;
        let job = world.shell("true");
        runtime.prepare(&job).await.unwrap();
        let error = within(runtime.start(job.instance)).await.unwrap_err();
        assert!(error.message.contains(told), "{fault}: {error}");
        assert_eq!(error.kind, kind, "{fault}: {error}");
        assert_eq!(runtime.inspect(job.instance).await.unwrap(), Observed::Created, "{fault}");
        world.assert_swept(job.instance);
        runtime.remove(job.instance).await.unwrap();
    }
}

/// A VMM that did not answer may answer the next time.
#[tokio::test(flavor = "multi_thread")]
async fn what_failed_for_now_can_be_started_later() {
    if !is_root() {
        return;
    }
    let mut world = World::with(Boots::Init, &["hang-api"]);
    world.config.patience.call = std::time::Duration::from_millis(500);
    let job = world.shell("exit 5");
    let runtime = world.open().await;
    runtime.prepare(&job).await.unwrap();
    assert!(within(runtime.start(job.instance)).await.unwrap_err().retryable());
    world.install(Boots::Init, &[]);
    within(runtime.start(job.instance)).await.unwrap();
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vmm_that_stays_is_killed() {
    if !is_root() {
        return;
    }
    let world = World::with(Boots::Init, &["stay-after-shutdown"]);
    let runtime = world.open().await;
    let job = world.shell(FOREVER);
    launch(&runtime, &job).await;
    printed(&runtime, job.instance, "ready").await;
    within(runtime.stop(job.instance, Span::seconds(30))).await.unwrap();
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(4));
    world.assert_swept(job.instance);
}

/// A hung VMM can be stopped, and what was seen is told: we ended it.
#[tokio::test(flavor = "multi_thread")]
async fn a_vmm_that_hangs_is_stopped_all_the_same() {
    let world = World::new(Boots::Nobody);
    let job = world.shell("true");
    let runtime = Arc::new(world.open().await);
    runtime.prepare(&job).await.unwrap();
    let starting = tokio::spawn({
        let runtime = Arc::clone(&runtime);
        async move { runtime.start(job.instance).await }
    });
    let (mut guest, _) = crate::guest::Played::greet(&world, job.instance, "a", ring_guest::State::Waiting).await;
    guest.order().await;
    guest.started().await;
    within(starting).await.unwrap().unwrap();
    world.call(job.instance, "test.hang");
    within(runtime.stop(job.instance, Span::ZERO)).await.unwrap();
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Signal { signal: 9, oom_killed: false });
    world.assert_swept(job.instance);
}

/// What an earlier VMM left in the place of its sockets is in nobody's way.
#[tokio::test(flavor = "multi_thread")]
async fn stale_sockets_are_taken_away() {
    if !is_root() {
        return;
    }
    let world = World::new(Boots::Init);
    let runtime = world.open().await;
    let job = world.shell("exit 7");
    runtime.prepare(&job).await.unwrap();
    std::fs::create_dir_all(world.socket(job.instance, "")).unwrap();
    for name in ["api", "vsock", "vsock_1024"] {
        drop(std::os::unix::net::UnixListener::bind(world.socket(job.instance, name)).unwrap());
    }
    within(runtime.start(job.instance)).await.unwrap();
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_before_the_first_word_cancels_the_start() {
    let world = World::new(Boots::Nobody);
    let job = world.shell("true");
    let runtime = Arc::new(world.open().await);
    runtime.prepare(&job).await.unwrap();
    let starting = tokio::spawn({
        let runtime = Arc::clone(&runtime);
        async move { runtime.start(job.instance).await }
    });
    // As soon as somebody listens there is a machine.
    drop(crate::guest::Played::dial(&world, job.instance).await);
    let stopping = async {
        // It may be stopped a moment before its VM is booted, when there is nothing to stop.
        while !starting.is_finished() {
            runtime.stop(job.instance, Span::seconds(30)).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    within(stopping).await;
    let error = starting.await.unwrap().unwrap_err();
    assert_eq!(error.kind, RuntimeErrorKind::Start(StartFailure::Cancelled), "{error}");
    assert_eq!(runtime.inspect(job.instance).await.unwrap(), Observed::Created);
    world.assert_swept(job.instance);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_does_not_have_is_refused() {
    let mut world = World::new(Boots::Nobody);
    world.config.host.memory = Memory(1 << 30);
    world.config.host.cpus = 2;
    let runtime = world.open().await;
    let with = |change: fn(&mut ring_types::DeploymentSpec)| {
        let mut job = world.shell("true");
        change(Arc::make_mut(&mut job.spec));
        job
    };
    let cases = [
        (with(|spec| spec.resources.limits.memory = Some(Memory(2 << 30))), "2Gi of memory"),
        (with(|spec| spec.resources.requests.cpu = Some(ring_types::Cpu(2001))), "3 processors"),
        (with(|spec| spec.network = NetworkMode::Host), "network.mode"),
        (with(|spec| spec.image = "/no/such/disk.raw".to_owned()), "/no/such/disk.raw"),
    ];
    for (job, told) in cases {
        let error = runtime.prepare(&job).await.unwrap_err();
        assert!(error.message.contains(told), "{error}");
        assert!(matches!(error.kind, RuntimeErrorKind::Start(_)), "{error}");
        assert_eq!(runtime.inspect(job.instance).await.unwrap(), Observed::Absent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_given_out_once() {
    if !is_root() {
        return;
    }
    let mut world = World::new(Boots::Init);
    world.config.host.memory = Memory(1 << 30);
    let runtime = world.open().await;
    let big = |script: &str| {
        let mut job = world.shell(script);
        Arc::make_mut(&mut job.spec).resources.limits.memory = Some(Memory(700 << 20));
        job
    };
    let (one, two) = (big(FOREVER), big("exit 0"));
    launch(&runtime, &one).await;
    runtime.prepare(&two).await.unwrap();
    let error = runtime.start(two.instance).await.unwrap_err();
    assert!(error.message.contains("are given to other micro-VMs"), "{error}");
    runtime.stop(one.instance, Span::seconds(20)).await.unwrap();
    within(runtime.start(two.instance)).await.unwrap();
    assert_eq!(outcome(&runtime, two.instance).await, Outcome::Code(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_names_what_is_missing_and_what_to_do() {
    let mut world = World::new(Boots::Nobody);
    let report = world.open().await.probe().await;
    assert!(report.version.starts_with("53.0.0"), "{report:?}");
    for (binary, told) in [("no-such-vmm", "no-such-vmm"), ("/bin/false", "/bin/false")] {
        world.config.binary = binary.into();
        let problem = world.open().await.probe().await.problem.unwrap();
        assert!(problem.contains(told) && problem.contains("binary_path"), "{problem}");
    }
}
