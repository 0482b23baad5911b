//! Nodes are emptied: workers move behind their readiness, jobs run on, whoever leads.

use std::fs;

use ring_testkit::cluster::Options;
use ring_testkit::work::{Gate, IN_TIME, Runtime, worker};
use ring_testkit::{Cluster, wait};
use serde_json::{Value, json};

const SERVES: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

/// The instances of a deployment that are wanted or still end, by node.
fn nodes_of(cluster: &Cluster, id: &str) -> Vec<String> {
    let deployment = cluster.deployment(id).unwrap();
    let live = deployment["instances"].as_array().unwrap().iter().filter(|i| matches!(i["status"].as_str(), Some("running")));
    let mut nodes: Vec<_> = live.map(|i| i["node"].as_str().unwrap().to_owned()).collect();
    nodes.sort_unstable();
    nodes
}

fn node(cluster: &Cluster, name: &str) -> Value {
    serde_json::from_str(&cluster.cli().ok(["node", "inspect", name, "-o", "json"]).unwrap()).unwrap()
}

/// A worker of so many replicas with a readiness check that looks for a file.
fn gated(name: &str, replicas: u32, ready: &std::path::Path) -> Value {
    let mut worker = worker(name, Runtime::Process, SERVES);
    worker["replicas"] = replicas.into();
    let command = format!("test -e {}", ready.display());
    worker["health_checks"] = json!([{ "type": "command", "command": command, "readiness": true, "on_failure": "alert", "interval": "200ms", "min_healthy_time": "500ms" }]);
    worker
}

#[test]
fn workers_move_one_by_one_and_a_job_runs_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (ready, gate) = (dir.path().join("ready"), Gate::new(&dir.path().join("gate")).unwrap());
    fs::write(&ready, "").unwrap();
    let cluster = Cluster::loopback(3, 2).unwrap();
    let id = cluster.apply_one(gated("w", 4, &ready)).unwrap();
    cluster.cli().ok(["deployment", "wait", &id, "--timeout", "60s"]).unwrap();
    assert_eq!(nodes_of(&cluster, &id), ["a1", "a1", "a2", "a2"]);
    let job = cluster.apply_one(ring_testkit::work::on(gate.job("j", Runtime::Process, 7), "a1")).unwrap();
    gate.wait_started("j").unwrap();

    // Nothing leaves before something is ready in its place.
    fs::remove_file(&ready).unwrap();
    cluster.cli().ok(["node", "drain", "a1", "--detach"]).unwrap();
    wait::until(IN_TIME, "an instance more", || nodes_of(&cluster, &id) == ["a1", "a1", "a2", "a2", "a2"]).unwrap();
    let leader = cluster.leader().unwrap();
    cluster.control(leader).kill9().unwrap();
    cluster.leader_after(leader).unwrap();
    fs::write(&ready, "").unwrap();
    wait::until(IN_TIME, "all on the other host", || nodes_of(&cluster, &id) == ["a2"; 4]).unwrap();
    let now = node(&cluster, "a1");
    assert_eq!((&now["drain"]["workers"], &now["drain"]["jobs"]), (&json!(0), &json!(1)), "{now}");
    let early = cluster.cli().run(["node", "drain", "a1", "--timeout", "1s"]).unwrap();
    assert!(early.code == Some(124) && early.stderr.contains("1 job left"), "{}", early.stderr);

    gate.open().unwrap();
    assert_eq!(cluster.cli().ok(["node", "drain", "a1"]).unwrap().trim(), "node a1 drained");
    let ended = cluster.wait_status(&job, "failed").unwrap();
    assert_eq!((&ended["exit_status"]["code"], gate.starts("j")), (&json!(7), 1));
    assert!(cluster.cli().ok(["node", "list"]).unwrap().contains("drained"));
    assert_eq!(cluster.deployment(&id).unwrap()["restart_count"], 0);

    cluster.cli().ok(["node", "uncordon", "a1"]).unwrap();
    cluster.cli().ok(["node", "drain", "a2", "--timeout", "60s"]).unwrap();
    assert_eq!(nodes_of(&cluster, &id), ["a1"; 4]);
}

