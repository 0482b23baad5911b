//! The Docker driver with a real daemon. Few tests, as a daemon serves many cases.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is test code, which clippy sees only in test functions"
)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::silent::Silent;
use common::{Daemon, IMAGE, workload};
use futures::StreamExt;
use ring_runtime::conformance::stats::a_limit;
use ring_runtime::conformance::{check, launch, outcome, printed, texts};
use ring_runtime::{ExecRequest, Hint, LogRequest, Observed, Runtime, RuntimeErrorKind};
use ring_types::{Cpu, DeploymentSpec, Memory, NetworkMode, Outcome, Port, Protocol, PullPolicy, Span, StartFailure};
use rustix::process::Signal;

const DEADLINE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn the_driver_and_a_real_daemon() {
    let Some(daemon) = Daemon::get() else { return };
    let runtime = daemon.runtime();
    let report = runtime.probe().await;
    assert_eq!(report.problem, None);
    println!("engine {}", report.version);

    check(&runtime, &workload).await;
    a_limit(&runtime, &workload).await;
    settings(&daemon).await;
    marks_name_and_network(&daemon).await;
    memory(&daemon).await;
    pull_policies(&daemon).await;
    ports(&daemon).await;
    an_existing_container_is_adopted(&daemon).await;
    networks_are_made_once(&daemon).await;
    an_ended_container_is_not_started_by_another_driver(&daemon).await;
    against_docker_run(&daemon).await;
    an_end_that_is_not_told_is_seen(&daemon).await;
    a_hanging_daemon_is_reported(&daemon).await;
}

/// Podman follows some short containers for ever.
async fn an_end_that_is_not_told_is_seen(daemon: &Daemon) {
    let silent = Silent::before(&daemon.host);
    let runtime = daemon.runtime_with(|config| config.host = Some(silent.host()));
    let job = workload(&["sh", "-c", "echo one; sleep 4; echo two"]);
    launch(&runtime, &job).await;
    let follow = LogRequest { follow: true, ..LogRequest::default() };
    assert_eq!(texts(&runtime, job.instance, follow).await, ["one", "two"]);
    runtime.remove(job.instance).await.unwrap();
}

async fn marks_name_and_network(daemon: &Daemon) {
    let runtime = daemon.runtime();
    let mut job = workload(&["sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"]);
    Arc::make_mut(&mut job.spec).labels.insert("team".to_owned(), "blue".to_owned());
    launch(&runtime, &job).await;
    printed(&runtime, job.instance, "ready").await;
    let id = job.instance.to_string();
    let name = format!("shop_job_{}", &id[id.len() - 8..]);
    let of = |format: &str| daemon.docker(&["inspect", "--format", format, &name]);
    assert_eq!(of("{{index .Config.Labels \"ring_deployment\"}}"), job.deployment.to_string());
    assert_eq!(of("{{index .Config.Labels \"ring_instance\"}}"), id);
    assert_eq!(of("{{index .Config.Labels \"team\"}}"), "blue");
    assert!(of("{{(index .NetworkSettings.Networks \"ring_shop\").Aliases}}").contains("job"));
    assert_eq!(of("{{.HostConfig.RestartPolicy.Name}}"), "no");
    let Observed::Running { address: Some(address), .. } = runtime.inspect(job.instance).await.unwrap() else {
        panic!("it has no address");
    };
    assert_eq!(of("{{(index .NetworkSettings.Networks \"ring_shop\").IPAddress}}"), address);
    runtime.stop(job.instance, Span::seconds(10)).await.unwrap();
    runtime.remove(job.instance).await.unwrap();
}

