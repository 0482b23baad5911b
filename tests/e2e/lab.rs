//! The lab itself: what later tests rely on when they cut, kill and fill.

use std::path::Path;
use std::time::{Duration, Instant};

use ring_testkit::lab::{DockerOptions, IMAGE, Lab, unsupported};
use ring_testkit::{Process, command, report, sweep, wait};

const SOON: Duration = Duration::from_secs(10);

/// Asks the greeter of another host, with a short deadline: a healthy line answers in well under a millisecond.
fn reaches(lab: &Lab, from: &str, to: &str) -> bool {
    let script = "exec 3<>/dev/tcp/$0/9 && cat <&3";
    let target = lab.host(to).ip().to_string();
    let outcome = lab.host(from).exec("timeout", ["0.3", "bash", "-c", script, &target]).unwrap();
    outcome.stdout == to
}

/// A server on every host that says the host's name.
fn greeters(lab: &Lab) -> Vec<ring_testkit::Process> {
    let greet = |host: &ring_testkit::Host| {
        let server = host.command("busybox", ["nc", "-ll", "-p", "9", "-e", "printf", "%s", host.name()]);
        host.spawn("greeter", server).unwrap()
    };
    let greeters = lab.hosts().iter().map(greet).collect();
    for host in lab.hosts() {
        wait::until(SOON, "the greeter", || reaches(lab, host.name(), host.name())).unwrap();
    }
    greeters
}

#[test]
fn hosts_are_cut_apart_and_healed() {
    let Some(lab) = Lab::builder("cut").hosts(["a", "b", "c"]).start_or_skip() else { return };
    let _greeters = greeters(&lab);
    assert!(reaches(&lab, "a", "b") && reaches(&lab, "b", "a") && reaches(&lab, "a", "c"));

    lab.cut("a", "b").unwrap();
    assert!(!reaches(&lab, "a", "b") && !reaches(&lab, "b", "a"));
    assert!(reaches(&lab, "a", "c") && reaches(&lab, "c", "b"), "the other lines are whole");
    lab.heal().unwrap();
    assert!(reaches(&lab, "a", "b"));

    lab.isolate("c").unwrap();
    assert!(!reaches(&lab, "a", "c") && !reaches(&lab, "c", "b"));
    assert!(reaches(&lab, "a", "b"));
    lab.heal().unwrap();
    assert!(reaches(&lab, "c", "b"));
}

#[test]
fn a_line_cut_one_way_still_carries_the_other() {
    let Some(lab) = Lab::builder("one-way").hosts(["a", "b"]).start_or_skip() else { return };
    let arrived = |name: &str| std::fs::read_to_string(lab.host(name).dir().join("listener.log")).unwrap();
    let listen = |name: &str| {
        let host = lab.host(name);
        let script = r#"$s = IO::Socket::INET->new(Proto => "udp", LocalPort => 9); $s->recv($m, 9); print $m"#;
        let listener = host.command("perl", ["-MIO::Socket::INET", "-e", script]);
        let process = host.spawn("listener", listener).unwrap();
        let bound = || host.exec("ss", ["-Hlun", "sport = :9"]).unwrap().stdout.contains(":9");
        wait::until(SOON, "the listener", bound).unwrap();
        process
    };
    let _listeners = [listen("a"), listen("b")];
    let send = |from: &str, to: &str| {
        let script = format!("printf hello > /dev/udp/{}/9", lab.host(to).ip());
        lab.host(from).exec("bash", ["-c", &script]).unwrap().ok().unwrap();
    };
    lab.cut_one_way("a", "b").unwrap();
    send("a", "b");
    send("b", "a");
    wait::until(SOON, "the datagram the whole way", || arrived("a") == "hello").unwrap();
    assert_eq!(arrived("b"), "", "the cut way carries nothing");
    lab.heal().unwrap();
    send("a", "b");
    wait::until(SOON, "the datagram after healing", || arrived("b") == "hello").unwrap();
}

#[test]
fn the_test_itself_reaches_an_isolated_host() {
    let Some(lab) = Lab::builder("harness").hosts(["a", "b"]).start_or_skip() else { return };
    let host = lab.host("a");
    std::fs::write(host.dir().join("index.html"), "hello").unwrap();
    let mut httpd = host.command("busybox", ["httpd", "-f", "-p", "80"]);
    httpd.current_dir(host.dir());
    let _httpd = host.spawn("httpd", httpd).unwrap();
    lab.isolate("a").unwrap();
    let body = wait::eventually(SOON, "the page", || Ok(Some(lab.http("a", "GET", 80, "/").send()?.body))).unwrap();
    assert_eq!(body, "hello");
    let from_b = lab.http_between("b", "a", "GET", 80, "/").timeout(Duration::from_millis(300)).send();
    assert!(from_b.is_err(), "{from_b:?}");
}

