//! The process runtime with real processes.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use common::{hinted, id, kill, launch, lines, open, outcome, printed, record, shell, texts, workload};
use futures::StreamExt;
use ring_runtime::conformance;
use ring_runtime::{LogRequest, LogSource, Observed, Runtime, RuntimeErrorKind};
use ring_types::{Cpu, Memory, Outcome, Span, StartFailure, UnknownExit};

const FOLLOW: LogRequest = LogRequest { tail: None, since: None, follow: true };

#[tokio::test]
async fn ends_are_told_as_they_were() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    let signal = |signal| Outcome::Signal { signal, oom_killed: false };
    let cases = [
        (shell("exit 0"), Outcome::Code(0)),
        (shell("exit 7"), Outcome::Code(7)),
        (shell("exit 137"), Outcome::Code(137)),
        (shell("kill -KILL $$"), signal(9)),
        (shell("kill -TERM $$"), signal(15)),
        (shell("kill -SEGV $$"), signal(11)),
        (workload(&["no-such-program"]), Outcome::Code(127)),
        (workload(&["/etc/passwd"]), Outcome::Code(126)),
    ];
    for (workload, expected) in cases {
        launch(&runtime, &workload).await;
        assert_eq!(outcome(&runtime, workload.instance).await, expected, "{:?}", workload.spec.command);
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named_in_the_log() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    let missing = workload(&["no-such-program"]);
    launch(&runtime, &missing).await;
    let told = texts(&runtime, missing.instance, FOLLOW).await;
    assert!(told[0].contains("cannot execute 'no-such-program'"), "{told:?}");
}

#[tokio::test]
async fn the_environment_is_the_workloads_own_and_never_on_disk() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    let mut printing = shell("env | sort; pwd");
    printing.environment = BTreeMap::from([("PASSWORD".to_owned(), "hunter-2-secret".to_owned())]);
    runtime.prepare(&printing).await.unwrap();
    let dir = temp.path().join("instances").join(printing.instance.to_string());
    let grep = || std::process::Command::new("grep").args(["-rl", "hunter-2-secret"]).arg(temp.path()).output().unwrap().stdout;
    assert_eq!(String::from_utf8(grep()).unwrap(), "");
    runtime.start(printing.instance).await.unwrap();
    let told = texts(&runtime, printing.instance, FOLLOW).await;
    assert!(told.contains(&"PASSWORD=hunter-2-secret".to_owned()), "{told:?}");
    assert_eq!(told.last().unwrap(), dir.join("work").to_str().unwrap());
    assert!(!told.iter().any(|line| line.starts_with("CARGO")), "the agent's own environment is not passed on: {told:?}");
    let found = String::from_utf8(grep()).unwrap();
    assert!(found.lines().all(|path| path.contains("/logs/")), "the environment is on disk: {found}");
}

#[tokio::test]
async fn the_exit_status_is_kept_while_no_agent_is_there() {
    let temp = tempfile::tempdir().unwrap();
    let first = open(temp.path()).await;
    let job = shell("read line < go; exit 7");
    first.prepare(&job).await.unwrap();
    let fifo = temp.path().join("instances").join(job.instance.to_string()).join("work/go");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    first.start(job.instance).await.unwrap();
    drop(first);
    std::fs::write(&fifo, "go\n").unwrap();
    let second = open(temp.path()).await;
    assert_eq!(outcome(&second, job.instance).await, Outcome::Code(7));
    let found = second.list().await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].deployment, job.deployment);
}

#[tokio::test]
async fn a_running_instance_is_adopted_and_its_end_noticed_at_once() {
    let temp = tempfile::tempdir().unwrap();
    let first = open(temp.path()).await;
    let job = shell("sleep 1000");
    launch(&first, &job).await;
    drop(first);
    let second = open(temp.path()).await;
    assert!(matches!(second.inspect(job.instance).await.unwrap(), Observed::Running { .. }));
    kill(&record(temp.path(), job.instance, "started")["process"]["pid"]);
    let begun = Instant::now();
    assert_eq!(outcome(&second, job.instance).await, Outcome::Signal { signal: 9, oom_killed: false });
    println!("end noticed {:?} after the kill", begun.elapsed());
}