/// What a specification says of user, processors, memory and network is what the container has.
async fn settings(daemon: &Daemon) {
    let runtime = daemon.runtime();
    let script = "id -u; id -g; grep CapEff /proc/self/status; cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us \
                  /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/memory.max";
    let told = async |change: &(dyn Fn(&mut DeploymentSpec) + Sync)| {
        let mut job = workload(&["sh", "-c", script]);
        change(Arc::make_mut(&mut job.spec));
        launch(&runtime, &job).await;
        assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(0));
        let told = texts(&runtime, job.instance, LogRequest::default()).await;
        runtime.remove(job.instance).await.unwrap();
        told
    };
    let limited = told(&|spec| {
        (spec.config.user.id, spec.config.user.group) = (Some(1000), Some(2000));
        (spec.resources.limits.cpu, spec.resources.limits.memory) = (Some(Cpu(500)), Some(Memory(64 << 20)));
    });
    let limited = limited.await;
    assert_eq!((limited[0].as_str(), limited[1].as_str()), ("1000", "2000"));
    assert!(limited[3].starts_with("50000") && limited[4] == (64 << 20).to_string(), "{limited:?}");
    let group = told(&|spec| spec.config.user.group = Some(2000)).await;
    assert_eq!((group[0].as_str(), group[1].as_str()), ("0", "2000"));
    privileged(daemon, &group[2]).await;

    let mut job = workload(&["true"]);
    let spec = Arc::make_mut(&mut job.spec);
    spec.stop_grace = Span::seconds(7);
    spec.resources.limits.memory = Some(Memory(64 << 20));
    spec.ports = vec![Port { published: 18_053, target: 53, host_ip: "127.0.0.1".to_owned(), protocol: Protocol::Udp }];
    runtime.prepare(&job).await.unwrap();
    let id = job.instance.to_string();
    let name = format!("shop_job_{}", &id[id.len() - 8..]);
    let of = |format: &str| daemon.docker(&["inspect", "--format", format, &name]);
    assert_eq!(of("{{json .HostConfig.PortBindings}}"), r#"{"53/udp":[{"HostIp":"127.0.0.1","HostPort":"18053"}]}"#);
    assert_eq!(of("{{.Config.StopTimeout}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}"), "7 67108864 67108864");
    runtime.remove(job.instance).await.unwrap();

    let mut job = workload(&["cat", "/proc/net/dev"]);
    Arc::make_mut(&mut job.spec).network = NetworkMode::Host;
    launch(&runtime, &job).await;
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(0));
    let devices = texts(&runtime, job.instance, LogRequest::default()).await.join("\n");
    assert!(devices.contains("docker0") && !devices.contains("eth0"), "it is not on the host's network: {devices}");
    runtime.remove(job.instance).await.unwrap();
}

/// Has more capabilities than the others, where the tests themselves have all that there are.
async fn privileged(daemon: &Daemon, others: &str) {
    let runtime = daemon.runtime();
    let mut job = workload(&["grep", "CapEff", "/proc/self/status"]);
    Arc::make_mut(&mut job.spec).config.user.privileged = true;
    runtime.prepare(&job).await.unwrap();
    let id = job.instance.to_string();
    let name = format!("shop_job_{}", &id[id.len() - 8..]);
    assert_eq!(daemon.docker(&["inspect", "--format", "{{.HostConfig.Privileged}}", &name]), "true");
    match runtime.start(job.instance).await {
        Ok(()) => {
            assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(0));
            assert_ne!(texts(&runtime, job.instance, LogRequest::default()).await[0], others);
        }
        Err(error) if error.message.contains("unable to apply caps") => {
            println!("not run: this host has not every capability to give to a privileged container");
        }
        Err(error) => panic!("{error}"),
    }
    runtime.remove(job.instance).await.unwrap();
}

async fn memory(daemon: &Daemon) {
    let runtime = daemon.runtime();
    let mut greedy = workload(&["tail", "/dev/zero"]);
    Arc::make_mut(&mut greedy.spec).resources.limits.memory = Some(Memory(16 << 20));
    launch(&runtime, &greedy).await;
    assert_eq!(outcome(&runtime, greedy.instance).await, Outcome::Signal { signal: 9, oom_killed: true });
    runtime.remove(greedy.instance).await.unwrap();
}