#[test]
fn a_small_disk_fills_and_is_freed() {
    let Some(lab) = Lab::builder("disk").hosts(["a"]).start_or_skip() else { return };
    let disk = lab.small_disk("a", "disk", 4 << 20).unwrap();
    let file = disk.path().join("file");
    std::fs::write(&file, b"fits").unwrap();
    disk.fill().unwrap();
    let error = std::fs::write(disk.path().join("more"), b"does not fit").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    disk.free().unwrap();
    std::fs::write(disk.path().join("more"), b"fits again").unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"fits");
}

#[test]
fn docker_reports_exit_codes_across_its_own_restart() {
    let Some(lab) = Lab::builder("docker").docker_hosts(["d"]).start_or_skip() else { return };
    let docker = lab.docker("d");
    docker.ok(["run", "--detach", "--name", "seven", "--label", "job=x", IMAGE, "sh", "-c", "exit 7"]).unwrap();
    assert_eq!(docker.wait_container("seven", SOON).unwrap(), 7);
    assert_eq!(docker.starts("job=x").unwrap(), 1);
    docker.ok(["start", "seven"]).unwrap();
    assert_eq!(docker.starts("job=x").unwrap(), 2);
    assert_eq!(docker.starts("job=y").unwrap(), 0);

    docker.restart().unwrap();
    assert_eq!(docker.wait_container("seven", SOON).unwrap(), 7, "the code outlives the daemon");
    let limited = ["run", "--rm", "--memory", "32m", "--cpus", "0.5", IMAGE, "sh", "-c", "exit 9"];
    assert_eq!(docker.run(limited).unwrap().code, Some(9));

    docker.pause().unwrap();
    let mut ping = docker.command(["version"]);
    ping.env("DOCKER_API_VERSION", "1.41");
    assert!(ring_testkit::command::run_within(ping, Duration::from_millis(300)).is_err(), "a paused daemon is silent");
    docker.resume().unwrap();
    docker.ok(["version"]).unwrap();
}

#[test]
fn a_container_outlives_a_killed_daemon_with_live_restore() {
    let options = DockerOptions { live_restore: true, ..DockerOptions::default() };
    let Some(lab) = Lab::builder("live").docker_hosts(["d"]).docker_options(options).start_or_skip() else { return };
    let docker = lab.docker("d");
    // The container ends when the file appears, which happens while there is no daemon.
    let signal = lab.host("d").dir().join("signal");
    std::fs::create_dir(&signal).unwrap();
    let volume = format!("{}:/signal", signal.display());
    let script = "until test -e /signal/go; do sleep 0.05; done; touch /signal/gone; exit 7";
    docker.ok(["run", "--detach", "--name", "job", "--volume", &volume, IMAGE, "sh", "-c", script]).unwrap();
    docker.kill9().unwrap();
    std::fs::write(signal.join("go"), "").unwrap();
    wait::until(SOON, "the container's end without a daemon", || signal.join("gone").exists()).unwrap();
    docker.up().unwrap();
    assert_eq!(docker.wait_container("job", SOON).unwrap(), 7);
}

#[test]
fn a_published_port_of_a_container_is_reached_from_another_host() {
    let builder = Lab::builder("published").hosts(["other"]).docker_hosts(["d"]);
    let Some(lab) = builder.start_or_skip() else { return };
    let docker = lab.docker("d");
    docker.ok(["network", "create", "ring_production"]).unwrap();
    let serve = ["httpd", "-f", "-p", "80", "-h", "/www"];
    let run = ["run", "--detach", "--network", "ring_production", "--network-alias", "web", "--publish", "8080:80", IMAGE];
    docker.ok(run.into_iter().chain(serve)).unwrap();

    let fetch = |from: &str| lab.http_between(from, "d", "GET", 8080, "/").timeout(Duration::from_millis(500)).send();
    let page = wait::eventually(SOON, "the page from the other host", || fetch("other").map(Some)).unwrap();
    assert_eq!((page.status, page.body.trim()), (200, "1"));
    let inside = ["run", "--rm", "--network", "ring_production", IMAGE, "wget", "-q", "-O", "-", "http://web/"];
    assert_eq!(docker.ok(inside).unwrap(), "1", "the alias resolves on the network");

    lab.cut("other", "d").unwrap();
    assert!(fetch("other").is_err(), "a cut host's containers are cut off too");
    lab.heal().unwrap();
    assert_eq!(fetch("other").unwrap().status, 200);
}

