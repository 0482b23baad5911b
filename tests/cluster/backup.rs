//! Snapshots that are saved, checked and restored, and a cluster whose quorum is lost for good.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ring_testkit::flags::Role;
use ring_testkit::work::{Gate, IN_TIME, Runtime, job, new_key};
use ring_testkit::{Cluster, RingNode, wait};
use serde_json::{Value, json};

/// Exit code of a node its cluster has removed.
const REMOVED: i32 = 6;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn put_secret(cluster: &Cluster, control: usize, name: &str, value: &str) {
    let (body, key) = (json!({ "namespace": "test", "name": name, "value": value }), new_key());
    wait::eventually(IN_TIME, "the secret to be taken", || {
        let answer = cluster.post(control, "/secrets", &body, &key)?;
        anyhow::ensure!(answer.status < 300, "status {}: {}", answer.status, answer.body);
        Ok(Some(()))
    })
    .unwrap();
}

fn names(list: &Value, field: &str) -> Vec<String> {
    let mut names: Vec<_> = list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn inspect(cluster: &Cluster, file: &Path) -> Value {
    cluster.cli().json(["cluster", "snapshot", "inspect", text(file), "-o", "json"]).unwrap()
}

/// Takes everything of a host but the secret key, which was kept apart.
fn emptied(node: &RingNode) -> PathBuf {
    let (dir, kept) = (node.data_dir().to_owned(), node.data_dir().with_extension("old"));
    fs::rename(&dir, &kept).unwrap();
    fs::create_dir(&dir).unwrap();
    fs::copy(kept.join("secret-key"), dir.join("secret-key")).unwrap();
    kept
}

fn restore(node: &RingNode, file: &Path) -> ring_testkit::Outcome {
    let (advertise, listen) = (node.cluster_address().to_string(), node.api().to_string());
    let line =
        ["cluster", "snapshot", "restore", text(file), "--advertise", &advertise, "--api-listen", &listen, "--name", "restored"];
    node.cli().run(line.into_iter().chain(["--no-agent"])).unwrap()
}

/// Saves while secrets are written one after another; how many were acknowledged before it began.
fn save_under_load(cluster: &Cluster, file: &Path) -> usize {
    let (over, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let n = written.load(Ordering::SeqCst);
                put_secret(cluster, 0, &format!("s{n:05}"), &format!("value-{n}"));
                written.store(n + 1, Ordering::SeqCst);
            }
        });
        let enough = wait::until(IN_TIME, "some secrets", || written.load(Ordering::SeqCst) >= 20);
        let before = written.load(Ordering::SeqCst);
        let saved = cluster.cli().run(["cluster", "snapshot", "save", text(file)]);
        over.store(true, Ordering::SeqCst);
        enough.unwrap();
        let saved = saved.unwrap();
        assert_eq!(saved.code, Some(0), "{}", saved.stderr);
        assert!(saved.stdout.is_empty() && saved.stderr.contains("snapshot saved to"), "{saved:?}");
        before
    })
}