async fn pull_policies(daemon: &Daemon) {
    let runtime = daemon.runtime();
    let with = |image: &str, policy| {
        let mut workload = workload(&["true"]);
        let spec = Arc::make_mut(&mut workload.spec);
        (spec.image, spec.config.image_pull_policy) = (image.to_owned(), policy);
        workload
    };
    // Nothing listens there: the registry cannot be reached.
    let (local, absent) = ("localhost:1/local/app:1", "localhost:1/absent/app:1");
    daemon.docker(&["tag", IMAGE, local]);
    for policy in [PullPolicy::Always, PullPolicy::IfNotPresent, PullPolicy::Never] {
        let here = with(local, policy);
        let prepared = runtime.prepare(&here).await.unwrap();
        assert!(prepared.image_digest.unwrap().starts_with("sha256:"), "{policy}");
        runtime.remove(here.instance).await.unwrap();
    }
    let cases = [
        (PullPolicy::Always, StartFailure::ImagePull),
        (PullPolicy::IfNotPresent, StartFailure::ImagePull),
        (PullPolicy::Never, StartFailure::ImageNotFound),
    ];
    for (policy, cause) in cases {
        let refused = runtime.prepare(&with(absent, policy)).await.unwrap_err();
        assert_eq!(refused.kind, RuntimeErrorKind::Start(cause), "{policy}: {refused}");
        assert!(refused.message.contains(absent), "{refused}");
    }
}

async fn ports(daemon: &Daemon) {
    let runtime = daemon.runtime();
    let with_port = || {
        let mut workload = workload(&["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"]);
        let port = Port { published: 18_080, target: 80, host_ip: "127.0.0.1".to_owned(), protocol: Protocol::Tcp };
        Arc::make_mut(&mut workload.spec).ports = vec![port];
        workload
    };
    let (first, second) = (with_port(), with_port());
    launch(&runtime, &first).await;
    runtime.prepare(&second).await.unwrap();
    let refused = runtime.start(second.instance).await.unwrap_err();
    assert_eq!(refused.kind, RuntimeErrorKind::Start(StartFailure::Network), "{refused}");
    assert_eq!(runtime.inspect(second.instance).await.unwrap(), Observed::Created);
    runtime.stop(first.instance, Span::seconds(10)).await.unwrap();
    // The port is free now: it had not been started, so it may be.
    runtime.start(second.instance).await.unwrap();
    runtime.stop(second.instance, Span::seconds(10)).await.unwrap();
    runtime.remove(first.instance).await.unwrap();
    runtime.remove(second.instance).await.unwrap();
}

async fn an_existing_container_is_adopted(daemon: &Daemon) {
    let job = workload(&["true"]);
    daemon.runtime().prepare(&job).await.unwrap();
    // A driver that remembers nothing, as after a restart of the agent.
    let other = daemon.runtime();
    other.prepare(&job).await.unwrap();
    assert_eq!(other.list().await.unwrap().iter().filter(|found| found.instance == job.instance).count(), 1);
    other.remove(job.instance).await.unwrap();

    let id = job.instance.to_string();
    let name = format!("shop_job_{}", &id[id.len() - 8..]);
    daemon.docker(&["create", "--name", &name, IMAGE, "true"]);
    let refused = other.prepare(&job).await.unwrap_err();
    assert_eq!(refused.kind, RuntimeErrorKind::Start(StartFailure::Create), "a stranger's container was adopted");
    daemon.docker(&["rm", &name]);
}

async fn networks_are_made_once(daemon: &Daemon) {
    let runtime = daemon.runtime();
    let jobs: Vec<_> = (0..8)
        .map(|_| {
            let mut job = workload(&["true"]);
            Arc::make_mut(&mut job.spec).namespace = ring_types::Name::new("crowded").unwrap();
            job
        })
        .collect();
    for prepared in futures::future::join_all(jobs.iter().map(|job| runtime.prepare(job))).await {
        prepared.unwrap();
    }
    let networks = daemon.docker(&["network", "ls", "--quiet", "--filter", "name=^ring_crowded$"]);
    assert_eq!(networks.lines().count(), 1, "{networks}");
    for job in &jobs {
        runtime.start(job.instance).await.unwrap();
        assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(0));
        runtime.remove(job.instance).await.unwrap();
    }
}

