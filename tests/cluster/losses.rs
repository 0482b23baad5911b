//! Many nodes fall silent at once: nothing counts as lost until an operator says so.

use ring_testkit::cluster::Options;
use ring_testkit::work::{IN_TIME, Runtime, worker};
use ring_testkit::{Cluster, wait};
use serde_json::Value;

fn node(cluster: &Cluster, name: &str) -> Value {
    serde_json::from_str(&cluster.cli().ok(["node", "inspect", name, "-o", "json"]).unwrap()).unwrap()
}

fn running_on(cluster: &Cluster, id: &str) -> Vec<String> {
    let deployment = cluster.deployment(id).unwrap();
    let instances = deployment["instances"].as_array().unwrap().iter();
    let mut nodes: Vec<_> =
        instances.filter(|i| i["status"] == "running").map(|i| i["node"].as_str().unwrap().to_owned()).collect();
    nodes.sort_unstable();
    nodes
}

#[test]
fn an_operator_lifts_the_guard_node_by_node() {
    let cluster = Cluster::loopback_with(1, 3, &Options::default().env("RING_NODE_GRACE", "8s")).unwrap();
    let mut spec = worker("w", Runtime::Process, "trap 'exit 0' TERM; while :; do sleep 0.1; done");
    spec["replicas"] = 3.into();
    let id = cluster.apply_one(spec).unwrap();
    wait::until(IN_TIME, "one on each host", || running_on(&cluster, &id) == ["a1", "a2", "a3"]).unwrap();

    let refused = cluster.cli().run(["node", "lost", "a2", "--yes"]).unwrap();
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("node 'a2' is not out of contact"), "{}", refused.stderr);

    cluster.agent(1).pause().unwrap();
    cluster.agent(2).pause().unwrap();
    let held = |name: &str| node(&cluster, name)["held"] == true;
    wait::until(IN_TIME, "two nodes held back", || held("a2") && held("a3")).unwrap();
    let listed = cluster.cli().run(["node", "list"]).unwrap();
    assert!(listed.stderr.contains("ring node lost a2") && listed.stderr.contains("ring node lost a3"), "{}", listed.stderr);
    assert_eq!(running_on(&cluster, &id), ["a1", "a2", "a3"], "nothing is replaced");

    let asked = cluster.cli().run(["node", "lost", "a2"]).unwrap();
    assert!(asked.code == Some(1) && asked.stderr.contains("--yes"), "{}", asked.stderr);
    assert_eq!(cluster.cli().ok(["node", "lost", "a2", "--yes"]).unwrap().trim(), "a2 counted as lost");
    wait::until(IN_TIME, "its work elsewhere", || running_on(&cluster, &id) == ["a1", "a1", "a3"]).unwrap();
    let (lost, kept) = (node(&cluster, "a2"), node(&cluster, "a3"));
    assert_eq!((lost["status"].as_str(), kept["status"].as_str()), (Some("lost"), Some("unreachable")));

    // What was replaced is stopped when it is back; what was not goes on.
    cluster.agent(1).resume().unwrap();
    cluster.agent(2).resume().unwrap();
    let ready = |name: &str| node(&cluster, name)["status"] == "ready" && node(&cluster, name)["held"] == false;
    wait::until(IN_TIME, "both in contact", || ready("a2") && ready("a3")).unwrap();
    wait::until(IN_TIME, "three again", || running_on(&cluster, &id).len() == 3 && node(&cluster, "a2")["instances"] == 0)
        .unwrap();
}