#[test]
fn what_is_left_at_the_deadline_is_ended_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new(&dir.path().join("gate")).unwrap();
    let cluster = Cluster::loopback(1, 1).unwrap();
    let job = cluster.apply_one(gate.job("j", Runtime::Process, 0)).unwrap();
    gate.wait_started("j").unwrap();
    let id = cluster.apply_one(worker("w", Runtime::Process, SERVES)).unwrap();
    cluster.wait_status(&id, "running").unwrap();
    cluster.cli().ok(["node", "drain", "a1", "--detach"]).unwrap();
    wait::until(IN_TIME, "why it stays", || cluster.deployment(&id).unwrap()["reason"] == "not_placed").unwrap();
    assert_eq!(cluster.cli().ok(["node", "drain", "a1", "--now"]).unwrap().trim(), "node a1 drained");
    let ended = cluster.wait_status(&job, "failed").unwrap();
    assert_eq!((&ended["reason"], gate.starts("j")), (&json!("drained"), 1), "{ended}");
    assert_eq!(ended["exit_status"]["signal"], 15, "{ended}");
    cluster.cli().ok(["node", "uncordon", "a1"]).unwrap();
    cluster.wait_status(&id, "running").unwrap();
}

/// The agent has its host emptied before it stops, and takes work again when it is back.
#[test]
fn an_agent_that_stops_has_its_host_emptied_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new(&dir.path().join("gate")).unwrap();
    let options = Options::default().config("[server.agent]\ndrain_on_stop = \"5m\"\n");
    let cluster = Cluster::loopback_with(3, 2, &options).unwrap();
    let mut spec = worker("w", Runtime::Process, SERVES);
    spec["replicas"] = 4.into();
    let id = cluster.apply_one(spec).unwrap();
    cluster.cli().ok(["deployment", "wait", &id, "--timeout", "60s"]).unwrap();
    let job = cluster.apply_one(ring_testkit::work::on(gate.job("j", Runtime::Process, 7), "a1")).unwrap();
    gate.wait_started("j").unwrap();

    // It waits for the job.
    cluster.agent(0).terminate().unwrap();
    wait::until(IN_TIME, "all on the other host", || nodes_of(&cluster, &id) == ["a2"; 4]).unwrap();
    let leader = cluster.leader().unwrap();
    cluster.control(leader).kill9().unwrap();
    cluster.leader_after(leader).unwrap();
    cluster.control(leader).start().unwrap();
    assert_eq!(cluster.agent(0).exited().unwrap(), None);
    gate.open().unwrap();
    assert!(cluster.agent(0).wait_exit(IN_TIME).unwrap().success());
    let ended = cluster.wait_status(&job, "failed").unwrap();
    assert_eq!((&ended["exit_status"]["code"], gate.starts("j")), (&json!(7), 1));
    let away = node(&cluster, "a1");
    assert_eq!((&away["schedulable"], &away["drain"]["until_return"]), (&json!(false), &json!(true)), "{away}");
    let audit = cluster.cli().ok(["cluster", "audit", "-o", "json"]).unwrap();
    assert!(audit.contains("server.agent.drain_on_stop"), "{audit}");

    cluster.agent(0).start().unwrap();
    wait::until(IN_TIME, "the host to take work again", || {
        let back = node(&cluster, "a1");
        back["schedulable"] == json!(true) && back["drain"].is_null()
    })
    .unwrap();

    // What an operator asked for stays.
    cluster.cli().ok(["node", "cordon", "a1"]).unwrap();
    cluster.agent(0).stop().unwrap();
    cluster.agent(0).start().unwrap();
    wait::until(IN_TIME, "the host to be ready", || node(&cluster, "a1")["status"] == json!("ready")).unwrap();
    assert_eq!(node(&cluster, "a1")["schedulable"], json!(false));
}

/// Told twice, it stops at once, and what runs goes on.
#[test]
fn an_agent_that_is_told_twice_does_not_wait() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new(&dir.path().join("gate")).unwrap();
    let cluster = Cluster::loopback_with(1, 1, &Options::default().config("[server.agent]\ndrain_on_stop = \"5m\"\n")).unwrap();
    let job = cluster.apply_one(gate.job("j", Runtime::Process, 3)).unwrap();
    gate.wait_started("j").unwrap();
    cluster.agent(0).terminate().unwrap();
    cluster.agent(0).wait_log("this node is being emptied", IN_TIME).unwrap();
    cluster.agent(0).terminate().unwrap();
    assert!(cluster.agent(0).wait_exit(IN_TIME).unwrap().success());
    cluster.agent(0).start().unwrap();
    gate.open().unwrap();
    let ended = cluster.wait_status(&job, "failed").unwrap();
    assert_eq!((&ended["exit_status"]["code"], gate.starts("j")), (&json!(3), 1));
}
