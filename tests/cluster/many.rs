//! A manifest of 500 deployments: one request, one log entry, and all of it is done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ring_testkit::work::{Runtime, job, manifest, new_key, worker};
use ring_testkit::{Cluster, wait};
use serde_json::{Value, json};

const COUNT: usize = 500;
const WORKERS: usize = 10;

/// Each job and worker starts two processes, on a machine that may have two processors and other tests.
const IN_TIME: Duration = Duration::from_mins(8);

fn many() -> Value {
    let workers = (0..WORKERS).map(|n| worker(&format!("worker-{n}"), Runtime::Process, "exec sleep 100000"));
    let jobs = (WORKERS..COUNT).map(|n| {
        let mut job = job(&format!("job-{n}"), Runtime::Process, "");
        job["command"] = json!(["true"]);
        job["environment"] = json!({ "NUMBER": n, "PADDING": "x".repeat(2000) });
        job
    });
    manifest(workers.chain(jobs))
}

fn revision(cluster: &Cluster) -> u64 {
    let answer = cluster.get_from(0, "/deployments?name=none").unwrap();
    answer.headers["ring-revision"].parse().unwrap()
}

#[test]
fn five_hundred_deployments_are_one_entry_on_every_control_node() {
    let cluster = Cluster::loopback(3, 0).unwrap();
    // Nothing else writes: there are no agents.
    let before = wait::eventually(Duration::from_mins(1), "a quiet log", || {
        let seen = revision(&cluster);
        wait::holds(Duration::from_secs(1), "the revision", || revision(&cluster) == seen)?;
        Ok(Some(seen))
    })
    .unwrap();
    let follower = (cluster.leader().unwrap() + 1) % 3;
    let (body, key) = (many(), new_key());
    assert!(body.to_string().len() > 1 << 20, "more than the usual limit of a message");
    let answer = cluster.post(follower, "/deployments", &body, &key).unwrap();
    assert_eq!(answer.status, 200, "{:.500}", answer.body);
    let reply = answer.json().unwrap();
    assert_eq!(reply["revision"], before + 1, "one entry");
    let applied = reply["deployments"].as_array().unwrap();
    assert!(applied.len() == COUNT && applied.iter().all(|one| one["outcome"] == "created"));
    let list = cluster.get_any("/deployments").unwrap();
    let at: BTreeSet<&str> = list.as_array().unwrap().iter().map(|one| one["created_at"].as_str().unwrap()).collect();
    assert_eq!((list.as_array().unwrap().len(), at.len()), (COUNT, 1), "all of one moment");
    let again = cluster.post(follower, "/deployments", &body, &new_key()).unwrap().json().unwrap();
    assert!(again["deployments"].as_array().unwrap().iter().all(|one| one["outcome"] == "unchanged"));
    cluster.wait_same_state().unwrap();
}

#[test]
fn five_hundred_deployments_reach_their_end() {
    let cluster = Cluster::loopback(1, 2).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("many.yaml");
    std::fs::write(&file, many().to_string()).unwrap();
    let ring = cluster.cli().clone().deadline(IN_TIME);
    let file = file.to_str().unwrap();
    let told = ring.run(["apply", "-f", file, "--wait", "--timeout", "7m"]).unwrap();
    assert!(told.success(), "{:?} {:.3000}", told.code, told.stderr);
    let list = cluster.get_any("/deployments").unwrap();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for one in list.as_array().unwrap() {
        *counts.entry((one["kind"].as_str().unwrap(), one["status"].as_str().unwrap())).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([(("job", "completed"), COUNT - WORKERS), (("worker", "running"), WORKERS)]));
    let hosts: BTreeSet<&str> =
        list.as_array().unwrap().iter().map(|one| one["instances"][0]["node"].as_str().unwrap()).collect();
    assert_eq!(hosts.len(), 2);
    let again = ring.run(["apply", "-f", file]).unwrap();
    assert!(again.success() && again.stderr.is_empty(), "{:.2000}", again.stderr);
}