/// A lab with a container, a daemon and a detached process, and the pids of all three.
fn busy_lab(name: &str) -> Option<(Lab, Vec<i32>)> {
    let lab = Lab::builder(name).hosts(["a"]).docker_hosts(["d"]).start_or_skip()?;
    let docker = lab.docker("d");
    docker.ok(["run", "--detach", "--name", "sleeper", IMAGE, "sleep", "1000"]).unwrap();
    let container = docker.ok(["inspect", "--format", "{{.State.Pid}}", "sleeper"]).unwrap();
    let daemon = std::fs::read_to_string(docker.socket().with_file_name("docker.pid")).unwrap();
    let host = lab.host("a");
    let script = "setsid sleep 1000 > /dev/null & echo $!";
    let detached = host.exec("sh", ["-c", script]).unwrap().ok().unwrap();
    let pids = [container, daemon, detached].map(|pid| pid.trim().parse().unwrap());
    assert!(pids.iter().all(|&pid| alive(pid)), "{pids:?}");
    Some((lab, pids.to_vec()))
}

/// Alive, and not merely waiting to be reaped.
fn alive(pid: i32) -> bool {
    !matches!(sweep::state(pid), None | Some('Z' | 'X'))
}

fn mounts_below(dir: &Path) -> usize {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().filter(|line| line.contains(&format!("{}/", dir.display()))).count()
}

#[test]
fn nothing_of_a_lab_is_left() {
    let Some((lab, pids)) = busy_lab("clean") else { return };
    let docker_dir = lab.host("d").dir().join("docker");
    assert!(mounts_below(&docker_dir) > 0);
    drop(lab);
    assert!(!pids.iter().any(|&pid| alive(pid)), "{pids:?}");
    assert_eq!(mounts_below(&docker_dir), 0);
}

#[test]
fn a_lab_of_a_killed_run_is_cleaned_away_by_the_next() {
    if let Some(reason) = unsupported(true) {
        return report::skipped("stale", &reason);
    }
    let logs = Lab::builder("stale-logs").hosts(["a"]).start().unwrap();
    let this = std::env::current_exe().unwrap().display().to_string();
    let run = command::command(&this, ["--exact", "lab::holds_a_lab_until_it_is_killed", "--ignored", "--nocapture"]);
    let run = Process::spawn("killed run", run, &logs.dir().join("run.log")).unwrap();
    run.wait_log("holding.", Duration::from_secs(30)).unwrap();
    run.kill9().unwrap();
    let log = run.log().unwrap();
    let held = log.lines().find_map(|line| line.split_once("holding ")?.1.strip_suffix(" holding.")).unwrap();
    let pids: Vec<i32> = held.split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 3);

    // Another test's lab may have done it already, which is as good.
    let next = Lab::builder("next").hosts(["a"]).start().unwrap();
    assert!(!pids.iter().any(|&pid| alive(pid)), "{pids:?}");
    drop(next);
}

/// Not a test by itself: the run that `a_lab_of_a_killed_run_is_cleaned_away_by_the_next` kills.
#[test]
#[ignore = "started by another test"]
fn holds_a_lab_until_it_is_killed() {
    let Some((lab, pids)) = busy_lab("held") else { return };
    let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
    report::line(&format!("holding {} holding.", pids.join(" ")));
    // Ends with the container, should nobody kill it.
    let _ = lab.docker("d").wait_container("sleeper", Duration::from_mins(1));
}

#[test]
fn five_hosts_and_two_daemons_start_quickly() {
    let begin = Instant::now();
    let builder = Lab::builder("start").hosts(["c1", "c2", "c3"]).docker_hosts(["a1", "a2"]);
    let Some(lab) = builder.start_or_skip() else { return };
    let started = begin.elapsed();
    let begin = Instant::now();
    drop(lab);
    report::line(&format!("lab of 5 hosts, 2 of them with Docker: up in {started:.2?}, gone in {:.2?}", begin.elapsed()));
    assert!(started < Duration::from_secs(20), "started in {started:?}");
}
