//! What hangs holds up nothing else: a Docker daemon that answers nobody, and registries that never end their answer.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use ring_testkit::lab::{IMAGE, Lab};
use ring_testkit::work::{IN_TIME, Runtime, job, manifest, on, worker};
use ring_testkit::{Cluster, Process, report, wait};
use serde_json::{Value, json};

use crate::three::{self, starts_in_docker};

/// From `apply` to the end of a job that does nothing, on a machine that is busy.
const USUAL: Duration = Duration::from_secs(15);

/// How long it takes until a job that does nothing has completed.
fn time_of(cluster: &Cluster, job: Value) -> Duration {
    let begun = Instant::now();
    let id = cluster.apply_one(job).unwrap();
    cluster.wait_status(&id, "completed").unwrap();
    begun.elapsed()
}

#[test]
fn a_hung_docker_holds_up_its_own_containers_alone() {
    let Some((lab, cluster)) = three::with_docker("hung") else { return };
    let on_2 = |name: &str| on(job(name, Runtime::Docker, "exit 0"), "a2");
    let usual = time_of(&cluster, on_2("before"));
    let runs = cluster.apply_one(on(worker("runs", Runtime::Docker, "exec sleep 1000"), "a1")).unwrap();
    cluster.wait_status(&runs, "running").unwrap();

    lab.docker("a1").pause().unwrap();
    // More that hang than an agent, or a control node, has hands.
    let hang = (0..20).map(|n| on(job(&format!("hangs-{n}"), Runtime::Docker, "exit 0"), "a1"));
    let hanging = cluster.apply(&manifest(hang)).unwrap();
    for round in 0..3 {
        let elsewhere = time_of(&cluster, on_2(&format!("beside-{round}")));
        let beside = time_of(&cluster, on(job(&format!("process-{round}"), Runtime::Process, "exit 0"), "a1"));
        report::line(&format!(
            "beside a hung Docker: other host {elsewhere:.1?}, other runtime {beside:.1?}; before {usual:.1?}"
        ));
        assert!(elsewhere < USUAL && beside < USUAL, "{elsewhere:?} {beside:?}");
    }
    // Stopping what the hung daemon runs holds up nothing either.
    cluster.cli().ok(["deployment", "delete", &runs]).unwrap();
    assert!(time_of(&cluster, on_2("after-delete")) < USUAL);
    assert_eq!(cluster.deployment(&hanging[0]).unwrap()["exit_status"], Value::Null);

    lab.docker("a1").resume().unwrap();
    for id in &hanging {
        cluster.wait_status(id, "completed").unwrap();
        assert_eq!(starts_in_docker(&lab, id), 1);
    }
    wait::until(IN_TIME, "the deleted worker to go", || cluster.deployment(&runs).is_err()).unwrap();
}

/// On a host: a registry with the test image, one that takes every connection and says nothing, and one that says half of what it
/// should.
struct Registries {
    _good: Process,
    _mute: TcpListener,
}

const GOOD: &str = "127.0.0.1:5000";
const MUTE: &str = "127.0.0.1:5001";
const HALF: &str = "127.0.0.1:5002";

/// Answers as a registry does until it comes to a layer: of that it sends a part. The connections stay open.
fn half_a_registry(listener: &TcpListener) {
    let mut open = Vec::new();
    for stream in listener.incoming().flatten() {
        let kept = stream.try_clone();
        open.extend(kept);
        std::thread::spawn(move || half_answers(stream));
    }
}

fn half_answers(mut stream: TcpStream) -> std::io::Result<()> {
    let lines = BufReader::new(stream.try_clone()?).lines();
    let asked = lines.map_while(Result::ok).filter(|line| line.starts_with("GET ") || line.starts_with("HEAD "));
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    for line in asked {
        let part = |what: char| json!({ "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": 1 << 20, "digest": format!("sha256:{}", what.to_string().repeat(64)) });
        let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": part('a'), "layers": [part('b')] }).to_string();
        let (length, body) = if line.contains("/blobs/") {
            (1 << 20, "x".repeat(1000))
        } else if line.contains("/manifests/") {
            (manifest.len(), manifest)
        } else {
            (2, "{}".to_owned())
        };
        let body = if line.starts_with("HEAD ") { "" } else { &body };
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")?;
    }
    Ok(())
}