async fn an_ended_container_is_not_started_by_another_driver(daemon: &Daemon) {
    let job = workload(&["sh", "-c", "echo ran"]);
    launch(&daemon.runtime(), &job).await;
    let other = daemon.runtime();
    assert_eq!(outcome(&other, job.instance).await, Outcome::Code(0));
    other.start(job.instance).await.unwrap();
    let id = job.instance.to_string();
    assert_eq!(daemon.docker(&["logs", &format!("shop_job_{}", &id[id.len() - 8..])]), "ran");
    other.remove(job.instance).await.unwrap();
}

/// The figure of one run beside another: what the driver adds to what Docker itself takes.
async fn against_docker_run(daemon: &Daemon) {
    let runtime = daemon.runtime();
    let (mut ours, mut dockers) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let job = workload(&["true"]);
        let begun = Instant::now();
        launch(&runtime, &job).await;
        ours.push(begun.elapsed());
        outcome(&runtime, job.instance).await;
        runtime.remove(job.instance).await.unwrap();
        let begun = Instant::now();
        daemon.docker(&["run", "--detach", "--name", "plain", "--network", "ring_shop", IMAGE, "true"]);
        dockers.push(begun.elapsed());
        daemon.docker(&["rm", "--force", "plain"]);
    }
    ours.sort_unstable();
    dockers.sort_unstable();
    println!("prepare and start: median {:?}; docker run --detach: median {:?}", ours[2], dockers[2]);
}

/// No question waits for an engine that hangs longer than it has to, and none is answered with anything else.
async fn a_hanging_daemon_is_reported(daemon: &Daemon) {
    let runtime = daemon.runtime();
    let job = workload(&["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"]);
    launch(&runtime, &job).await;
    assert_eq!(runtime.probe().await.problem, None);
    if !daemon.signal(Signal::STOP) {
        return;
    }
    let begun = Instant::now();
    let instance = job.instance;
    let other = workload(&["true"]);
    let logs = async {
        let lines = runtime.logs(instance, LogRequest::default()).await?;
        lines.collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<_>, _>>()
    };
    let command = ExecRequest { command: vec!["true".to_owned()], ..ExecRequest::default() };
    let kinds = futures::join!(
        async { runtime.list().await.unwrap_err().kind },
        async { runtime.inspect(instance).await.unwrap_err().kind },
        async { runtime.prepare(&other).await.unwrap_err().kind },
        async { runtime.start(instance).await.unwrap_err().kind },
        async { runtime.stats(instance).await.unwrap_err().kind },
        async { runtime.exec(instance, command).await.err().unwrap().kind },
        async { logs.await.unwrap_err().kind },
        async { runtime.stop(instance, Span::seconds(1)).await.unwrap_err().kind },
        async { runtime.probe().await.problem.is_some() },
    );
    let taken = begun.elapsed();
    daemon.signal(Signal::CONT);
    let hangs = RuntimeErrorKind::Unavailable;
    assert_eq!(kinds, (hangs, hangs, hangs, hangs, hangs, hangs, hangs, hangs, true));
    assert!(taken < DEADLINE, "{taken:?}");
    assert_eq!(runtime.probe().await.problem, None);
    runtime.stop(instance, Span::seconds(10)).await.unwrap();
    runtime.remove(instance).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_comes_back_is_noticed() {
    let Some(mut daemon) = Daemon::get() else { return };
    let runtime = daemon.runtime();
    let job = workload(&["sh", "-c", "exit 6"]);
    launch(&runtime, &job).await;
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(6));
    let mut hints = runtime.hints();
    assert_eq!(hints.next().await, Some(Hint::Everything));
    if !daemon.restart(Signal::TERM) {
        return;
    }
    let again = async { while hints.next().await != Some(Hint::Everything) {} };
    tokio::time::timeout(DEADLINE, again).await.expect("no word after the gap");
    assert_eq!(outcome(&runtime, job.instance).await, Outcome::Code(6));
    runtime.remove(job.instance).await.unwrap();
}
