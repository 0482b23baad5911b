//! Most control nodes are gone, or the disk of one is full.

use std::time::Duration;

use ring_testkit::cluster::{Cluster, Options};
use ring_testkit::lab::Lab;
use ring_testkit::wait;
use ring_testkit::work::{Gate, IN_TIME, Runtime, new_key};
use serde_json::json;

use crate::three::{self, CONTROLS, others};

#[test]
fn without_a_quorum_writes_are_refused_and_work_goes_on() {
    let Some((lab, cluster)) = three::with_processes("no-quorum") else { return };
    let gate = Gate::new(&lab.dir().join("gate")).unwrap();
    let id = cluster.apply_one(gate.job("seven", Runtime::Process, 7)).unwrap();
    cluster.wait_status(&id, "running").unwrap();
    let gone = [cluster.leader().unwrap(), (cluster.leader().unwrap() + 1) % 3];
    let left = (gone[1] + 1) % 3;
    for index in gone {
        cluster.control(index).kill9().unwrap();
    }

    let answer = cluster.post(left, "/namespaces", &json!({ "name": "lost" }), &new_key()).unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    let problem = answer.json().unwrap();
    for index in gone {
        let name = cluster.control(index).name();
        assert!(problem["missing"].to_string().contains(name), "{name} is not named: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(name), "nor for people: {problem}");
    }
    let stale = cluster.get_from(left, "/deployments?consistency=stale").unwrap();
    assert_eq!((stale.status, &stale.json().unwrap()[0]["status"]), (200, &json!("running")), "{}", stale.body);
    assert!(stale.headers.contains_key("ring-stale-age"), "how old? {:?}", stale.headers);
    assert_eq!(cluster.get_from(left, "/deployments").unwrap().status, 503, "this read would have to be current");

    // The work ends when it wants to, and its code waits for a quorum.
    gate.open().unwrap();
    gate.wait_ended("seven").unwrap();
    cluster.control(gone[0]).start().unwrap();
    let ended = cluster.wait_final(&id).unwrap();
    assert_eq!((&ended["status"], &ended["exit_status"]["code"]), (&json!("failed"), &json!(7)), "{ended}");
    assert_eq!(gate.starts("seven"), 1);
}

/// Fills the disk under control node `index` and writes until that node ends by itself.
fn full_disk(name: &str, index: usize) {
    let Some(lab) = Lab::builder(name).hosts(CONTROLS).start_or_skip() else { return };
    let disk = lab.small_disk(CONTROLS[index], "small", 96 << 20).unwrap();
    let options = Options::default().data_dir(CONTROLS[index], disk.path());
    let cluster = Cluster::in_lab_with(&lab, &CONTROLS, &[], &options).unwrap();
    disk.fill().unwrap();

    let node = cluster.control(index);
    let survivors = others(&cluster, index);
    // What the store had set aside for itself is used up first.
    let mut written = 0;
    wait::eventually(IN_TIME, "the node with the full disk to end", || {
        let data = json!({ "namespace": "test", "name": format!("c{written}"), "data": { "k": "x".repeat(2_000_000) } });
        if cluster.post(survivors[0], "/configs", &data, &new_key())?.status < 300 {
            written += 1;
        }
        node.exited()
    })
    .map(|status| assert!(!status.success(), "it ended with {status}"))
    .unwrap();
    let said = node.tail().to_lowercase();
    assert!(said.contains("no space left") || said.contains("disk is full"), "what is wrong? {said}");

    let key = new_key();
    wait::eventually(IN_TIME, "the others to go on", || {
        let answer = cluster.post(survivors[1], "/namespaces", &json!({ "name": "after" }), &key)?;
        Ok((answer.status < 300).then_some(()))
    })
    .unwrap();
    disk.free().unwrap();
    node.start().unwrap();
    node.wait_ready().unwrap();
    cluster.wait_same_state().unwrap();
    assert!(node.wait_exit(Duration::from_millis(1)).is_err(), "it stays");
}

#[test]
fn a_follower_with_a_full_disk_stops_and_catches_up_later() {
    full_disk("full-follower", 2);
}

#[test]
fn a_leader_with_a_full_disk_stops_and_catches_up_later() {
    // The first control node leads from the start.
    full_disk("full-leader", 0);
}
