//! An agent that is killed and started again, at every stage of an instance.

use std::pin::Pin;
use std::sync::Arc;

use ring_guest::{Hello, State, ToHost, VERSION};
use ring_runtime::conformance::exec::run;
use ring_runtime::{Observed, Runtime};
use ring_types::{Outcome, Span, UnknownExit};

use crate::guest::Played;
use crate::world::{Boots, FOLLOW, FOREVER, World, is_root, launch, outcome, printed, swept, texts, until, within};

const LOST: Outcome = Outcome::Unknown(UnknownExit::VmLost);

#[tokio::test(flavor = "multi_thread")]
async fn what_one_agent_prepared_the_next_starts() {
    let world = World::new(Boots::Nobody);
    let mut job = world.shell("true");
    job.environment.insert("KEY".to_owned(), "hunter-2".to_owned());
    world.open().await.prepare(&job).await.unwrap();
    let next = Arc::new(world.open().await);
    assert_eq!(next.inspect(job.instance).await.unwrap(), Observed::Created);
    let starting = tokio::spawn({
        let next = Arc::clone(&next);
        async move { next.start(job.instance).await }
    });
    let (mut guest, _) = Played::greet(&world, job.instance, "a", State::Waiting).await;
    let order = guest.order().await;
    assert!(order.env.contains(&("KEY".to_owned(), "hunter-2".to_owned())));
    let grep = std::process::Command::new("grep").args(["-rl", "hunter-2"]).arg(world.dir.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&grep.stdout), "", "a secret is on the disk");
    guest.started().await;
    within(starting).await.unwrap().unwrap();
    assert!(matches!(next.inspect(job.instance).await.unwrap(), Observed::Running { .. }));
    next.stop(job.instance, Span::ZERO).await.unwrap();
}

/// Killed with a VMM that runs and a guest that has not said a word: nothing was executed, and it begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_boot_that_was_cut_off_is_begun_again() {
    let world = World::new(Boots::Nobody);
    let job = world.shell("true");
    let first = world.open().await;
    first.prepare(&job).await.unwrap();
    // Cut off somewhere between the first process and the first word.
    let _ = tokio::time::timeout(std::time::Duration::from_millis(300), first.start(job.instance)).await;
    drop(first);
    let second = Arc::new(world.open().await);
    assert_eq!(second.inspect(job.instance).await.unwrap(), Observed::Created);
    world.assert_swept(job.instance);
    let starting = tokio::spawn({
        let second = Arc::clone(&second);
        async move { second.start(job.instance).await }
    });
    let (mut guest, _) = Played::greet(&world, job.instance, "a", State::Waiting).await;
    guest.order().await;
    guest.started().await;
    within(starting).await.unwrap().unwrap();
    guest.ended(3).await;
    guest.released().await;
    assert_eq!(outcome(&second, job.instance).await, Outcome::Code(3));
}

/// Starts a workload in a guest that the test plays.
fn started<'a>(
    world: &'a World,
    job: &'a ring_runtime::Workload,
) -> Pin<Box<impl Future<Output = (ring_runtime_vm::VmRuntime, Played)> + 'a>> {
    Box::pin(start_played(world, job))
}

async fn start_played(world: &World, job: &ring_runtime::Workload) -> (ring_runtime_vm::VmRuntime, Played) {
    let runtime = world.open().await;
    runtime.prepare(job).await.unwrap();
    let starting = runtime.start(job.instance);
    let playing = async {
        let (mut guest, _) = Played::greet(world, job.instance, "a", State::Waiting).await;
        guest.order().await;
        guest.started().await;
        guest
    };
    let (started, guest) = within(Box::pin(async { tokio::join!(starting, playing) })).await;
    started.unwrap();
    (runtime, guest)
}

