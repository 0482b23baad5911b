//! Instances move to a host that came, behind their readiness, whoever leads.

use std::collections::BTreeMap;
use std::time::Duration;

use ring_testkit::work::{IN_TIME, Runtime, worker};
use ring_testkit::{Cluster, wait};
use serde_json::{Value, json};

/// A command that waits for several moves ends within this time.
const LONGEST: Duration = Duration::from_mins(4);

const SERVES: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

/// A worker that counts as ready when it has been well for 20 s: the time a test has in the middle of a move.
fn gated(name: &str, replicas: u32) -> Value {
    let mut worker = worker(name, Runtime::Process, SERVES);
    worker["replicas"] = replicas.into();
    worker["health_checks"] = json!([{
        "type": "command", "command": "true", "readiness": true, "on_failure": "alert", "interval": "200ms", "min_healthy_time": "20s"
    }]);
    worker
}

/// Running instances of a deployment by node.
fn spread(cluster: &Cluster, id: &str) -> BTreeMap<String, u32> {
    let deployment = cluster.deployment(id).unwrap();
    let mut spread = BTreeMap::new();
    for instance in deployment["instances"].as_array().unwrap().iter().filter(|i| i["status"] == "running") {
        *spread.entry(instance["node"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    spread
}

fn counts(expected: &[(&str, u32)]) -> BTreeMap<String, u32> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn moves(cluster: &Cluster, more: &[&str]) -> Value {
    let text = cluster.cli().clone().deadline(LONGEST).ok([&["node", "rebalance", "-o", "json"], more].concat()).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_host_that_came_gets_its_share_whoever_leads() {
    let cluster = Cluster::loopback(3, 2).unwrap();
    cluster.cli().ok(["node", "cordon", "a2"]).unwrap();
    let id = cluster.apply_one(gated("w", 4)).unwrap();
    let other = cluster.apply_one(gated("o", 2)).unwrap();
    for id in [&id, &other] {
        cluster.cli().clone().deadline(LONGEST).ok(["deployment", "wait", id, "--timeout", "120s"]).unwrap();
    }
    assert_eq!(moves(&cluster, &["--dry-run"]), json!([]), "the other host is cordoned");
    cluster.cli().ok(["node", "uncordon", "a2"]).unwrap();

    let planned = moves(&cluster, &["--dry-run"]);
    let of = |name: &str| planned.as_array().unwrap().iter().filter(|one| one["name"] == name).count();
    assert_eq!((of("w"), of("o")), (2, 1), "{planned}");
    assert_eq!((&planned[0]["from"], &planned[0]["to"], &planned[0]["state"]), (&json!("a1"), &json!("a2"), &json!("planned")));
    assert!(cluster.cli().ok(["node", "rebalance", "--dry-run"]).unwrap().contains("a1 has 4 of its instances, a2 has 0"));
    assert_eq!((spread(&cluster, &id), spread(&cluster, &other)), (counts(&[("a1", 4)]), counts(&[("a1", 2)])));

    // Nothing goes before something is ready in its place, and the leader that began it does not see the end.
    let begun = moves(&cluster, &["--detach"]);
    assert_eq!(begun.as_array().unwrap().len(), 3, "{begun}");
    // The other deployment's move may come after both of this one: which goes first follows from their ids.
    wait::until(IN_TIME, "one more", || spread(&cluster, &id) == counts(&[("a1", 4), ("a2", 1)])).unwrap();
    let leader = cluster.leader().unwrap();
    cluster.control(leader).kill9().unwrap();
    cluster.leader_after(leader).unwrap();
    let early = cluster.cli().run(["node", "rebalance", "--timeout", "1s"]).unwrap();
    assert!(early.code == Some(124) && early.stderr.contains("3 moves are not done"), "{}", early.stderr);
    let done = moves(&cluster, &["--timeout", "180s"]);
    assert!(done.as_array().unwrap().iter().all(|one| one["state"] == "moved"), "{done}");
    assert_eq!(
        (spread(&cluster, &id), spread(&cluster, &other)),
        (counts(&[("a1", 2), ("a2", 2)]), counts(&[("a1", 1), ("a2", 1)]))
    );

    // Nothing is left to do, nothing counted as a crash, and the record says who asked.
    assert_eq!(moves(&cluster, &["--dry-run"]), json!([]));
    assert_eq!(cluster.cli().ok(["node", "rebalance"]).unwrap().trim(), "the spread is even: nothing moved");
    for id in [&id, &other] {
        let deployment = cluster.deployment(id).unwrap();
        assert_eq!((&deployment["restart_count"], &deployment["status"]), (&json!(0), &json!("running")), "{deployment}");
    }
    let events = cluster.cli().ok(["deployment", "events", &id]).unwrap();
    assert!(events.contains("told to end: rebalanced"), "{events}");
    let audit = cluster.cli().ok(["cluster", "audit", "-o", "json"]).unwrap();
    assert!(audit.contains("node.rebalance"), "{audit}");
}