#[tokio::test]
async fn many_starts_execute_once() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = Arc::new(open(temp.path()).await);
    let job = shell("echo ran; sleep 1000");
    runtime.prepare(&job).await.unwrap();
    let starts = (0..8).map(|_| {
        let (runtime, instance) = (Arc::clone(&runtime), job.instance);
        tokio::spawn(async move { runtime.start(instance).await })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
    runtime.stop(job.instance, Span::seconds(5)).await.unwrap();
    runtime.prepare(&job).await.unwrap();
    runtime.start(job.instance).await.unwrap();
    assert_eq!(texts(&runtime, job.instance, FOLLOW).await, ["ran"]);
}

#[tokio::test]
async fn two_supervisors_of_one_instance_execute_once() {
    let temp = tempfile::tempdir().unwrap();
    // Two drivers on one root, as when an agent was replaced in the middle of a start: no lock of theirs is in common.
    let (one, two) = (open(temp.path()).await, open(temp.path()).await);
    let job = shell("echo ran; sleep 1000");
    one.prepare(&job).await.unwrap();
    two.prepare(&job).await.unwrap();
    let (first, second) = tokio::join!(one.start(job.instance), two.start(job.instance));
    first.unwrap();
    second.unwrap();
    one.stop(job.instance, Span::seconds(5)).await.unwrap();
    assert_eq!(texts(&two, job.instance, FOLLOW).await, ["ran"]);
}

#[tokio::test]
async fn what_one_agent_prepared_the_next_can_start() {
    let temp = tempfile::tempdir().unwrap();
    let first = open(temp.path()).await;
    let mut job = shell("echo $GREETING");
    job.environment.insert("GREETING".to_owned(), "hello".to_owned());
    first.prepare(&job).await.unwrap();
    drop(first);
    let second = open(temp.path()).await;
    assert_eq!(second.inspect(job.instance).await.unwrap(), Observed::Created);
    second.start(job.instance).await.unwrap();
    assert_eq!(texts(&second, job.instance, FOLLOW).await, ["hello"]);
}

/// Ended, and only waits for the init of this host to collect it.
fn zombie(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

#[tokio::test]
async fn a_killed_supervisor_leaves_a_running_workload_and_then_an_unknown_end() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    let job = shell("sleep 1000 & echo $!; wait");
    launch(&runtime, &job).await;
    let mut lines = runtime.logs(job.instance, FOLLOW).await.unwrap();
    let left = lines.next().await.unwrap().unwrap().line;
    let left = std::str::from_utf8(&left).unwrap();
    let mut hints = runtime.hints();
    kill(&record(temp.path(), job.instance, "starting")["shim"]["pid"]);
    hinted(&mut hints, job.instance).await;
    assert!(matches!(runtime.inspect(job.instance).await.unwrap(), Observed::Running { .. }));
    kill(&record(temp.path(), job.instance, "started")["process"]["pid"]);
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Unknown(UnknownExit::InstanceVanished));
    // With nobody there to end what it left behind, that is done when the instance is removed.
    runtime.remove(job.instance).await.unwrap();
    assert!(!Path::new("/proc").join(left).exists() || zombie(left), "a child of it outlived its removal");
}

#[tokio::test]
async fn a_workload_without_its_supervisor_can_be_stopped() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    let job = shell("trap '' TERM; sleep 1000 & sleep 1000; sleep 1000");
    launch(&runtime, &job).await;
    kill(&record(temp.path(), job.instance, "starting")["shim"]["pid"]);
    runtime.stop(job.instance, Span(100)).await.unwrap();
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Unknown(UnknownExit::InstanceVanished));
    runtime.remove(job.instance).await.unwrap();
    assert_eq!(runtime.inspect(job.instance).await.unwrap(), Observed::Absent);
}

#[tokio::test]
async fn stopping_asks_first_and_kills_after_the_grace() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    let polite = shell("trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done");
    launch(&runtime, &polite).await;
    printed(&runtime, polite.instance, "ready").await;
    runtime.stop(polite.instance, Span::seconds(20)).await.unwrap();
    assert_eq!(outcome(&runtime, polite.instance).await, Outcome::Code(4));

    let deaf = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    launch(&runtime, &deaf).await;
    printed(&runtime, deaf.instance, "ready").await;
    let begun = Instant::now();
    runtime.stop(deaf.instance, Span(300)).await.unwrap();
    assert!(begun.elapsed().as_millis() >= 300);
    assert_eq!(outcome(&runtime, deaf.instance).await, Outcome::Signal { signal: 9, oom_killed: false });
    runtime.stop(deaf.instance, Span(300)).await.unwrap();
}

#[tokio::test]
async fn nothing_outlives_the_workloads_own_process() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    // One child in the group, and one that left it for a session of its own.
    let job = shell("sleep 1000 & setsid sleep 1000 & echo $!; exit 5");
    launch(&runtime, &job).await;
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(5));
    let pid = texts(&runtime, job.instance, FOLLOW).await[0].clone();
    assert!(!Path::new("/proc").join(pid).exists());
}

#[tokio::test]
async fn output_is_told_apart_chosen_and_followed() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    let job = shell("echo one; sleep 0.05; echo two >&2; sleep 0.05; printf three");
    launch(&runtime, &job).await;
    let all = lines(&runtime, job.instance, FOLLOW).await;
    let told: Vec<_> = all.iter().map(|line| (line.source, &*line.line)).collect();
    assert_eq!(told, [(LogSource::Stdout, &b"one"[..]), (LogSource::Stderr, b"two"), (LogSource::Stdout, b"three")]);
    let since = LogRequest { since: Some(all[2].at), ..LogRequest::default() };
    assert_eq!(texts(&runtime, job.instance, since).await, ["three"]);
    let tail = LogRequest { tail: Some(2), ..LogRequest::default() };
    assert_eq!(texts(&runtime, job.instance, tail).await, ["two", "three"]);
    assert_eq!(runtime.logs(id(), tail).await.err().unwrap().kind, RuntimeErrorKind::NotFound);
}