#[test]
fn a_cluster_is_restored_on_an_empty_host_and_its_agent_comes_over() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new(&dir.path().join("gate")).unwrap();
    let running = cluster.apply_one(gate.job("waits", Runtime::Process, 7)).unwrap();
    gate.wait_started("waits").unwrap();
    cluster.wait_status(&running, "running").unwrap();
    let file = dir.path().join("backup");
    let before = save_under_load(&cluster, &file);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing but the snapshot is left");
    let (users, id) = (cluster.get_any("/users").unwrap(), cluster.get_any("/cluster").unwrap()["id"].clone());
    let report = inspect(&cluster, &file);
    assert_eq!((&report["cluster"], &report["generation"]), (&id, &json!("1")));
    // Something after the snapshot, which will not be there.
    put_secret(&cluster, 0, "later", "x");

    let control = cluster.control(0);
    let refused = restore(control, &file);
    assert!(
        refused.code == Some(1) && refused.stderr.contains("use a host, or a data directory, that has nothing"),
        "{refused:?}"
    );
    control.kill9().unwrap();
    let old = emptied(control);
    let restored = restore(control, &file);
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    control.start().unwrap();
    control.wait_ready().unwrap();
    cluster.wait_agents().unwrap();

    let status = cluster.get_any("/cluster").unwrap();
    assert!(status["id"] == id && status["generation"].as_str().unwrap().starts_with("2-"), "{status}");
    assert_eq!(status["members"][0]["id"], 1001, "an id nobody had");
    let secrets = names(&cluster.get_any("/secrets?namespace[]=test").unwrap(), "name");
    assert!(secrets.len() >= before && !secrets.contains(&"later".to_owned()), "{before} before, {secrets:?}");
    let counted: Vec<_> = (0..secrets.len()).map(|n| format!("s{n:05}")).collect();
    assert_eq!(secrets, counted, "of one moment: no gap");
    assert_eq!(report["counts"]["secret"], secrets.len());
    assert_eq!(names(&cluster.get_any("/users").unwrap(), "username"), names(&users, "username"));

    // What ran runs on, is not run again, and its end is reported.
    gate.open().unwrap();
    let ended = cluster.wait_final(&running).unwrap();
    assert_eq!((&ended["exit_status"]["code"], gate.starts("waits")), (&json!(7), 1), "{ended}");
    // A secret still opens.
    let mut opens = job("opens", Runtime::Process, "test \"$S\" = value-3");
    opens["environment"] = json!({ "S": { "secretRef": "s00003" } });
    let opens = cluster.apply_one(opens).unwrap();
    cluster.wait_status(&opens, "completed").unwrap();
    drop(old);
}