/// Killed after the order to start: only the same run of the guest is told again, and another one never.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_cut_off_goes_to_the_same_guest_or_to_none() {
    for (boot, state) in [("a", State::Waiting), ("a", State::Started), ("b", State::Waiting)] {
        let world = World::new(Boots::Nobody);
        let job = world.shell("true");
        let first = world.open().await;
        first.prepare(&job).await.unwrap();
        let playing = async {
            let (mut guest, _) = Played::greet(&world, job.instance, "a", State::Waiting).await;
            guest.order().await;
        };
        // The guest has its order; the agent does not hear of the start any more.
        tokio::select! {
            _ = first.start(job.instance) => panic!("it started by itself"),
            () = playing => {}
        }
        drop(first);
        let second = world.open().await;
        let mut guest = Played::dial(&world, job.instance).await;
        guest.say(&ToHost::Hello(Hello { version: VERSION, boot: boot.to_owned(), state })).await;
        if boot == "b" {
            assert_eq!(outcome(&second, job.instance).await, LOST);
            assert_eq!(guest.hear().await, None, "another guest was told something");
            second.start(job.instance).await.unwrap();
            swept(&world, &second, job.instance).await;
            continue;
        }
        assert!(matches!(guest.hear().await, Some(ring_guest::ToGuest::Welcome(_))));
        if state == State::Waiting {
            guest.order().await;
        }
        guest.started().await;
        until(&second, job.instance, |observed| matches!(observed, Observed::Running { .. })).await;
        guest.ended(0).await;
        guest.released().await;
        assert_eq!(outcome(&second, job.instance).await, Outcome::Code(0));
    }
}

/// The end comes to nobody; the next agent has it on its disk before the guest may go.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_while_no_agent_is_there_is_told_to_the_next() {
    let world = World::new(Boots::Nobody);
    let job = world.shell("true");
    let (first, guest) = started(&world, &job).await;
    drop((first, guest));
    let second = world.open().await;
    let (mut guest, _) = Played::greet(&world, job.instance, "a", State::Ended).await;
    guest.started().await;
    guest.ended(42).await;
    guest.released().await;
    assert_eq!(world.record(job.instance, "exit")["outcome"]["code"], 42, "the guest was let go before its end was on the disk");
    assert_eq!(outcome(&second, job.instance).await, Outcome::Code(42));
    swept(&world, &second, job.instance).await;
    second.remove(job.instance).await.unwrap();
    assert!(!world.file(job.instance, "").exists());
}

