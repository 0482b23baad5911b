//! The agent of a running job dies, or is cut off.

use ring_testkit::cluster::Options;
use ring_testkit::lab::Lab;
use ring_testkit::work::{Gate, IN_TIME, Runtime, manifest, on, worker};
use ring_testkit::{Cluster, wait};
use serde_json::{Value, json};

use crate::three::{self, CONTROLS, container, starts_in_docker};

/// The gate's job `name` on a1 has ended there, in Docker's eyes too.
fn wait_ended_on_a1(lab: &Lab, gate: &Gate, name: &str, id: &str) {
    gate.wait_ended(name).unwrap();
    lab.docker("a1").wait_container(&container(lab, "a1", id), IN_TIME).unwrap();
}

/// Failed with 7 on a1, as it happened.
fn assert_seven(deployment: &Value) {
    let exit = &deployment["exit_status"];
    let found = (&deployment["status"], &exit["code"], &exit["signal"], &exit["node"]);
    assert_eq!(found, (&json!("failed"), &json!(7), &Value::Null, &json!("a1")), "{deployment}");
}

fn start_seven(cluster: &Cluster, gate: &Gate, runtime: Runtime) -> String {
    let id = cluster.apply_one(on(gate.job("seven", runtime, 7), "a1")).unwrap();
    cluster.wait_status(&id, "running").unwrap();
    id
}

#[test]
fn a_container_that_ends_while_its_agent_is_dead_keeps_its_code() {
    let Some((lab, cluster)) = three::with_docker("agent-killed") else { return };
    let gate = Gate::new(&lab.dir().join("gate")).unwrap();
    let id = start_seven(&cluster, &gate, Runtime::Docker);
    cluster.agent(0).kill9().unwrap();
    gate.open().unwrap();
    wait_ended_on_a1(&lab, &gate, "seven", &id);
    cluster.agent(0).start().unwrap();
    assert_seven(&cluster.wait_final(&id).unwrap());
    assert_eq!((gate.starts("seven"), starts_in_docker(&lab, &id)), (1, 1));
}

#[test]
fn a_process_that_ends_while_its_agent_is_dead_keeps_its_code() {
    let Some((lab, cluster)) = three::with_processes("agent-killed-process") else { return };
    let gate = Gate::new(&lab.dir().join("gate")).unwrap();
    let id = start_seven(&cluster, &gate, Runtime::Process);
    cluster.agent(0).kill9().unwrap();
    gate.open().unwrap();
    gate.wait_ended("seven").unwrap();
    cluster.agent(0).start().unwrap();
    assert_seven(&cluster.wait_final(&id).unwrap());
    assert_eq!(gate.starts("seven"), 1);
}

#[test]
fn a_job_that_still_runs_is_adopted_by_its_restarted_agent() {
    let Some((lab, cluster)) = three::with_docker("agent-adopts") else { return };
    let gate = Gate::new(&lab.dir().join("gate")).unwrap();
    let id = start_seven(&cluster, &gate, Runtime::Docker);
    cluster.agent(0).restart().unwrap();
    cluster.wait_agents().unwrap();
    gate.open().unwrap();
    assert_seven(&cluster.wait_final(&id).unwrap());
    assert_eq!((gate.starts("seven"), starts_in_docker(&lab, &id)), (1, 1));
}

#[test]
fn a_job_that_ends_while_its_agent_is_cut_off_keeps_its_code() {
    let Some((lab, cluster)) = three::with_docker("agent-cut") else { return };
    let gate = Gate::new(&lab.dir().join("gate")).unwrap();
    let id = start_seven(&cluster, &gate, Runtime::Docker);
    lab.partition(&["a1"], &CONTROLS).unwrap();
    gate.open().unwrap();
    wait_ended_on_a1(&lab, &gate, "seven", &id);
    let waiting = cluster.wait_deployment(&id, "its node to be missed", |d| d["conditions"] == json!(["node_unreachable"]));
    assert_eq!(waiting.unwrap()["status"], "running", "within the grace time nothing is decided");
    lab.heal().unwrap();
    assert_seven(&cluster.wait_final(&id).unwrap());
    assert_eq!((gate.starts("seven"), starts_in_docker(&lab, &id)), (1, 1));
}

