//! Processes of a cluster are stopped, killed and started again.

use ring_testkit::Cluster;
use ring_testkit::cluster::Options;
use ring_testkit::wait;
use ring_testkit::work::{Gate, IN_TIME, Runtime, job};
use serde_json::{Value, json};

#[test]
fn three_killed_control_nodes_come_back_in_any_order() {
    let cluster = Cluster::loopback(3, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new(&dir.path().join("gate")).unwrap();
    let done = cluster.apply_one(job("done", Runtime::Process, "exit 3")).unwrap();
    let ended = cluster.wait_final(&done).unwrap();
    let waiting = cluster.apply_one(gate.job("waiting", Runtime::Process, 7)).unwrap();
    cluster.wait_status(&waiting, "running").unwrap();

    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        for node in cluster.controls() {
            node.kill9().unwrap();
        }
        for index in order {
            cluster.control(index).start().unwrap();
        }
        for node in cluster.controls() {
            node.wait_ready().unwrap();
        }
        cluster.wait_same_state().unwrap();
        assert_eq!(cluster.deployment(&done).unwrap(), ended, "after starting in the order {order:?}");
    }
    gate.open().unwrap();
    assert_eq!(cluster.wait_final(&waiting).unwrap()["exit_status"]["code"], 7);
    assert_eq!(gate.starts("waiting"), 1);
}

#[test]
fn two_of_three_serve_before_the_third_is_there() {
    let cluster = Cluster::loopback(3, 0).unwrap();
    for node in cluster.controls() {
        node.kill9().unwrap();
    }
    cluster.control(2).start().unwrap();
    wait::eventually(IN_TIME, "its own copy", || Ok((cluster.status_of(2)?["quorum"] == false).then_some(()))).unwrap();
    cluster.control(1).start().unwrap();
    let key = ring_testkit::work::new_key();
    wait::eventually(IN_TIME, "a write through two", || {
        let answer = cluster.post(2, "/namespaces", &json!({ "name": "two" }), &key)?;
        Ok((answer.status < 300).then_some(()))
    })
    .unwrap();
    cluster.control(0).start().unwrap();
    cluster.control(0).wait_ready().unwrap();
    cluster.wait_same_state().unwrap();
}

#[test]
fn everything_stops_and_starts_again_under_running_work() {
    let cluster = Cluster::loopback(3, 2).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new(&dir.path().join("gate")).unwrap();
    let id = cluster.apply_one(gate.job("waiting", Runtime::Process, 0)).unwrap();
    cluster.wait_status(&id, "running").unwrap();
    for node in cluster.agents().iter().chain(cluster.controls()) {
        node.stop().unwrap();
    }
    gate.open().unwrap();
    gate.wait_ended("waiting").unwrap();
    for node in cluster.agents().iter().chain(cluster.controls()) {
        node.start().unwrap();
    }
    let ended = cluster.wait_final(&id).unwrap();
    assert_eq!((&ended["status"], gate.starts("waiting")), (&json!("completed"), 1), "{ended}");
    cluster.wait_agents().unwrap();
}

#[test]
fn a_member_that_is_dead_does_not_keep_its_replacement_out() {
    let cluster = Cluster::loopback(3, 0).unwrap();
    let gone = (cluster.leader().unwrap() + 1) % 3;
    cluster.control(gone).kill9().unwrap();
    let name = cluster.control(gone).name().to_owned();
    cluster.cli().ok(["cluster", "remove", &name]).unwrap();
    let left: Vec<Value> = cluster.cli().json(["cluster", "members", "-o", "json"]).unwrap().as_array().unwrap().clone();
    assert!(left.len() == 2 && left.iter().all(|one| one["name"] != name.as_str()), "{left:?}");
    let id = cluster.post(cluster.leader().unwrap(), "/namespaces", &json!({ "name": "n" }), "k-after-removal").unwrap();
    assert!(id.status < 300, "{}", id.body);
}

#[test]
fn certificates_renew_while_everything_runs() {
    let options = Options::default().env("RING_CERTIFICATE_LIFETIME", "12s");
    let cluster = Cluster::loopback_with(1, 1, &options).unwrap();
    let files = [cluster.control(0), cluster.agent(0)].map(|node| node.data_dir().join("identity/host.crt"));
    let first = files.each_ref().map(|file| std::fs::read_to_string(file).unwrap());
    // Twice each, which is past the first certificate's end.
    let mut last = first.clone();
    for _ in 0..2 {
        for (file, last) in files.iter().zip(&mut last) {
            wait::eventually(IN_TIME, &format!("a new {}", file.display()), || {
                let now = std::fs::read_to_string(file)?;
                Ok((!now.is_empty() && now != *last).then(|| *last = now))
            })
            .unwrap();
        }
    }
    let id = cluster.apply_one(job("later", Runtime::Process, "exit 0")).unwrap();
    cluster.wait_status(&id, "completed").unwrap();
    cluster.agent(0).restart().unwrap();
    cluster.wait_agents().unwrap();
}