#[test]
fn damaged_snapshots_are_refused_before_anything_is_written() {
    let cluster = Cluster::loopback(1, 0).unwrap();
    for n in 0..30 {
        put_secret(&cluster, 0, &format!("s{n}"), "x");
    }
    let dir = tempfile::tempdir().unwrap();
    let (file, bad) = (dir.path().join("backup"), dir.path().join("bad"));
    cluster.cli().ok(["cluster", "snapshot", "save", text(&file)]).unwrap();
    let good = fs::read(&file).unwrap();
    let host = cluster.control(0);
    host.kill9().unwrap();
    emptied(host);
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&bad, bytes).unwrap();
        let seen = cluster.cli().run(["cluster", "snapshot", "inspect", text(&bad)]).unwrap();
        assert!(seen.code == Some(1) && seen.stderr.contains("is not a whole snapshot of a cluster"), "{what}: {seen:?}");
        let restored = restore(host, &bad);
        assert_eq!(restored.code, Some(1), "{what}");
        let left: Vec<_> = fs::read_dir(host.data_dir()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["secret-key"], "{what}");
    };
    for at in (0..good.len()).step_by(good.len() / 12) {
        let mut flipped = good.clone();
        flipped[at] ^= 0x20;
        refused(&flipped, &format!("a bit of byte {at} flipped"));
        refused(&good[..at], &format!("cut at {at}"));
    }
    // The key of another cluster opens nothing.
    fs::write(host.data_dir().join("secret-key"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").unwrap();
    let other = restore(host, &file);
    assert!(other.code == Some(1) && other.stderr.contains("the secret key is not that of the cluster"), "{other:?}");
}

#[test]
fn a_stream_that_breaks_leaves_no_file() {
    let cluster = Cluster::loopback(1, 0).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("backup");
    cluster.control(0).kill9().unwrap();
    let out = cluster.cli().run(["cluster", "snapshot", "save", text(&file)]).unwrap();
    assert_eq!(out.code, Some(3), "{out:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// The old member ends, and says that the cluster went on without it.
fn is_told_off(node: &RingNode) {
    let status = node.wait_exit(IN_TIME).unwrap_or_else(|error| panic!("{error:#}\n{}", node.tail()));
    assert_eq!(status.code(), Some(REMOVED), "{}", node.tail());
    node.wait_log("the cluster was restored or recovered, and goes on without it under generation 2-", IN_TIME).unwrap();
}

#[test]
fn one_survivor_goes_on_old_members_are_told_off_and_fresh_hosts_join() {
    let cluster = Cluster::loopback(3, 1).unwrap();
    put_secret(&cluster, 0, "kept", "x");
    cluster.wait_same_state().unwrap();
    let leader = cluster.leader().unwrap();
    let [survivor, gone, other] = [(leader + 1) % 3, leader, (leader + 2) % 3];
    let id = cluster.get_any("/cluster").unwrap()["id"].as_str().unwrap().to_owned();
    cluster.control(gone).kill9().unwrap();
    cluster.control(other).kill9().unwrap();
    let host = cluster.control(survivor);

    let runs = host.cli().run(["cluster", "recover", "--dry-run"]).unwrap();
    assert!(runs.code == Some(1) && runs.stderr.contains("is in use by another process"), "{runs:?}");
    host.stop().unwrap();
    let plan = host.cli().ok(["cluster", "recover", "--dry-run"]).unwrap();
    for one in [gone, other] {
        assert!(
            plan.contains(&format!("({}) at {}", cluster.control(one).name(), cluster.control(one).cluster_address())),
            "{plan}"
        );
    }
    let asked = host.cli().run(["cluster", "recover"]).unwrap();
    assert!(asked.code == Some(1) && asked.stderr.contains("there is nobody to ask"), "{asked:?}");
    let wrong = host.cli().run(["cluster", "recover", "--yes-i-know", "another"]).unwrap();
    assert!(wrong.code == Some(1) && wrong.stderr.contains("nothing was changed"), "{wrong:?}");
    let done = host.cli().run(["cluster", "recover", "--yes-i-know", &id]).unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");

    host.start().unwrap();
    host.wait_ready().unwrap();
    put_secret(&cluster, survivor, "after", "x");
    let secrets = cluster.get_from(survivor, "/secrets?namespace[]=test").unwrap().json().unwrap();
    assert_eq!(names(&secrets, "name"), ["after", "kept"]);
    let runs = cluster.apply_one(job("runs", Runtime::Process, "exit 0")).unwrap();
    cluster.wait_status(&runs, "completed").unwrap();

    // Both at once would be a quorum of what there was.
    for one in [gone, other] {
        cluster.control(one).start().unwrap();
    }
    for one in [gone, other] {
        is_told_off(cluster.control(one));
    }
    put_secret(&cluster, survivor, "undisturbed", "x");

    // Fresh hosts.
    for one in [gone, other] {
        let node = cluster.control(one);
        fs::remove_dir_all(node.data_dir()).unwrap();
        fs::create_dir(node.data_dir()).unwrap();
        node.join(&[host.cluster_address()], &cluster.join_token(Role::Control).unwrap()).unwrap();
        node.wait_ready().unwrap();
    }
    cluster.wait_voters().unwrap();
    cluster.wait_same_state().unwrap();
    host.kill9().unwrap();
    put_secret(&cluster, gone, "without", "x");
}

#[test]
fn the_nightly_script_keeps_the_last_ones() {
    let cluster = Cluster::loopback(1, 0).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let binary = ring_testkit::cli::binary().unwrap();
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let run = |keep: &str| {
        let mut script = std::process::Command::new("sh");
        script.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../cluster/systemd/ring-snapshot")).env("PATH", &path);
        script
            .env("RING_SNAPSHOT_DIR", dir.path())
            .env("RING_SNAPSHOT_KEEP", keep)
            .env("RING_CONFIG_DIR", dir.path().join("none"));
        script.env("RING_HOST", cluster.control(0).url()).env("RING_TOKEN", cluster.token());
        script.output().unwrap()
    };
    let kept = || {
        let files = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<_> = files.collect();
        files.sort();
        files
    };
    for old in ["ring-20200101T000000Z.snapshot", "ring-20200102T000000Z.snapshot", "mine"] {
        fs::write(dir.path().join(old), "").unwrap();
    }
    assert!(!run("none").status.success());
    let made = run("2");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let left = kept();
    assert!(
        left.len() == 3 && left.contains(&"mine".to_owned()) && left.contains(&"ring-20200102T000000Z.snapshot".to_owned()),
        "{left:?}"
    );
    // When nothing can be saved nothing goes.
    cluster.control(0).kill9().unwrap();
    assert!(!run("1").status.success());
    assert_eq!(kept(), left);
}