#[test]
fn a_job_on_a_lost_node_is_corrected_when_the_node_comes_back() {
    let options = Options::default().env("RING_NODE_GRACE", "8s");
    let builder = Lab::builder("agent-lost").docker_hosts(["a1", "a2"]);
    let Some((lab, cluster)) = three::start(builder, &["a1", "a2"], &options) else { return };
    let gate = Gate::new(&lab.dir().join("gate")).unwrap();
    let jobs = [("seven", 7), ("zero", 0)].map(|(name, code)| on(gate.job(name, Runtime::Docker, code), "a1"));
    let ids = cluster.apply(&manifest(jobs)).unwrap();
    for id in &ids {
        cluster.wait_status(id, "running").unwrap();
    }
    lab.partition(&["a1"], &CONTROLS).unwrap();
    gate.open().unwrap();
    for (id, name) in ids.iter().zip(["seven", "zero"]) {
        wait_ended_on_a1(&lab, &gate, name, id);
        let lost = cluster.wait_status(id, "failed").unwrap();
        assert_eq!((&lost["reason"], &lost["exit_status"]["code"]), (&json!("node_lost"), &Value::Null), "{lost}");
    }

    lab.heal().unwrap();
    let corrected = |id, code| cluster.wait_deployment(id, "the correction", |d| d["exit_status"]["code"] == code).unwrap();
    assert_seven(&corrected(&ids[0], 7));
    let zero = corrected(&ids[1], 0);
    assert_eq!((&zero["status"], &zero["reason"]), (&json!("completed"), &Value::Null), "{zero}");
    for (id, name) in ids.iter().zip(["seven", "zero"]) {
        assert_eq!((gate.starts(name), starts_in_docker(&lab, id)), (1, 1));
        let events = cluster.get_any(&format!("/deployments/{id}/events")).unwrap();
        assert!(events.to_string().contains("node_lost"), "the history keeps both: {events}");
    }
}

#[test]
fn an_agent_goes_to_another_control_node_when_its_own_is_cut_off() {
    let Some((lab, cluster)) = three::with_processes("agent-moves") else { return };
    let gate = Gate::new(&lab.dir().join("gate")).unwrap();
    let id = start_seven(&cluster, &gate, Runtime::Process);
    // Whichever it is connected to: with one line left it has to find that one.
    let leader = cluster.leader().unwrap();
    let reached = CONTROLS[(leader + 1) % 3];
    for control in CONTROLS.into_iter().filter(|name| *name != reached) {
        lab.cut("a1", control).unwrap();
    }
    gate.open().unwrap();
    assert_seven(&cluster.wait_final(&id).unwrap());
    let ready = || cluster.get_any("/nodes").is_ok_and(|nodes| nodes[0]["status"] == "ready");
    wait::until(IN_TIME, "a1 to be ready over the line that is left", ready).unwrap();
    assert_eq!(gate.starts("seven"), 1);
}

#[test]
fn what_must_not_run_twice_is_stopped_by_its_agent_before_another_takes_its_place() {
    let options = Options::default().env("RING_NODE_GRACE", "8s");
    let Some((lab, cluster)) = three::start(Lab::builder("agent-alone").hosts(["a1", "a2"]), &["a1", "a2"], &options) else {
        return;
    };
    let (lives, lock) = (lab.dir().join("lives"), lab.dir().join("lock"));
    let script = format!(
        "exec 9>{lock}; flock -n 9 || {{ echo twice >>{lives}; exit 3; }}; echo starts >>{lives}; \
         trap 'echo stops >>{lives}; exit 0' TERM; while :; do sleep 0.1 9>&-; done",
        lock = lock.display(),
        lives = lives.display()
    );
    let mut alone = worker("alone", Runtime::Process, &script);
    (alone["stop_on_disconnect"], alone["stop_grace"]) = (json!("10s"), json!("2s"));
    let id = cluster.apply_one(alone).unwrap();
    cluster.wait_status(&id, "running").unwrap();
    let said = || std::fs::read_to_string(&lives).unwrap_or_default();
    wait::until(IN_TIME, "it to start", || said() == "starts\n").unwrap();
    let runs = |on: &str| {
        let deployment = cluster.deployment(&id).unwrap();
        let instances = deployment["instances"].as_array().unwrap().clone();
        instances.into_iter().find(|i| i["node"] == on && i["status"] == "running")
    };
    let (first, other) = if runs("a1").is_some() { ("a1", "a2") } else { ("a2", "a1") };

    lab.partition(&[first], &CONTROLS).unwrap();
    wait::until(IN_TIME, "its agent to stop it", || said() == "starts\nstops\n").unwrap();
    let lost =
        || cluster.get_any("/nodes").unwrap().as_array().unwrap().iter().any(|n| n["name"] == first && n["status"] == "lost");
    wait::until(IN_TIME, "the host to be lost", lost).unwrap();
    wait::until(IN_TIME, "another in its place", || runs(other).is_some()).unwrap();
    assert_eq!(said(), "starts\nstops\nstarts\n");

    lab.heal().unwrap();
    wait::until(IN_TIME, "the host to be back", || !lost()).unwrap();
    let gone = || cluster.deployment(&id).unwrap()["instances"].as_array().unwrap().iter().all(|i| i["node"] == other);
    wait::until(IN_TIME, "nothing of the first to be left", gone).unwrap();
    assert_eq!(said(), "starts\nstops\nstarts\n");
    let deployment = cluster.deployment(&id).unwrap();
    assert_eq!((&deployment["status"], &deployment["restart_count"]), (&json!("running"), &json!(0)), "{deployment}");
}
