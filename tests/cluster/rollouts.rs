//! Rolling updates on real processes, with leaders that are killed in the middle of them.

use std::collections::BTreeSet;

use ring_testkit::Cluster;
use ring_testkit::wait;
use ring_testkit::work::{IN_TIME, Runtime, worker};
use serde_json::{Value, json};

/// A worker that runs for good, with a check that always passes: an instance is ready when it has run for half a second.
fn web(version: &str, script: &str, replicas: u32) -> Value {
    let mut web = worker("web", Runtime::Process, script);
    web["replicas"] = replicas.into();
    web["environment"] = json!({ "VERSION": version });
    web["health_checks"] = json!([{
        "type": "command", "command": "true", "interval": "200ms", "timeout": "5s", "on_failure": "alert",
        "min_healthy_time": "500ms",
    }]);
    web["stop_grace"] = "1s".into();
    web["restart"] = json!({ "max": 2, "backoff": "100ms", "max_backoff": "200ms" });
    web
}

const SERVES: &str = "exec sleep 100000";

/// All records of the worker as one control node shows them at one moment.
fn all(cluster: &Cluster) -> Option<Vec<Value>> {
    let list = cluster.get_any("/deployments?name=web").ok()?;
    Some(list.as_array()?.clone())
}

/// Instances of all versions that serve.
fn serving(all: &[Value]) -> u64 {
    all.iter().filter_map(|deployment| deployment["ready_replicas"].as_u64()).sum()
}

fn running_ids(deployment: &Value) -> BTreeSet<String> {
    let running = deployment["instances"].as_array().unwrap().iter().filter(|i| i["status"] == "running");
    running.map(|i| i["id"].as_str().unwrap().to_owned()).collect()
}

fn serves_fully(cluster: &Cluster, id: &str, replicas: u64) -> Value {
    cluster.wait_deployment(id, "all replicas", |d| d["ready_replicas"] == replicas && d["conditions"] == json!([])).unwrap()
}

fn kill_the_leader(cluster: &Cluster) -> usize {
    let leader = cluster.leader().unwrap();
    cluster.control(leader).kill9().unwrap();
    leader
}

#[test]
fn an_update_goes_on_when_its_leader_is_killed_and_as_many_serve_as_before() {
    let cluster = Cluster::loopback(3, 2).unwrap();
    let old = cluster.apply_one(web("1", SERVES, 3)).unwrap();
    serves_fully(&cluster, &old, 3);
    let new = cluster.apply_one(web("2", SERVES, 3)).unwrap();
    assert_ne!(old, new);
    cluster.wait_deployment(&new, "a first new instance", |d| d["ready_replicas"].as_u64() >= Some(1)).unwrap();
    let killed = kill_the_leader(&cluster);
    let mut looks = 0;
    wait::eventually(IN_TIME, "the update to be over", || {
        let Some(all) = all(&cluster) else { return Ok(None) };
        looks += 1;
        assert!(serving(&all) >= 3, "too few serve: {all:#?}");
        Ok((all.len() == 1 && all[0]["rollout"] == "completed").then_some(()))
    })
    .unwrap();
    assert!(looks > 1);
    let done = serves_fully(&cluster, &new, 3);
    assert_eq!((&done["parent_id"], &done["restart_count"]), (&json!(old), &json!(0)));
    cluster.control(killed).start().unwrap();
    cluster.control(killed).wait_ready().unwrap();
    cluster.wait_same_state().unwrap();
}

/// Updates a worker whose instances publish a port, and so have a host each. The fewest that served at a time.
fn update_with_a_port(hosts: usize) -> u64 {
    let cluster = Cluster::loopback(3, hosts).unwrap();
    let published = |version: &str| {
        let mut web = web(version, SERVES, 2);
        web["ports"] = json!([{ "published": 18_080, "target": 80 }]);
        web
    };
    let old = cluster.apply_one(published("1")).unwrap();
    serves_fully(&cluster, &old, 2);
    let new = cluster.apply_one(published("2")).unwrap();
    let killed = kill_the_leader(&cluster);
    let mut fewest = u64::MAX;
    wait::eventually(IN_TIME, "the update to be over", || {
        let Some(all) = all(&cluster) else { return Ok(None) };
        fewest = fewest.min(serving(&all));
        let instances = all.iter().flat_map(|one| one["instances"].as_array().unwrap());
        let running = instances.filter(|i| i["status"] == "running");
        let nodes: Vec<_> = running.map(|i| i["node"].as_str().unwrap().to_owned()).collect();
        assert_eq!(nodes.iter().collect::<BTreeSet<_>>().len(), nodes.len(), "two have the port of one host: {all:#?}");
        Ok((all.len() == 1 && all[0]["rollout"] == "completed").then_some(()))
    })
    .unwrap();
    serves_fully(&cluster, &new, 2);
    cluster.control(killed).start().unwrap();
    fewest
}

#[test]
fn what_publishes_a_port_moves_to_hosts_where_it_is_free() {
    assert_eq!(update_with_a_port(3), 2);
}

#[test]
fn what_publishes_a_port_everywhere_is_replaced_one_at_a_time() {
    assert_eq!(update_with_a_port(2), 1);
}

#[test]
fn an_update_that_crashes_leaves_the_old_version_untouched_whoever_leads() {
    let cluster = Cluster::loopback(3, 2).unwrap();
    let old = cluster.apply_one(web("1", SERVES, 2)).unwrap();
    let before = running_ids(&serves_fully(&cluster, &old, 2));
    let new = cluster.apply_one(web("2", "sleep 0.2; exit 3", 2)).unwrap();
    cluster.wait_deployment(&new, "a first crash", |d| d["restart_count"].as_u64() >= Some(1)).unwrap();
    kill_the_leader(&cluster);
    let failed = cluster.wait_final(&new).unwrap();
    assert_eq!((&failed["reason"], &failed["rollout"]), (&json!("crash_loop_back_off"), &json!("failed")));
    assert_eq!(running_ids(&serves_fully(&cluster, &old, 2)), before);
}

#[test]
fn restart_and_rollback_wait_for_what_they_began() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let first = cluster.apply_one(web("1", SERVES, 2)).unwrap();
    let before = running_ids(&serves_fully(&cluster, &first, 2));
    let second = cluster.apply_one(web("2", SERVES, 2)).unwrap();
    cluster.wait_deployment(&second, "the update", |d| d["rollout"] == "completed").unwrap();
    let name = format!("{}/web", serves_fully(&cluster, &second, 2)["namespace"].as_str().unwrap());
    let said = cluster.cli().ok(["deployment", "rollback", &name, "--wait"]).unwrap();
    assert!(said.contains("updated"), "{said}");
    let back = cluster.cli().json(["deployment", "inspect", &name, "-o", "json"]).unwrap();
    assert_eq!((&back["environment"]["VERSION"], &back["ready_replicas"]), (&json!("1"), &json!(2)));
    cluster.cli().ok(["deployment", "restart", &name, "--wait"]).unwrap();
    let again = cluster.cli().json(["deployment", "inspect", &name, "-o", "json"]).unwrap();
    assert_eq!((&again["environment"]["VERSION"], &again["ready_replicas"]), (&json!("1"), &json!(2)));
    let now = running_ids(&again);
    assert!(now.is_disjoint(&before) && now.is_disjoint(&running_ids(&back)), "all instances are new");
    cluster.cli().ok(["deployment", "delete", &name]).unwrap();
    wait::eventually(IN_TIME, "everything to be gone", || Ok(all(&cluster).filter(Vec::is_empty).map(|_| ()))).unwrap();
}