/// An agent that was killed between the end on its disk and the acknowledgement.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_known_is_not_asked_for_again() {
    let world = World::new(Boots::Nobody);
    let job = world.shell("true");
    let (first, guest) = started(&world, &job).await;
    drop((first, guest));
    let exit = serde_json::json!({ "outcome": { "code": 9 }, "started_at": null, "finished_at": "2026-01-01T00:00:00Z" });
    std::fs::write(world.file(job.instance, "exit"), exit.to_string()).unwrap();
    let second = world.open().await;
    assert!(matches!(second.inspect(job.instance).await.unwrap(), Observed::Exited { outcome: Outcome::Code(9), .. }));
    world.assert_swept(job.instance);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_of_output_is_in_the_log_once() {
    let world = World::new(Boots::Nobody);
    let job = world.shell("true");
    let (first, mut guest) = started(&world, &job).await;
    guest.print(0, "one\ntwo\nhal").await;
    guest.acknowledged(8).await;
    drop((first, guest));
    let second = world.open().await;
    let (mut guest, welcome) = Played::greet(&world, job.instance, "a", State::Started).await;
    assert_eq!(welcome.offset, 8);
    guest.started().await;
    // It has not seen the acknowledgement.
    guest.print(4, "two\nhalf\n").await;
    guest.acknowledged(13).await;
    guest.ended(0).await;
    guest.released().await;
    assert_eq!(texts(&second, job.instance, FOLLOW).await, ["one", "two", "half"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_says_nonsense_is_hung_up_on_and_may_dial_again() {
    let world = World::new(Boots::Nobody);
    let job = world.shell("true");
    let (runtime, mut guest) = started(&world, &job).await;
    // Not a frame; something before the greeting; another version.
    guest.say(&ToHost::ExecExited { id: 5, code: 1 }).await;
    for nonsense in [
        ToHost::Started { pid: 1, at: 1 },
        ToHost::Hello(Hello { version: VERSION + 1, boot: "a".to_owned(), state: State::Started }),
    ] {
        let mut bad = Played::dial(&world, job.instance).await;
        bad.say(&nonsense).await;
        assert_eq!(bad.hear().await, None, "{nonsense:?} was answered");
    }
    let (mut guest, _) = Played::greet(&world, job.instance, "a", State::Ended).await;
    guest.ended(0).await;
    guest.released().await;
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_has_not_come_up_was_not_started() {
    let mut world = World::new(Boots::Nobody);
    world.config.patience.guest = std::time::Duration::from_millis(500);
    let job = world.shell("true");
    let runtime = world.open().await;
    runtime.prepare(&job).await.unwrap();
    let error = within(runtime.start(job.instance)).await.unwrap_err();
    assert!(error.message.contains("has not come up"), "{error}");
    assert!(!error.retryable());
    assert_eq!(runtime.inspect(job.instance).await.unwrap(), Observed::Created);
    world.assert_swept(job.instance);
}

/// With the real init: the agent is away while the workload prints and ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_instance_is_found_again_with_its_output_its_commands_and_its_end() {
    if !is_root() {
        return;
    }
    let world = World::new(Boots::Init);
    let job = world.shell("trap 'echo bye; exit 6' TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done");
    let first = world.open().await;
    launch(&first, &job).await;
    printed(&first, job.instance, "5").await;
    drop(first);
    let second = world.open().await;
    assert!(matches!(second.inspect(job.instance).await.unwrap(), Observed::Running { .. }));
    assert_eq!(run(&second, job.instance, &["echo", "still here"]).await, ("still here\n".to_owned(), String::new(), 0));
    assert!(second.stats(job.instance).await.unwrap().memory.0 > 0);
    drop(second);
    let third = world.open().await;
    third.stop(job.instance, Span::seconds(20)).await.unwrap();
    assert_eq!(outcome(&third, job.instance).await, Outcome::Code(6));
    let told = texts(&third, job.instance, FOLLOW).await;
    let counted = told.len() - 1;
    let expected: Vec<String> = (1..=counted).map(|i| i.to_string()).chain(["bye".to_owned()]).collect();
    assert_eq!(told, expected, "a line is missing or doubled");
    swept(&world, &third, job.instance).await;
}

/// Stopped by an agent that is killed in the middle of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_was_cut_off_is_finished_by_the_next() {
    if !is_root() {
        return;
    }
    let world = World::new(Boots::Init);
    let job = world.shell(FOREVER);
    let deaf = world.shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    let first = world.open().await;
    for workload in [&job, &deaf] {
        launch(&first, workload).await;
        printed(&first, workload.instance, "ready").await;
    }
    let cut = std::time::Duration::from_millis(200);
    let stopping =
        async { tokio::join!(first.stop(job.instance, Span::seconds(60)), first.stop(deaf.instance, Span::seconds(60))) };
    let _ = tokio::time::timeout(cut, stopping).await;
    drop(first);
    let second = world.open().await;
    second.stop(job.instance, Span::seconds(20)).await.unwrap();
    assert_eq!(outcome(&second, job.instance).await, Outcome::Code(4));
    second.stop(deaf.instance, Span::ZERO).await.unwrap();
    assert_eq!(outcome(&second, deaf.instance).await, Outcome::Signal { signal: 9, oom_killed: false });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_restarted_has_lost_what_ran() {
    let world = World::new(Boots::Nobody);
    let job = world.shell("true");
    let (first, guest) = started(&world, &job).await;
    drop((first, guest));
    let mut starting = world.record(job.instance, "starting");
    starting["boot"] = "another".into();
    std::fs::write(world.file(job.instance, "starting"), starting.to_string()).unwrap();
    let second = world.open().await;
    assert_eq!(outcome(&second, job.instance).await, Outcome::Unknown(UnknownExit::HostRestarted));
    second.start(job.instance).await.unwrap();
    assert_eq!(outcome(&second, job.instance).await, Outcome::Unknown(UnknownExit::HostRestarted));
}