fn registries(lab: &Lab) -> Option<Registries> {
    if !Path::new("/usr/bin/docker-registry").exists() {
        report::skipped("stalled pulls", "there is no docker-registry here");
        return None;
    }
    let (host, docker, dir) = (lab.host("a1"), lab.docker("a1"), lab.dir().join("registry"));
    std::fs::create_dir(&dir).unwrap();
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{GOOD}\"}}\n",
        dir.display()
    );
    let file = dir.join("config.yml");
    std::fs::write(&file, config).unwrap();
    let good = host.spawn("registry", host.command("docker-registry", ["serve", file.to_str().unwrap()])).unwrap();
    // The kernel takes the connections, and nobody else does.
    let mute = host.inside(|| TcpListener::bind(MUTE)).join().unwrap().unwrap().unwrap();
    let half = host.inside(|| TcpListener::bind(HALF)).join().unwrap().unwrap().unwrap();
    std::thread::spawn(move || half_a_registry(&half));
    let there = format!("{GOOD}/app:1");
    docker.ok(["tag", IMAGE, &there]).unwrap();
    wait::until(IN_TIME, "the registry", || docker.ok(["push", &there]).is_ok()).unwrap();
    docker.ok(["rmi", "--force", &there]).unwrap();
    Some(Registries { _good: good, _mute: mute })
}

fn from_registry(name: &str, image: &str) -> Value {
    let mut job = on(job(name, Runtime::Docker, "exit 0"), "a1");
    job["image"] = image.into();
    job["config"] = json!({ "image_pull_policy": "Always" });
    job
}

#[test]
fn pulls_that_stall_hold_up_nothing_else_on_their_host() {
    let Some((lab, cluster)) = three::with_docker("stalls") else { return };
    let Some(_registries) = registries(&lab) else { return };
    // More than are fetched at the same time. Two in the middle of a layer: the engine itself fetches three at a time.
    let stalled = (0..12).map(|n| {
        let registry = if n < 2 { HALF } else { MUTE };
        from_registry(&format!("stalled-{n}"), &format!("{registry}/app-{n}:1"))
    });
    let stalled = cluster.apply(&manifest(stalled)).unwrap();
    for id in &stalled {
        cluster.wait_deployment(id, "a pull that takes long", |d| d["instances"][0]["status"] == "preparing").unwrap();
    }
    let here = time_of(&cluster, on(job("here", Runtime::Docker, "exit 0"), "a1"));
    let pulled = time_of(&cluster, from_registry("pulled", &format!("{GOOD}/app:1")));
    let elsewhere = time_of(&cluster, on(job("elsewhere", Runtime::Docker, "exit 0"), "a2"));
    report::line(&format!(
        "beside 12 pulls that stall: image of the host {here:.1?}, image pulled {pulled:.1?}, other host {elsewhere:.1?}"
    ));
    assert!(here < USUAL && pulled < USUAL && elsewhere < USUAL, "{here:?} {pulled:?} {elsewhere:?}");
    let begun = Instant::now();
    for id in [&stalled[0], &stalled[11]] {
        cluster.cli().ok(["deployment", "delete", id]).unwrap();
        wait::until(USUAL, "a stalled one that is deleted to go", || cluster.deployment(id).is_err()).unwrap();
    }
    report::line(&format!("two that stall were gone {:.1?} after they were deleted", begun.elapsed()));
    for id in &stalled[1..11] {
        assert_eq!(cluster.deployment(id).unwrap()["exit_status"], Value::Null);
    }
}