#[tokio::test]
async fn much_output_is_whole_and_bounded() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    let job = workload(&["seq", "1", "4000000"]);
    launch(&runtime, &job).await;
    let begun = Instant::now();
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(0));
    println!("4,000,000 lines kept in {:?}", begun.elapsed());
    let told = texts(&runtime, job.instance, LogRequest::default()).await;
    assert_eq!(told.last().unwrap(), "4000000");
    let first: usize = told[0].parse().unwrap();
    assert_eq!(told.len(), 4_000_000 - first + 1, "nothing is missing in between");
    let logs = temp.path().join("instances").join(job.instance.to_string()).join("logs");
    let kept: u64 = std::fs::read_dir(logs).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!((20 << 20..=32 << 20).contains(&kept), "{kept} bytes are kept");
}

#[tokio::test]
async fn limits_hold_and_want_of_memory_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    if !runtime.probe().await.version.contains("cpu and memory limits") {
        println!("not run: this host has no writable control groups");
        return;
    }
    let mut greedy = workload(&["tail", "/dev/zero"]);
    let spec = Arc::make_mut(&mut greedy.spec);
    spec.resources.limits.memory = Some(Memory(32 << 20));
    spec.resources.limits.cpu = Some(Cpu(500));
    launch(&runtime, &greedy).await;
    assert_eq!(outcome(&runtime, greedy.instance).await, Outcome::Signal { signal: 9, oom_killed: true });
    // A shell in between turns the signal into a code.
    let mut behind = shell("tail /dev/zero; exit $?");
    Arc::make_mut(&mut behind.spec).resources.limits.memory = Some(Memory(32 << 20));
    launch(&runtime, &behind).await;
    assert_eq!(outcome(&runtime, behind.instance).await, Outcome::Signal { signal: 9, oom_killed: true });
    let mut modest = shell("exit 3");
    Arc::make_mut(&mut modest.spec).resources.limits.memory = Some(Memory(32 << 20));
    launch(&runtime, &modest).await;
    assert_eq!(outcome(&runtime, modest.instance).await, Outcome::Code(3));
}

#[tokio::test]
async fn a_workload_runs_as_its_user() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::set_permissions(temp.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let runtime = open(temp.path()).await;
    let mut job = shell("id -u; id -g; echo x > file && echo written");
    let spec = Arc::make_mut(&mut job.spec);
    (spec.config.user.id, spec.config.user.group) = (Some(65534), Some(65533));
    if !rustix::process::geteuid().is_root() {
        let refused = runtime.prepare(&job).await.unwrap_err();
        assert_eq!(refused.kind, RuntimeErrorKind::Start(StartFailure::Create));
        return;
    }
    launch(&runtime, &job).await;
    assert_eq!(texts(&runtime, job.instance, FOLLOW).await, ["65534", "65533", "written"]);
}

#[tokio::test]
async fn what_cannot_run_is_refused_before_anything_is_made() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    let empty = workload(&[]);
    assert_eq!(runtime.prepare(&empty).await.unwrap_err().kind, RuntimeErrorKind::Start(StartFailure::Create));
    assert_eq!(runtime.inspect(empty.instance).await.unwrap(), Observed::Absent);
    assert_eq!(runtime.start(empty.instance).await.unwrap_err().kind, RuntimeErrorKind::NotFound);
    runtime.stop(empty.instance, Span::ZERO).await.unwrap();
    runtime.remove(empty.instance).await.unwrap();
}

#[tokio::test]
async fn removing_takes_everything_but_nothing_that_runs() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    let job = shell("sleep 1000");
    launch(&runtime, &job).await;
    assert_eq!(runtime.remove(job.instance).await.unwrap_err().kind, RuntimeErrorKind::Other);
    runtime.stop(job.instance, Span::seconds(5)).await.unwrap();
    runtime.remove(job.instance).await.unwrap();
    runtime.remove(job.instance).await.unwrap();
    assert_eq!(runtime.inspect(job.instance).await.unwrap(), Observed::Absent);
    assert_eq!(std::fs::read_dir(temp.path().join("instances")).unwrap().count(), 0);
}

#[tokio::test]
async fn starting_takes_milliseconds() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    let mut taken = Vec::new();
    for _ in 0..20 {
        let job = workload(&["true"]);
        let begun = Instant::now();
        runtime.prepare(&job).await.unwrap();
        let prepared = begun.elapsed();
        runtime.start(job.instance).await.unwrap();
        taken.push((begun.elapsed(), prepared));
    }
    taken.sort_unstable();
    let (median, prepared) = taken[taken.len() / 2];
    println!("prepare and start: median {median:?}, of that prepare {prepared:?}");
    assert!(median.as_millis() < 500, "{median:?}");
}

#[tokio::test]
async fn it_does_what_every_driver_does() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = open(temp.path()).await;
    conformance::check(&runtime, &workload).await;
    if runtime.probe().await.version.contains("cpu and memory limits") {
        conformance::stats::a_limit(&runtime, &workload).await;
    }
}
