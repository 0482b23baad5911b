//! Workers that scale with their load, and what deployments use.

use std::time::Duration;

use ring_testkit::Cluster;
use ring_testkit::cluster::Options;
use ring_testkit::wait;
use ring_testkit::work::{Runtime, worker};
use serde_json::{Value, json};

/// Measures are taken every few seconds, and several of them count.
const IN_TIME: Duration = Duration::from_mins(3);

/// Runs at full load while the file is there.
fn busy_while(file: &std::path::Path) -> Value {
    let script = format!("while :; do if test -e {}; then :; else sleep 0.2; fi; done", file.display());
    let mut worker = worker("busy", Runtime::Process, &script);
    worker["resources"] = json!({ "requests": { "cpu": "100m" } });
    worker["autoscale"] = json!({ "min": 1, "max": 3, "target_cpu": 50 });
    worker
}

fn wait_scale(cluster: &Cluster, id: &str, wanted: u64) -> Value {
    wait::eventually(IN_TIME, &format!("{wanted} replicas"), || {
        let now = cluster.deployment(id)?;
        Ok((now["desired_replicas"] == wanted && now["replicas"] == wanted).then_some(now))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {}\n{}", cluster.deployment(id).unwrap(), cluster.tails()))
}

#[test]
fn a_worker_follows_its_load_up_and_down_and_over_a_change_of_leader() {
    let options = Options::default().env("RING_AUTOSCALE_PAUSE", "1s");
    let cluster = Cluster::loopback_with(3, 2, &options).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let load = dir.path().join("load");
    std::fs::write(&load, "").unwrap();
    let id = cluster.apply_one(busy_while(&load)).unwrap();
    let up = wait_scale(&cluster, &id, 3);
    let nodes: std::collections::BTreeSet<_> =
        up["instances"].as_array().unwrap().iter().map(|i| i["node"].as_str().unwrap().to_owned()).collect();
    assert_eq!(nodes.len(), 2, "measured and placed across hosts: {up}");
    let leader = cluster.leader().unwrap();
    cluster.control(leader).kill9().unwrap();
    cluster.leader_after(leader).unwrap();
    assert_eq!(cluster.deployment(&id).unwrap()["desired_replicas"], 3, "the number is in the state");
    std::fs::remove_file(&load).unwrap();
    wait_scale(&cluster, &id, 1);
    let events = cluster.cli().ok(["deployment", "events", &id]).unwrap();
    assert!(events.contains("autoscaled") && events.contains("target 50 %"), "{events}");
}

#[test]
fn what_a_deployment_uses_is_asked_of_its_nodes_through_any_control_node() {
    let cluster = Cluster::loopback(3, 2).unwrap();
    let mut busy = worker("busy", Runtime::Process, "while :; do :; done");
    busy["replicas"] = 2.into();
    let id = cluster.apply_one(busy).unwrap();
    cluster.wait_deployment(&id, "both replicas", |d| d["replicas"] == 2).unwrap();
    for control in 0..3 {
        let metrics = cluster.get_from(control, &format!("/deployments/{id}/metrics")).unwrap().json().unwrap();
        let instances = metrics["instances"].as_array().unwrap();
        assert_eq!(instances.len(), 2, "{metrics}");
        for one in instances {
            let usage = &one["usage"];
            assert!(usage["cpu_time_us"].as_u64().unwrap() > 0 && usage["memory_bytes"].as_u64().unwrap() > 0, "{metrics}");
        }
        assert!(metrics["cpu_millis"].as_u64().unwrap() > 0, "{metrics}");
    }
    let table = cluster.cli().ok(["deployment", "metrics", &id]).unwrap();
    assert!(table.contains("Cpu") && table.lines().count() == 3, "{table}");
}
